//! Cuts utterances out of a stream of frames. Pure.
//!
//! The endpointer keeps a bounded ring of samples (longest utterance + pre-roll). An utterance that grows to the bound
//! is cut at the quietest pause in its later half, and what lies behind the cut begins the next utterance, so that
//! nothing is lost and no word is halved if it can be helped. While nobody speaks it holds no more than the pre-roll:
//! at most 27 KB for 300 ms.
//!
//! While an utterance is in progress it tells pauses, any of which may turn out to be the end; who reads what was said so
//! far may make up its mind about how long that one pause may get.

mod limits;
mod ring;
#[cfg(test)]
mod tests;

use super::{Edge, Gate};
use crate::audio::{Frame, Span, Utterance};
use limits::{Limits, frames_in};
use ring::Ring;
use std::ops::RangeInclusive;
use std::time::Duration;

/// When speech begins and ends.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointSettings {
    /// Probability from which a frame is speech, 0 to 1.
    pub threshold: f32,
    /// How much of the stream before the first speech goes into the utterance; at most half of `longest` does, and
    /// nothing from before the last cut.
    pub prefix: Duration,
    /// How long silence must last to end the utterance; it is part of the utterance.
    pub end_silence: Duration,
    /// How long silence must last to be told as a pause in speech; of use when it is shorter than `end_silence`. No pause is
    /// told when it is 0.
    pub short_pause: Duration,
    /// Speech shorter than this is a click, not speech: it causes no event. At most a quarter of `longest` counts.
    pub min_speech: Duration,
    /// No utterance gets longer than this, pre-roll and end silence included. Less than 1 s counts as 1 s.
    pub longest: Duration,
    /// `true`: the detector cuts (and `commit` cuts early). `false`: only `commit` cuts, and the whole stream
    /// since the last cut is the utterance.
    pub automatic: bool,
}

impl EndpointSettings {
    /// What may be asked for as `prefix`, in milliseconds.
    pub const PREFIX_MS: RangeInclusive<u64> = 0..=5_000;

    /// What may be asked for as `end_silence`, in milliseconds.
    pub const END_SILENCE_MS: RangeInclusive<u64> = 50..=10_000;

    /// What may be asked for as `short_pause`, in milliseconds.
    pub const SHORT_PAUSE_MS: RangeInclusive<u64> = 50..=2_000;
}

impl Default for EndpointSettings {
    fn default() -> Self {
        Self {
            threshold: 0.5,
            prefix: Duration::from_millis(300),
            end_silence: Duration::from_millis(500),
            short_pause: Duration::from_millis(160),
            min_speech: Duration::from_millis(100),
            longest: Duration::from_secs(120),
            automatic: true,
        }
    }
}

/// Why an utterance ended where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Silence followed.
    Silence,
    /// It reached the longest length; speech may go on in the next.
    Longest,
    /// Somebody asked for it: a client's commit, or the end of the stream.
    Commit,
}

/// What happened in the stream. Positions are samples at 16 kHz from the beginning of the stream.
///
/// In automatic mode every utterance comes as `SpeechStarted`, `SpeechStopped`, `Utterance`, whatever cut it, with pauses
/// between the first two: each but the last was followed by a `SpeechResumed`. Only silence that was committed is an
/// `Utterance` alone.
#[derive(Debug, Clone, PartialEq)]
pub enum EndpointEvent {
    /// Speech began; `at` includes the pre-roll. In manual mode this is never sent.
    SpeechStarted {
        /// Where the utterance begins.
        at: u64,
    },
    /// Speech pauses: silence has lasted the short pause, and may be the end of it. In both modes; in manual mode only for
    /// as long as the end silence has not passed.
    SpeechPaused {
        /// Where the stream is.
        at: u64,
    },
    /// Speech goes on after a pause that was told, with nothing cut or cleared between them. In manual mode that may be
    /// long after it.
    SpeechResumed {
        /// Where the stream is.
        at: u64,
    },
    /// Speech is over; `at` includes the end silence. In manual mode this is never sent.
    SpeechStopped {
        /// Where the utterance ends.
        at: u64,
    },
    /// An utterance is complete. In automatic mode it follows `SpeechStopped` at once, and after [`Cut::Longest`] a
    /// `SpeechStarted` where it was cut follows if speech goes on.
    Utterance(Utterance, Cut),
}

/// Builds utterances from frames and their probabilities.
#[derive(Debug)]
pub struct Endpointer {
    settings: EndpointSettings,
    limits: Limits,
    gate: Gate,
    /// In automatic mode the pre-roll or the utterance in progress, in manual mode everything since the last cut.
    ring: Ring,
    phase: Phase,
    /// Whether a pause was told for the utterance in progress, and nobody has spoken since.
    paused: bool,
    /// Where the last utterance ended or the last clear was, or the detector was put in charge.
    quiet_since: u64,
    /// An utterance that grows too long is not cut before this.
    settled: u64,
}

/// How sure automatic mode is that somebody speaks. Always [`Phase::Quiet`] in manual mode; otherwise that says that the
/// gate is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nobody speaks.
    Quiet,
    /// Perhaps a click: only so many frames of speech so far. The ring begins where the utterance would.
    Suspected { frames: u64 },
    /// Somebody speaks, and it was said so. The ring begins where the utterance does.
    Speaking,
}

impl Endpointer {
    /// An endpointer at the beginning of a stream.
    pub fn new(settings: EndpointSettings) -> Self {
        let limits = Limits::of(&settings);
        let gate = Gate::new(settings.threshold, limits.end_silence);
        Self {
            settings,
            limits,
            gate,
            ring: Ring::default(),
            phase: Phase::Quiet,
            paused: false,
            quiet_since: 0,
            settled: 0,
        }
    }

    /// The settings in force.
    pub fn settings(&self) -> &EndpointSettings {
        &self.settings
    }

    /// Changes the settings from here on; an utterance in progress goes on, and ends after the new end silence whatever was
    /// set for its present pause.
    ///
    /// Nothing that is held gets lost when the mode changes: a change to manual keeps the pre-roll or the speech in
    /// progress (no `SpeechStopped` is sent for it); on a change to automatic, speech held so far becomes an utterance
    /// that silence ends as usual (and is announced, even if it was before), and held silence becomes pre-roll.
    pub fn configure(&mut self, settings: EndpointSettings) {
        let was_automatic = std::mem::replace(&mut self.settings, settings).automatic;
        self.limits = Limits::of(&self.settings);
        self.gate.configure(self.settings.threshold, self.limits.end_silence);
        match (was_automatic, self.settings.automatic) {
            (true, false) => self.phase = Phase::Quiet,
            (false, true) => self.take_over(),
            _ => {}
        }
    }

    /// Lets silence of this length end the utterance in progress, for its present pause only: from the next frame of
    /// speech on, and in the next utterance, the settings hold again. If silence has lasted longer, the next frame of it
    /// ends the utterance.
    pub fn set_end_silence(&mut self, end_silence: Duration) {
        self.gate.wait_for(frames_in(end_silence));
    }

    /// What lies before this position of the utterance in progress has text that was told, and stays in it also when it
    /// grows too long.
    pub fn settle(&mut self, before: u64) {
        self.settled = before;
    }

    /// Takes one frame and how likely it is speech; appends what happened to `events`.
    pub fn push(&mut self, frame: &Frame, probability: f32, events: &mut Vec<EndpointEvent>) {
        self.ring.push(frame, probability);
        let edge = self.gate.push(probability);
        self.resume(probability, events);
        if self.settings.automatic {
            self.follow(edge, probability, events);
        }
        self.pause(probability, events);
        while !self.limits.fits_a_frame_more(self.ring.len()) {
            self.make_room(events);
        }
    }

    /// Cuts now: what has been said since the last cut is an utterance. `tail` are the samples since the last whole
    /// frame (fewer than 512), which belong to it. In automatic mode without speech in progress, and in manual mode
    /// without any sample, there is nothing to cut and nothing is appended.
    ///
    /// In automatic mode speech counts as in progress from its first frame on, so that a word is not lost for having
    /// just begun; all three events come then. A `tail` with nothing to cut is dropped like other silence.
    pub fn commit(&mut self, tail: &[f32], events: &mut Vec<EndpointEvent>) {
        if self.settings.automatic && self.phase == Phase::Quiet {
            if !tail.is_empty() {
                self.ring.skip(tail.len() as u64);
                self.rest();
            }
            return;
        }
        self.ring.append(tail);
        if self.ring.len() > 0 {
            self.announce(events);
            self.cut(self.ring.end(), Cut::Commit, events);
        }
    }

    /// Cuts the silence since the last utterance, as an utterance of its own without samples: most of them have been
    /// forgotten, and nobody wants to read them. Nothing is appended in manual mode, while an utterance is in progress, or
    /// where there is no silence.
    ///
    /// The pre-roll stays, because somebody may just be about to speak. So the next utterance may begin before this one
    /// ends.
    pub fn commit_silence(&mut self, events: &mut Vec<EndpointEvent>) {
        let span = Span::new(self.position() - self.silence(), self.position());
        if span.is_empty() {
            return;
        }
        let silence = Utterance::new(span, Vec::new(), Vec::new());
        events.push(EndpointEvent::Utterance(silence, Cut::Silence));
        self.quiet_since = span.end;
    }

    /// Forgets what has been said since the last cut. In automatic mode speech in progress is dropped without an event.
    pub fn clear(&mut self) {
        self.skip(0);
    }

    /// Forgets as [`Endpointer::clear`] does, and `samples` more that were dropped before they became a frame:
    /// positions go on behind them.
    pub fn skip(&mut self, samples: u64) {
        self.ring.skip(samples);
        self.begin_anew(self.ring.end());
        self.rest();
    }

    /// A copy of what would be cut now (without `tail`), as far as it lies in `window`; `None` when there is nothing.
    pub fn so_far(&self, window: Span) -> Option<Utterance> {
        let span = window.overlap(Span::new(self.ring.start(), self.ring.end()));
        (self.pending() > 0 && !span.is_empty()).then(|| self.ring.copy(span, self.gate.floor()))
    }

    /// Where in what would be cut now the first frame of speech is heard, from the position `from` on.
    pub fn voice_from(&self, from: u64) -> Option<u64> {
        if self.pending() > 0 { self.ring.voice_from(from, self.gate.floor()) } else { None }
    }

    /// How many samples of what would be cut now lie in frames of speech, from the position `from` on.
    pub fn voiced_since(&self, from: u64) -> u64 {
        if self.pending() > 0 { self.ring.voiced_since(from, self.gate.floor()) } else { 0 }
    }

    /// Samples since somebody last spoke, or since the last cut or clear if that was later; 0 while an utterance is in
    /// progress, and in manual mode, where everything belongs to one. A click is silence, too, once it is known to be one.
    pub fn silence(&self) -> u64 {
        let quiet = self.settings.automatic && self.phase == Phase::Quiet;
        if quiet { self.position() - self.quiet_since } else { 0 }
    }

    /// Samples that a commit would cut now (without `tail`); 0 when there is nothing.
    pub fn pending(&self) -> u64 {
        let nothing = self.settings.automatic && self.phase == Phase::Quiet;
        if nothing { 0 } else { self.ring.len() }
    }

    /// Whether speech is in progress.
    pub fn speaking(&self) -> bool {
        if self.settings.automatic { self.phase == Phase::Speaking } else { self.gate.is_open() }
    }

    /// Whether nobody has spoken for some frames, so that frames without any sound need no detector.
    pub fn is_at_rest(&self) -> bool {
        self.gate.is_at_rest()
    }

    /// Samples that were pushed, committed as `tail` or skipped so far.
    pub fn position(&self) -> u64 {
        self.ring.end()
    }

    /// What the endpointer takes on the heap.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.ring.bytes()
    }

    /// Automatic mode: speech begins, is believed, ends.
    fn follow(&mut self, edge: Option<Edge>, probability: f32, events: &mut Vec<EndpointEvent>) {
        if let Some(Edge::Started { .. }) = edge {
            self.phase = Phase::Suspected { frames: 0 };
        }
        if let Phase::Suspected { frames } = &mut self.phase {
            *frames += u64::from(probability >= self.gate.floor());
            if *frames >= self.limits.min_speech {
                self.announce(events);
            }
        }
        match (edge, self.phase) {
            (Some(Edge::Stopped { .. }), Phase::Speaking) => self.cut(self.ring.end(), Cut::Silence, events),
            (Some(Edge::Stopped { .. }), _) | (_, Phase::Quiet) => self.rest(),
            _ => {}
        }
    }

    /// Says that speech goes on after a pause.
    fn resume(&mut self, probability: f32, events: &mut Vec<EndpointEvent>) {
        if self.paused && probability >= self.settings.threshold {
            self.paused = false;
            events.push(EndpointEvent::SpeechResumed { at: self.ring.end() });
        }
    }

    /// Says that speech pauses, once for each pause.
    fn pause(&mut self, probability: f32, events: &mut Vec<EndpointEvent>) {
        let lasts = self.limits.short_pause.is_some_and(|frames| self.gate.silence() >= frames);
        if lasts && !self.paused && self.speaking() && probability < self.gate.floor() {
            self.paused = true;
            events.push(EndpointEvent::SpeechPaused { at: self.ring.end() });
        }
    }

    /// Says that speech began, unless that was said or nobody wants to know.
    fn announce(&mut self, events: &mut Vec<EndpointEvent>) {
        if let Phase::Suspected { .. } = self.phase {
            self.phase = Phase::Speaking;
            events.push(EndpointEvent::SpeechStarted { at: self.ring.start() });
        }
    }

    /// Ends the utterance at `at`; what lies behind it stays in the ring.
    fn cut(&mut self, at: u64, why: Cut, events: &mut Vec<EndpointEvent>) {
        if self.phase == Phase::Speaking {
            events.push(EndpointEvent::SpeechStopped { at });
        }
        events.push(EndpointEvent::Utterance(self.ring.take(at, self.gate.floor()), why));
        self.begin_anew(at);
        if self.ring.len() == 0 {
            self.rest();
        }
    }

    /// What was said before `at` is over and done with, and so is what was told or set for a pause in it.
    fn begin_anew(&mut self, at: u64) {
        self.gate.wait_as_usual();
        self.paused = false;
        self.quiet_since = at;
    }

    /// The ring holds as much as an utterance may have.
    fn make_room(&mut self, events: &mut Vec<EndpointEvent>) {
        if self.settings.automatic && self.phase != Phase::Speaking {
            // A click, and a silence too long to wait for its end.
            return self.rest();
        }
        let at = self.ring.quietest_pause(self.limits.longest, self.gate.floor(), self.settled);
        self.cut(at, Cut::Longest, events);
        self.go_on(events);
    }

    /// After a cut in the midst of speech: the next utterance begins there, unless only silence is left.
    fn go_on(&mut self, events: &mut Vec<EndpointEvent>) {
        if self.ring.frames_of_speech(self.gate.floor()) == 0 {
            return self.rest();
        }
        if self.phase == Phase::Speaking {
            events.push(EndpointEvent::SpeechStarted { at: self.ring.start() });
        }
    }

    /// A change to automatic mode: speech held so far is an utterance in progress.
    fn take_over(&mut self) {
        self.begin_anew(self.ring.end());
        let frames = self.ring.frames_of_speech(self.gate.floor());
        if frames == 0 {
            return self.rest();
        }
        self.gate.open();
        self.phase = Phase::Suspected { frames };
    }

    /// Nobody speaks (any more), or nothing of it is held: automatic mode keeps the pre-roll.
    fn rest(&mut self) {
        self.phase = Phase::Quiet;
        self.gate.close();
        if self.settings.automatic {
            self.ring.keep(self.limits.prefix);
        }
    }
}
