//! Where somebody speaks in a recording, by the voice detector.

use crate::audio::{FRAME_SAMPLES, Frame, Span};
use crate::vad::{Detector, EndpointEvent, EndpointSettings, Endpointer, VadError, VadState};
use std::time::Duration;

/// Finds the speech in 16 kHz samples, in order; pauses shorter than 300 ms do not part it.
///
/// # Errors
///
/// The model failed.
pub fn speech_spans(detector: &mut dyn Detector, samples: &[f32]) -> Result<Vec<Span>, VadError> {
    let mut state = VadState::default();
    let mut endpointer = Endpointer::new(settings());
    let mut events = Vec::new();
    for chunk in samples.chunks(FRAME_SAMPLES) {
        let mut frame: Frame = [0.0; FRAME_SAMPLES];
        frame[..chunk.len()].copy_from_slice(chunk);
        let mut probability = [0.0];
        detector.probabilities(&mut [(&mut state, &frame)], &mut probability)?;
        endpointer.push(&frame, probability[0], &mut events);
    }
    endpointer.commit(&[], &mut events);
    Ok(events.iter().filter_map(|event| heard(event, samples.len() as u64)).collect())
}

fn settings() -> EndpointSettings {
    EndpointSettings {
        prefix: Duration::ZERO,
        end_silence: Duration::from_millis(300),
        ..EndpointSettings::default()
    }
}

/// The last frame may reach beyond the end.
fn heard(event: &EndpointEvent, len: u64) -> Option<Span> {
    let EndpointEvent::Utterance(utterance, _) = event else { return None };
    let span = Span::new(utterance.speech.start, utterance.speech.end.min(len));
    (!span.is_empty()).then_some(span)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{SampleRate, samples_in};
    use crate::vad::fake::FakeDetector;
    use crate::vad::recorded::{recording, silero};

    /// `#` is 128 ms of noise, `.` of silence.
    fn sound(of: &str) -> Vec<f32> {
        let level = |c| if c == '#' { 0.5 } else { 0.0 };
        of.chars().flat_map(|c| std::iter::repeat_n(level(c), 4 * FRAME_SAMPLES)).collect()
    }

    /// In units of 128 ms.
    fn spans(of: &str) -> Vec<(u64, u64)> {
        let spans = speech_spans(&mut FakeDetector, &sound(of)).unwrap();
        spans.iter().map(|span| (span.start / 2_048, span.end / 2_048)).collect()
    }

    #[test]
    fn speech_is_found_where_it_is_and_short_pauses_do_not_part_it() {
        let cases: [(&str, &[(u64, u64)]); 6] = [
            ("..####....", &[(2, 6)]),
            ("####", &[(0, 4)]),
            ("..###.###....##..", &[(2, 9), (13, 15)]),
            ("..####....##", &[(2, 6), (10, 12)]),
            ("......", &[]),
            ("", &[]),
        ];
        for (of, expected) in cases {
            assert_eq!(spans(of), expected, "{of}");
        }
    }

    #[test]
    fn no_span_reaches_beyond_the_recording() {
        let samples = &sound("..####")[..5 * 2_048 + 100];
        let spans = speech_spans(&mut FakeDetector, samples).unwrap();
        assert_eq!(spans, [Span::new(2 * 2_048, samples.len() as u64)]);
    }

    /// The labels in `eval/transcripts.tsv` are where the energy is.
    #[test]
    fn silero_finds_speech_where_the_labels_say() {
        let mut silero = silero();
        for (name, start, end) in [
            ("eval/seen-voice-000", 0.13, 2.59),
            ("eval/seen-voice-011", 0.27, 2.96),
            ("eval/seen-voice-003", 0.21, 2.32),
        ] {
            let spans = speech_spans(&mut silero, &recording(name)).unwrap();
            let (first, last) = (spans.first().unwrap(), spans.last().unwrap());
            let off = [first.start_seconds() - start, last.end_seconds() - end];
            assert!(off.iter().all(|off| off.abs() < 0.3), "{name}: {spans:?}");
        }
    }

    #[test]
    fn silero_parts_sentences_and_hears_nothing_in_noise() {
        let mut silero = silero();
        let several = speech_spans(&mut silero, &recording("eval/long-004")).unwrap();
        assert!((7..=11).contains(&several.len()), "nine sentences: {several:?}");
        assert!(several.windows(2).all(|pair| pair[0].end <= pair[1].start));
        let noise = recording("eval/silence-noise-004");
        assert!(noise.len() as u64 > samples_in(Duration::from_secs(1)), "at {:?}", SampleRate::SPEECH);
        assert_eq!(speech_spans(&mut silero, &noise).unwrap(), []);
    }
}
