//! Raw audio as it comes over a socket, to 16 kHz mono, and as it goes. Containers and compressed files are `file`'s.

use super::{AudioError, Resampler, SampleRate, g711};

/// The lowest and highest rate that a live stream may have, in hertz.
const STREAM_RATES: std::ops::RangeInclusive<u32> = 8_000..=48_000;

/// What the bytes of a live stream are. Always one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamFormat {
    /// Signed 16-bit little endian at 8 to 48 kHz.
    Pcm16 {
        /// Samples per second.
        rate: SampleRate,
    },
    /// G.711 µ-law at 8 kHz.
    MuLaw,
    /// G.711 A-law at 8 kHz.
    ALaw,
}

impl StreamFormat {
    /// PCM16 at `hertz`.
    ///
    /// # Errors
    ///
    /// [`AudioError::UnsupportedRate`] outside 8000 to 48000.
    pub fn pcm16(hertz: u32) -> Result<Self, AudioError> {
        let rate = SampleRate::new(hertz).filter(|rate| STREAM_RATES.contains(&rate.hertz()));
        rate.map(|rate| Self::Pcm16 { rate }).ok_or(AudioError::UnsupportedRate { hertz })
    }

    /// Samples per second on the wire.
    pub fn rate(self) -> SampleRate {
        match self {
            Self::Pcm16 { rate } => rate,
            Self::MuLaw | Self::ALaw => SampleRate::TELEPHONE,
        }
    }

    /// Samples in −1…1 at [`rate`](Self::rate) as they go over the wire; louder ones are clipped.
    pub fn encode(self, samples: &[f32]) -> Vec<u8> {
        match self {
            Self::Pcm16 { .. } => samples.iter().flat_map(|sample| pcm16(*sample).to_le_bytes()).collect(),
            Self::MuLaw => samples.iter().map(|sample| g711::to_mu_law(*sample)).collect(),
            Self::ALaw => samples.iter().map(|sample| g711::to_a_law(*sample)).collect(),
        }
    }
}

/// The cast saturates, and takes what is no number for silence.
fn pcm16(sample: f32) -> i16 {
    (sample * 32_768.0).round() as i16
}

/// Decodes and resamples one live stream.
///
/// The samples do not depend on how the bytes were cut into chunks; some are held back as [`Resampler`] says.
#[derive(Debug)]
pub struct StreamDecoder {
    format: StreamFormat,
    resampler: Resampler,
    /// The last chunk at the stream's own rate; kept for its capacity until [`rest`](Self::rest).
    linear: Vec<f32>,
}

impl StreamDecoder {
    /// A decoder at the beginning of a stream.
    pub fn new(format: StreamFormat) -> Self {
        let resampler = Resampler::new(format.rate(), SampleRate::SPEECH);
        Self { format, resampler, linear: Vec::new() }
    }

    /// The format it was made for.
    pub fn format(&self) -> StreamFormat {
        self.format
    }

    /// Takes the next bytes and appends 16 kHz mono samples to `out`.
    ///
    /// # Errors
    ///
    /// [`AudioError::OddByteCount`] for PCM16; nothing of that chunk is taken, and the stream goes on.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<f32>) -> Result<(), AudioError> {
        self.linear.clear();
        match self.format {
            StreamFormat::Pcm16 { .. } => self.linear.extend(pcm16_samples(bytes)?),
            StreamFormat::MuLaw => self.linear.extend(bytes.iter().map(|&code| g711::mu_law(code))),
            StreamFormat::ALaw => self.linear.extend(bytes.iter().map(|&code| g711::a_law(code))),
        }
        self.resampler.push(&self.linear, out);
        Ok(())
    }

    /// Gives back the memory of a chunk.
    pub fn rest(&mut self) {
        self.linear = Vec::new();
        self.resampler.rest();
    }

    /// Appends the samples that the resampler still holds back, and begins anew.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        self.resampler.finish(out);
    }
}

fn pcm16_samples(bytes: &[u8]) -> Result<impl Iterator<Item = f32>, AudioError> {
    match bytes.as_chunks::<2>() {
        (pairs, []) => Ok(pairs.iter().map(|&pair| f32::from(i16::from_le_bytes(pair)) / 32_768.0)),
        _ => Err(AudioError::OddByteCount { bytes: bytes.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(format: StreamFormat, chunks: &[&[u8]]) -> Vec<f32> {
        let mut decoder = StreamDecoder::new(format);
        let mut out = Vec::new();
        for chunk in chunks {
            decoder.push(chunk, &mut out).unwrap();
        }
        decoder.finish(&mut out);
        out
    }

    #[test]
    fn rates_outside_8_to_48_khz_are_refused() {
        for hertz in [0, 7_999, 48_001, u32::MAX] {
            let error = StreamFormat::pcm16(hertz).unwrap_err();
            assert_eq!(error.code(), "audio_rate_unsupported", "{hertz}");
        }
        assert_eq!(StreamFormat::pcm16(8_000).unwrap().rate(), SampleRate::TELEPHONE);
        assert_eq!(StreamFormat::pcm16(48_000).unwrap().rate().hertz(), 48_000);
    }

    #[test]
    fn pcm16_at_16_khz_is_taken_to_the_bit() {
        let format = StreamFormat::pcm16(16_000).unwrap();
        assert_eq!(decode(format, &[&[0, 0, 0xff, 0x7f], &[0, 0x80]]), [0.0, 32_767.0 / 32_768.0, -1.0]);
    }

    #[test]
    fn an_odd_chunk_is_refused_and_leaves_no_trace() {
        let mut decoder = StreamDecoder::new(StreamFormat::pcm16(16_000).unwrap());
        let mut out = Vec::new();
        let error = decoder.push(&[1, 2, 3], &mut out).unwrap_err();
        assert!(matches!(error, AudioError::OddByteCount { bytes: 3 }), "{error}");
        decoder.push(&[0, 0x40], &mut out).unwrap();
        decoder.finish(&mut out);
        assert_eq!(out, [0.5]);
    }

    #[test]
    fn telephone_audio_comes_out_twice_as_dense() {
        for format in [StreamFormat::MuLaw, StreamFormat::ALaw] {
            assert_eq!(decode(format, &[&[0x55; 801]]).len(), 1602, "{format:?}");
        }
    }

    #[test]
    fn a_decoder_can_move_to_another_thread() {
        fn check<T: Send + std::fmt::Debug>() {}
        check::<StreamDecoder>();
    }

    fn any_format() -> impl Strategy<Value = StreamFormat> {
        prop_oneof![
            Just(StreamFormat::MuLaw),
            Just(StreamFormat::ALaw),
            (8_000_u32..=48_000).prop_map(|hertz| StreamFormat::pcm16(hertz).unwrap()),
            proptest::sample::select(vec![8_000, 16_000, 22_050, 24_000, 44_100, 48_000])
                .prop_map(|hertz| StreamFormat::pcm16(hertz).unwrap()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Fails as soon as a chunk's edge leaves anything behind: state that a chunk forgets, a block per chunk.
        #[test]
        fn chunk_sizes_do_not_change_the_samples(
            format in any_format(),
            words in proptest::collection::vec(any::<u16>(), 0..2_000),
            cuts in proptest::collection::vec(1_usize..300, 1..40),
        ) {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let mut chunks = Vec::new();
            let mut rest = bytes.as_slice();
            for size in cuts.iter().cycle() {
                let (chunk, after) = rest.split_at(rest.len().min(2 * size));
                chunks.push(chunk);
                rest = after;
                if rest.is_empty() { break }
            }
            prop_assert_eq!(decode(format, &chunks), decode(format, &[&bytes]));
        }
    }
}
