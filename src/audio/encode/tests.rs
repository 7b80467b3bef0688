use super::*;
use crate::audio::FileReader;
use std::io::Cursor;

/// A second and a bit of a rising tone.
fn tone() -> Vec<f32> {
    (0..25_001).map(|n| 0.5 * (n as f32 * (0.05 + n as f32 * 2e-6)).sin()).collect()
}

fn encode(format: SoundFormat, samples: &[f32], cut: usize) -> Vec<u8> {
    let mut encoder = SoundEncoder::new(format).unwrap();
    let mut bytes = Vec::new();
    for piece in samples.chunks(cut) {
        bytes.extend(encoder.push(piece).unwrap());
    }
    bytes.extend(encoder.finish().unwrap());
    bytes
}

/// What our own reader, which is made for other people's files, hears in it; at 16 kHz.
fn decode(format: SoundFormat, bytes: Vec<u8>) -> Vec<f32> {
    let mut reader = FileReader::open(Cursor::new(bytes), Some(format.name())).unwrap();
    let mut samples = Vec::new();
    while let Some(more) = reader.read().unwrap() {
        samples.extend(more);
    }
    samples
}

#[test]
fn what_is_written_can_be_read_and_sounds_the_same() {
    let tone = tone();
    let mut expected = Vec::new();
    let mut resampler = crate::audio::Resampler::new(SoundEncoder::RATE, SampleRate::SPEECH);
    resampler.push(&tone, &mut expected);
    resampler.finish(&mut expected);
    for &format in SoundFormat::ALL.iter().filter(|format| **format != SoundFormat::Pcm) {
        let heard = decode(format, encode(format, &tone, 777));
        let lossless = matches!(format, SoundFormat::Wav | SoundFormat::Flac);
        let slack = if lossless { 40 } else { 3_000 };
        assert!(
            heard.len().abs_diff(expected.len()) <= slack,
            "{format:?}: {} of {}",
            heard.len(),
            expected.len()
        );
        if lossless || format == SoundFormat::Opus {
            assert!(heard.len().abs_diff(expected.len()) <= 40, "{format:?} says where it ends");
        }
        let error = (0..3_000).map(|shift| difference(&heard, &expected, shift)).fold(f32::MAX, f32::min);
        assert!(error < if lossless { 1e-3 } else { 0.12 }, "{format:?}: {error}");
    }
}

/// How far what was heard, `shift` samples later, is from what was meant: root mean square of a piece in the middle.
fn difference(heard: &[f32], meant: &[f32], shift: usize) -> f32 {
    let piece = 5_000..9_000;
    let Some(heard) = heard.get(piece.start + shift..piece.end + shift) else { return f32::MAX };
    let squares = heard.iter().zip(&meant[piece]).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
    (squares / heard.len() as f32).sqrt()
}

#[test]
fn the_bytes_do_not_depend_on_how_the_samples_were_cut() {
    let tone = tone();
    for &format in SoundFormat::ALL {
        let whole = encode(format, &tone, tone.len());
        for cut in [1, 480, 1_024, 2_000] {
            assert!(encode(format, &tone, cut) == whole, "{format:?} in pieces of {cut}");
        }
    }
}

#[test]
fn a_file_begins_to_come_before_its_sound_is_over() {
    for &format in SoundFormat::ALL {
        let mut encoder = SoundEncoder::new(format).unwrap();
        let early: usize = tone()[..7_200].chunks(480).map(|piece| encoder.push(piece).unwrap().len()).sum();
        assert!(early > 500, "{format:?}: {early} bytes in the first 300 ms");
    }
}

#[test]
fn sound_of_no_length_or_too_loud_is_no_trouble() {
    for &format in SoundFormat::ALL {
        for samples in [vec![], vec![0.1], vec![9.0; 2_000], vec![-9.0; 33], vec![f32::NAN; 100]] {
            encode(format, &samples, 500);
        }
        assert_eq!(SoundFormat::named(format.name()), Some(format));
    }
    assert_eq!(SoundFormat::named("aac"), None);
    assert_eq!(pcm16_bytes(&[0.0, 1.0, -1.0, 2.0, 0.5]), [0, 0, 255, 127, 0, 128, 255, 127, 0, 64]);
}
