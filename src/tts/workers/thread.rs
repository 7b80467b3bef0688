//! A thread that owns one synthesizer and says what it is given.

use super::turns::NarratorId;
use super::{Job, Line};
use crate::audio::{Pcm, Resampler, SampleRate};
use crate::tts::{Synthesizer, TtsError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info_span, warn};

/// Makes a synthesizer, warmed up. Blocks.
pub(in crate::tts) type Factory = dyn Fn() -> Result<Box<dyn Synthesizer>, TtsError> + Send + Sync;

/// At most so much sound in one piece.
const PIECE: Duration = Duration::from_millis(40);

/// More sound than this does not come out of one phrase, unless something is wrong with its synthesizer.
const LONGEST: Duration = Duration::from_secs(300);

/// Says what stands in the line until that is closed.
pub(super) fn work(line: &Line, mut synthesizer: Option<Box<dyn Synthesizer>>, factory: &Arc<Factory>) {
    let mut converter = None;
    while let Some((narrator, job)) = line.wait() {
        let turn = TurnEnds { line, narrator };
        let Job { span, .. } = &job;
        let span = span.clone();
        span.in_scope(|| {
            info_span!("tts.phrase").in_scope(|| say(job, &mut synthesizer, &mut converter, factory));
        });
        drop(turn);
    }
}

/// Gives the turn back, however a phrase ended.
struct TurnEnds<'a> {
    line: &'a Line,
    narrator: NarratorId,
}

impl Drop for TurnEnds<'_> {
    fn drop(&mut self) {
        self.line.done(self.narrator);
    }
}

/// Says one phrase and tells how it ended, if anybody still wants to know.
fn say(
    mut job: Job,
    synthesizer: &mut Option<Box<dyn Synthesizer>>,
    converter: &mut Option<Converter>,
    factory: &Arc<Factory>,
) {
    let result = attempt(&mut job, synthesizer, converter, factory);
    debug!(characters = job.phrase.spoken.len(), ok = result.is_ok(), "phrase ended");
    let Job { account, pieces, cancel, .. } = job;
    let result = if cancel.is_cancelled() { Err(TtsError::Cancelled) } else { result };
    account.close(&result);
    if let Err(error) = result {
        // Whoever does not listen any more has no use for the error.
        drop(pieces.send(Err(error)));
    }
}

/// A synthesizer that panicked is not used again: a new one is made for this thread's next phrase.
fn attempt(
    job: &mut Job,
    synthesizer: &mut Option<Box<dyn Synthesizer>>,
    converter: &mut Option<Converter>,
    factory: &Arc<Factory>,
) -> Result<(), TtsError> {
    if job.cancel.is_cancelled() {
        return Err(TtsError::Cancelled);
    }
    let mut own = match synthesizer.take() {
        Some(own) => own,
        None => factory()?,
    };
    let mut delivery = Delivery { converter, sound: Duration::ZERO, stop: job.cancel.child_token() };
    let said = catch_unwind(AssertUnwindSafe(|| {
        let (phrase, voice, stop) = (job.phrase.clone(), job.voice.clone(), delivery.stop.clone());
        own.synthesize(&phrase, &voice, &stop, &mut |pcm| delivery.take(&pcm, job))?;
        delivery.finish(job)
    }));
    match said {
        Ok(result) => {
            *synthesizer = Some(own);
            // A filter that was left in the middle of a phrase must not sound in the next one.
            if result.is_err() {
                *converter = None;
            }
            result
        }
        Err(panic) => {
            *converter = None;
            let reason = panic_message(&*panic);
            warn!(reason, "a synthesizer panicked and is made anew");
            Err(TtsError::Failed(reason))
        }
    }
}

/// A resampler that is kept from one phrase to the next.
pub(super) struct Converter {
    from: SampleRate,
    to: SampleRate,
    resampler: Resampler,
}

/// The way of a phrase's sound to its listener.
struct Delivery<'a> {
    converter: &'a mut Option<Converter>,
    sound: Duration,
    /// Cancelled when the listener is gone, or when there is too much sound.
    stop: CancellationToken,
}

impl Delivery<'_> {
    fn take(&mut self, pcm: &Pcm, job: &mut Job) {
        if self.stop.is_cancelled() {
            return;
        }
        self.sound += Duration::from_secs_f64(pcm.samples.len() as f64 / f64::from(pcm.rate.hertz()));
        if self.sound > LONGEST {
            return self.stop.cancel();
        }
        if pcm.rate == job.rate {
            return deliver(&pcm.samples, job);
        }
        let mut out = Vec::new();
        self.converter(pcm.rate, job.rate).push(&pcm.samples, &mut out);
        deliver(&out, job);
    }

    fn converter(&mut self, from: SampleRate, to: SampleRate) -> &mut Resampler {
        if self.converter.as_ref().is_none_or(|kept| (kept.from, kept.to) != (from, to)) {
            *self.converter = Some(Converter { from, to, resampler: Resampler::new(from, to) });
        }
        &mut self.converter.as_mut().expect("it was just put there").resampler
    }

    /// The end of the sound, which the resampler still held back.
    fn finish(&mut self, job: &mut Job) -> Result<(), TtsError> {
        if self.sound > LONGEST {
            return Err(TtsError::Failed(format!("it gives more than {} s of sound", LONGEST.as_secs())));
        }
        let mut out = Vec::new();
        if let Some(kept) = self.converter.as_mut().filter(|kept| kept.to == job.rate) {
            kept.resampler.finish(&mut out);
        }
        deliver(&out, job);
        Ok(())
    }
}

fn deliver(samples: &[f32], job: &mut Job) {
    let piece = (PIECE.as_millis() as usize * job.rate.hertz() as usize / 1_000).max(1);
    for samples in samples.chunks(piece) {
        let pcm = Pcm { samples: samples.to_vec(), rate: job.rate };
        job.account.piece(&pcm);
        // The receiver is gone when the stream was dropped; the token says so, too.
        drop(job.pieces.send(Ok(pcm)));
    }
}

/// What was said in a panic.
fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", text.as_deref().unwrap_or("without a message"))
}
