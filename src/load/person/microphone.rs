//! What a microphone that is always on delivers: frames of a recording, or of silence. Pure.

use crate::audio::SampleRate;
use crate::load::clips::Clip;
use std::sync::Arc;
use std::time::Duration;

/// How much a microphone delivers at once.
pub(super) const FRAME: Duration = Duration::from_millis(40);

/// Plays one recording after the other into a stream that never stops.
#[derive(Debug)]
pub(super) struct Microphone {
    frame: Vec<i16>,
    /// The recording being played, and how many of its samples were.
    playing: Option<(Arc<Clip>, usize)>,
    frames: u32,
}

impl Microphone {
    pub(super) fn new(rate: SampleRate) -> Self {
        let samples = u128::from(rate.hertz()) * FRAME.as_millis() / 1_000;
        Self { frame: vec![0; samples as usize], playing: None, frames: 0 }
    }

    /// How much has been delivered so far; the next sample is at this position of the stream.
    pub(super) fn position(&self) -> Duration {
        FRAME * self.frames
    }

    /// Begins a recording with the next frame. It is not asked for before the last one is over.
    pub(super) fn play(&mut self, clip: Arc<Clip>) {
        debug_assert!(self.playing.is_none(), "nobody says two things at once");
        self.playing = Some((clip, 0));
    }

    /// The next frame, and whether the recording ends in it. What is left of that frame is silent.
    pub(super) fn next_frame(&mut self) -> (&[i16], bool) {
        self.frames += 1;
        self.frame.fill(0);
        let Some((clip, played)) = &mut self.playing else { return (&self.frame, false) };
        let left = &clip.samples[*played..];
        let n_samples = left.len().min(self.frame.len());
        self.frame[..n_samples].copy_from_slice(&left[..n_samples]);
        *played += n_samples;
        let over = *played == clip.samples.len();
        if over {
            self.playing = None;
        }
        (&self.frame, over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(samples: &[i16]) -> Arc<Clip> {
        Arc::new(Clip {
            file: "a.wav".into(),
            kind: "all".into(),
            text: String::new(),
            samples: samples.into(),
            rate: SampleRate::SPEECH,
            speech: Vec::new(),
        })
    }

    #[test]
    fn a_recording_is_delivered_whole_between_silences() {
        let mut microphone = Microphone::new(SampleRate::SPEECH);
        let said: Vec<i16> = (1..=1_500).collect();
        let mut stream = microphone.next_frame().0.to_vec();
        assert_eq!(microphone.position(), FRAME);
        microphone.play(clip(&said));
        loop {
            let (frame, over) = microphone.next_frame();
            stream.extend_from_slice(frame);
            if over {
                break;
            }
        }
        stream.extend_from_slice(microphone.next_frame().0);
        let silence = |n: usize| vec![0; n];
        assert_eq!(stream, [silence(640), said, silence(2 * 640 - (1_500 - 640)), silence(640)].concat());
        assert_eq!(microphone.position(), FRAME * 5);
    }

    #[test]
    fn an_empty_recording_is_over_at_once() {
        let mut microphone = Microphone::new(SampleRate::SPEECH);
        microphone.play(clip(&[]));
        assert!(microphone.next_frame().1);
        assert!(!microphone.next_frame().1);
    }
}
