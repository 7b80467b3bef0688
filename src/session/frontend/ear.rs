//! What one session hears with. Pure but for the detector, which belongs to a thread: the thread asks an ear for its next
//! frame and tells it how likely that is speech.

use super::hush::Hush;
use crate::audio::{AudioError, FRAME_SAMPLES, Frame, Span, StreamDecoder, StreamFormat, Utterance};
use crate::vad::{EndpointEvent, EndpointSettings, Endpointer, VadState};
use std::fmt;
use std::time::Duration;

/// A frame whose samples are all nearer to 0 than this has no sound in it: three steps of 16 bits, or −81 dB.
const INAUDIBLE: f32 = 3.0 / 32_768.0;

/// What one session hears with: decoder, resampler, voice detector state and endpointer.
///
/// While nobody speaks it takes about 32 KB with the default pre-roll of 300 ms, the decoder not counted; while somebody
/// speaks, 64 KB more for each second of the utterance.
pub struct Ear {
    format: StreamFormat,
    /// Made for the first bytes: who hears a file needs none.
    decoder: Option<Box<StreamDecoder>>,
    /// Decoded and not yet forgotten; fewer than a frame while the ear is at rest.
    samples: Vec<f32>,
    /// How many of `samples` the endpointer has.
    heard: usize,
    state: Box<VadState>,
    endpointer: Endpointer,
    hush: Hush,
    /// The round of a thread's roll call in which this ear was counted last.
    pub(super) counted_in: u64,
}

/// Something for an ear to hear or do.
#[derive(Debug)]
pub enum EarInput {
    /// Bytes in the ear's format.
    Bytes(Vec<u8>),
    /// Samples at 16 kHz mono (from a file).
    Samples(Vec<f32>),
    /// Cut now (a client's commit, or the end of the stream).
    Commit,
    /// Cut the silence since the last cut, as [`Endpointer::commit_silence`] does.
    CommitSilence,
    /// Forget what was said since the last cut.
    Clear,
}

impl Ear {
    /// An ear at the beginning of a stream.
    pub fn new(format: StreamFormat, settings: EndpointSettings) -> Self {
        Self {
            format,
            decoder: None,
            samples: Vec::new(),
            heard: 0,
            state: Box::default(),
            endpointer: Endpointer::new(settings),
            hush: Hush::default(),
            counted_in: 0,
        }
    }

    /// The endpoint settings in force.
    pub fn settings(&self) -> &EndpointSettings {
        self.endpointer.settings()
    }

    /// Changes the endpoint settings from here on.
    pub fn configure(&mut self, settings: EndpointSettings) {
        self.endpointer.configure(settings);
    }

    /// Lets silence of this length end the utterance in progress, as [`Endpointer::set_end_silence`] does.
    pub fn set_end_silence(&mut self, end_silence: Duration) {
        self.endpointer.set_end_silence(end_silence);
    }

    /// What lies before this position has its text, as [`Endpointer::settle`] says.
    pub fn settle(&mut self, before: u64) {
        self.endpointer.settle(before);
    }

    /// Changes the input format from here on; what the old decoder held back is heard first.
    pub fn set_format(&mut self, format: StreamFormat) {
        if format != self.format {
            self.flush();
            self.format = format;
            self.decoder = None;
        }
    }

    /// Samples at 16 kHz heard so far, from the beginning of the stream.
    pub fn position(&self) -> u64 {
        self.endpointer.position() + self.unheard().len() as u64
    }

    /// Samples that a commit would cut now; 0 when there is nothing to commit.
    pub fn pending(&self) -> u64 {
        match self.endpointer.pending() {
            0 if self.settings().automatic => 0,
            pending => pending + self.unheard().len() as u64,
        }
    }

    /// A copy of what a commit would cut now, as [`Endpointer::so_far`] gives it: in whole frames.
    pub fn so_far(&self, window: Span) -> Option<Utterance> {
        self.endpointer.so_far(window)
    }

    /// Where speech is heard from the position `from` on, as [`Endpointer::voice_from`] finds it.
    pub fn voice_from(&self, from: u64) -> Option<u64> {
        self.endpointer.voice_from(from)
    }

    /// How many samples of speech a commit would cut now from the position `from` on, as [`Endpointer::voiced_since`]
    /// counts them.
    pub fn voiced_since(&self, from: u64) -> u64 {
        self.endpointer.voiced_since(from)
    }

    /// For how many samples nobody has spoken, as [`Endpointer::silence`] counts them: in whole frames.
    pub fn silence(&self) -> u64 {
        self.endpointer.silence()
    }

    /// Whether `bytes` can be audio in the ear's format. Asked of a whole chunk, because it is decoded in slices and a
    /// chunk that is refused must leave no trace.
    pub(super) fn check(&self, bytes: &[u8]) -> Result<(), AudioError> {
        let halves = matches!(self.format, StreamFormat::Pcm16 { .. }) && !bytes.len().is_multiple_of(2);
        if halves { Err(AudioError::OddByteCount { bytes: bytes.len() }) } else { Ok(()) }
    }

    /// Decodes the next bytes.
    pub(super) fn decode(&mut self, bytes: &[u8]) -> Result<(), AudioError> {
        self.forget_heard();
        let decoder = self.decoder.get_or_insert_with(|| Box::new(StreamDecoder::new(self.format)));
        decoder.push(bytes, &mut self.samples)
    }

    /// Takes samples that need no decoding.
    pub(super) fn extend(&mut self, samples: &[f32]) {
        self.samples.extend_from_slice(samples);
    }

    /// Takes what the resampler holds back.
    pub(super) fn flush(&mut self) {
        if let Some(decoder) = &mut self.decoder {
            decoder.finish(&mut self.samples);
        }
    }

    /// Whether a whole frame waits for the detector.
    pub(super) fn has_frame(&self) -> bool {
        self.unheard().len() >= FRAME_SAMPLES
    }

    /// The frame that waits, and what the detector has to know to judge it.
    pub(super) fn frame(&mut self) -> Option<(&mut VadState, &Frame)> {
        let frame = self.samples[self.heard..].first_chunk()?;
        Some((&mut self.state, frame))
    }

    /// Whether no detector is needed for the frame that waits: there is no sound in it, or no more than in a quiet room,
    /// and nobody has spoken for some frames. The detector's state stays as it is then, as if the stream had stood still.
    pub(super) fn is_dull(&mut self) -> bool {
        let Some(frame) = self.samples[self.heard..].first_chunk() else { return false };
        self.endpointer.is_at_rest()
            && (frame.iter().all(|sample| sample.abs() < INAUDIBLE) || self.hush.passes(frame))
    }

    /// Takes the frame that waited for silence.
    pub(super) fn pass_over(&mut self, events: &mut Vec<EndpointEvent>) {
        self.push(0.0, events);
    }

    /// Takes the detector's word on the frame that waited.
    pub(super) fn hear(&mut self, probability: f32, events: &mut Vec<EndpointEvent>) {
        self.push(probability, events);
        if let Some(frame) = self.samples[..self.heard].last_chunk() {
            self.hush.judged(frame, self.endpointer.is_at_rest());
        }
    }

    fn push(&mut self, probability: f32, events: &mut Vec<EndpointEvent>) {
        if let Some(frame) = self.samples[self.heard..].first_chunk() {
            self.endpointer.push(frame, probability, events);
            self.heard += FRAME_SAMPLES;
        }
    }

    /// Whether there is anything to cut once the decoder is flushed. In automatic mode a commit into silence leaves the
    /// stream as it is.
    pub(super) fn can_commit(&self) -> bool {
        !self.settings().automatic || self.endpointer.pending() > 0
    }

    /// Cuts, together with the samples that are no whole frame; all whole frames have been heard.
    pub(super) fn commit(&mut self, events: &mut Vec<EndpointEvent>) {
        self.endpointer.commit(&self.samples[self.heard..], events);
        self.samples.clear();
        self.heard = 0;
    }

    /// Cuts silence; the samples that are no whole frame stay.
    pub(super) fn commit_silence(&mut self, events: &mut Vec<EndpointEvent>) {
        self.endpointer.commit_silence(events);
    }

    /// Forgets what was said since the last cut; the stream's position goes on.
    pub(super) fn clear(&mut self) {
        self.flush();
        self.endpointer.skip(self.unheard().len() as u64);
        self.samples.clear();
        self.heard = 0;
    }

    /// Gives back the memory of a piece of input.
    pub(super) fn rest(&mut self) {
        self.forget_heard();
        self.samples.shrink_to(FRAME_SAMPLES);
        if let Some(decoder) = &mut self.decoder {
            decoder.rest();
        }
    }

    fn forget_heard(&mut self) {
        self.samples.drain(..self.heard);
        self.heard = 0;
    }

    fn unheard(&self) -> &[f32] {
        &self.samples[self.heard..]
    }

    /// What the ear takes, the decoder not counted.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let samples = self.samples.capacity() * size_of::<f32>();
        size_of::<Self>() + size_of::<VadState>() + samples + self.endpointer.held_bytes()
    }
}

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ear = f.debug_struct("Ear");
        ear.field("format", &self.format).field("settings", self.settings());
        ear.field("position", &self.position()).field("pending", &self.pending()).finish_non_exhaustive()
    }
}
