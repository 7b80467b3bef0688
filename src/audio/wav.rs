//! WAV headers as they are found in the wild, rewritten into the one form that symphonia's reader takes.
//!
//! Recorders that stream write lengths of 0 or 2³² − 1, others write sizes that contradict each other, RF64 has 64-bit
//! ones. This file finds the samples; decoding them is symphonia's work.

use super::AudioError;
use super::source::read_at;
use std::io::{Read, Seek};
use std::ops::Range;
use std::time::Duration;

/// Where the samples of a WAV file are and what they are.
#[derive(Debug, PartialEq)]
pub(super) struct Wav {
    /// A header without lengths, to be followed by the samples.
    pub(super) header: Vec<u8>,
    /// The samples' bytes in the file.
    pub(super) data: Range<u64>,
    /// Whether the header promises more samples than there are.
    pub(super) truncated: bool,
    /// How long the samples in the file last.
    pub(super) duration: Option<Duration>,
}

/// More channels than this have no meaning to symphonia.
const MAX_CHANNELS: u16 = 26;

/// Chunks looked at before the samples; a file that has more is playing games.
const MAX_CHUNKS: usize = 256;

/// From here on a length is a recorder's way to say "unknown"; writers use various numbers just below 2³¹ and 2³².
const ENDLESS: u64 = 0x7fff_0000;

const PCM: u16 = 0x0001;
const MS_ADPCM: u16 = 0x0002;
const IEEE_FLOAT: u16 = 0x0003;
const A_LAW: u16 = 0x0006;
const MU_LAW: u16 = 0x0007;
const IMA_ADPCM: u16 = 0x0011;
const EXTENSIBLE: u16 = 0xfffe;

/// Reads the header that begins at `start` of a file of `len` bytes.
///
/// # Errors
///
/// [`AudioError::Damaged`] without format or samples, [`AudioError::NoTrack`] for a codec that nobody here decodes.
pub(super) fn read_header<S: Read + Seek>(source: &mut S, start: u64, len: u64) -> Result<Wav, AudioError> {
    let riff_len = u64::from(u32_at(&read_at(source, start, 12)?, 4));
    let mut format = None;
    let mut long_data_len = None;
    let mut position = start + 12;
    for _ in 0..MAX_CHUNKS {
        let header = read_at(source, position, 8)?;
        if header.len() < 8 {
            break;
        }
        let chunk_len = u64::from(u32_at(&header, 4));
        position += 8;
        match &header[..4] {
            b"fmt " => format = Some(read_at(source, position, chunk_len.min(64) as usize)?),
            b"ds64" => long_data_len = read_at(source, position, 16)?.get(8..16).map(u64_le),
            b"data" => {
                let format = Format::parse(&format.ok_or_else(|| damaged("samples before their format"))?)?;
                let promised = long_data_len.unwrap_or(chunk_len);
                // An empty recording with a header that is right about everything else is not a stream.
                let consistent = riff_len + 8 == len - start;
                return Ok(format.wav(position.min(len)..len, Promise::new(promised, consistent)));
            }
            _ => {}
        }
        position += chunk_len + (chunk_len & 1);
    }
    Err(damaged("the file ends before its samples begin"))
}

fn damaged(detail: &str) -> AudioError {
    AudioError::Damaged { detail: format!("wav: {detail}") }
}

/// What the header says about the number of bytes.
#[derive(Debug, Clone, Copy)]
enum Promise {
    Exactly(u64),
    UntilTheEnd,
}

impl Promise {
    fn new(bytes: u64, consistent: bool) -> Self {
        match bytes {
            0 if !consistent => Self::UntilTheEnd,
            _ => Self::Exactly(bytes),
        }
    }

    /// How many of `available` bytes are samples, and whether some that were promised are missing.
    fn keep(self, available: u64) -> (u64, bool) {
        match self {
            Self::Exactly(bytes) if bytes <= available => (bytes, false),
            Self::Exactly(bytes) => {
                let endless = bytes == u64::MAX || (ENDLESS..=u64::from(u32::MAX)).contains(&bytes);
                (available, !endless)
            }
            Self::UntilTheEnd => (available, false),
        }
    }
}

/// The `fmt ` chunk, with extensible formats resolved.
#[derive(Debug)]
struct Format {
    tag: u16,
    channels: u16,
    rate: u32,
    bytes_per_second: u32,
    block: u16,
    bits: u16,
    /// The chunk as written; ADPCM keeps its coefficients there.
    raw: Vec<u8>,
}

impl Format {
    fn parse(raw: &[u8]) -> Result<Self, AudioError> {
        if raw.len() < 16 {
            return Err(damaged("the format is shorter than 16 bytes"));
        }
        let tag = match u16_at(raw, 0) {
            EXTENSIBLE => u16_at(raw, 24),
            tag => tag,
        };
        let (channels, rate, bits) = (u16_at(raw, 2), u32_at(raw, 4), u16_at(raw, 14));
        if !(1..=MAX_CHANNELS).contains(&channels) {
            return Err(no_track(format!("{channels} channels; 1 to {MAX_CHANNELS} can be decoded")));
        }
        let format = Self { tag, channels, rate, bytes_per_second: 0, block: 0, bits, raw: raw.to_vec() };
        match (tag, bits) {
            (PCM, 1..=32) | (IEEE_FLOAT, 32 | 64) | (A_LAW | MU_LAW, 8) => Ok(format.linear()),
            (MS_ADPCM | IMA_ADPCM, 4) => Ok(format.adpcm()),
            _ => Err(no_track(format!("wav codec {tag:#06x} with {bits} bits"))),
        }
    }

    /// Derives the sizes of uncompressed samples from their bits; headers get them wrong.
    fn linear(self) -> Self {
        let bytes = self.bits.div_ceil(8);
        let block = self.channels * bytes;
        Self { bits: 8 * bytes, block, bytes_per_second: self.rate.saturating_mul(u32::from(block)), ..self }
    }

    /// A block begins with some bytes and samples per channel, then has two samples per byte.
    fn adpcm(self) -> Self {
        let block = u16_at(&self.raw, 12);
        let (header_bytes, header_samples) = if self.tag == MS_ADPCM { (7, 2) } else { (4, 1) };
        let nibbles = 2 * u32::from(block).saturating_sub(header_bytes * u32::from(self.channels));
        let samples = u64::from(nibbles / u32::from(self.channels) + header_samples);
        Self { block, bytes_per_second: (u64::from(self.rate) * u64::from(block) / samples) as u32, ..self }
    }

    fn wav(&self, data: Range<u64>, promise: Promise) -> Wav {
        let (bytes, truncated) = promise.keep(data.end - data.start);
        let whole_blocks = bytes - bytes % u64::from(self.block.max(1));
        let duration = (self.bytes_per_second > 0)
            .then(|| Duration::from_secs_f64(whole_blocks as f64 / f64::from(self.bytes_per_second)));
        Wav { header: self.header(), data: data.start..data.start + whole_blocks, truncated, duration }
    }

    /// The header of a stream of unknown length.
    fn header(&self) -> Vec<u8> {
        let format = self.format_chunk();
        let mut header = Vec::new();
        header.extend_from_slice(b"RIFF\xff\xff\xff\xffWAVEfmt ");
        header.extend_from_slice(&(format.len() as u32).to_le_bytes());
        header.extend_from_slice(&format);
        header.extend_from_slice(b"data\xff\xff\xff\xff");
        header
    }

    fn format_chunk(&self) -> Vec<u8> {
        if matches!(self.tag, MS_ADPCM | IMA_ADPCM) {
            return self.raw.clone();
        }
        let mut chunk = Vec::new();
        chunk.extend_from_slice(&self.tag.to_le_bytes());
        chunk.extend_from_slice(&self.channels.to_le_bytes());
        chunk.extend_from_slice(&self.rate.to_le_bytes());
        chunk.extend_from_slice(&self.bytes_per_second.to_le_bytes());
        chunk.extend_from_slice(&self.block.to_le_bytes());
        chunk.extend_from_slice(&self.bits.to_le_bytes());
        chunk.extend_from_slice(&[0, 0]);
        chunk
    }
}

fn no_track(detail: String) -> AudioError {
    AudioError::NoTrack { detail }
}

/// The little-endian number at `at`; 0 where the bytes end before it.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |&word| u16::from_le_bytes(word))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_le(bytes: &[u8]) -> u64 {
    u64::from(u32_at(bytes, 0)) | u64::from(u32_at(bytes, 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// A 16 kHz, 16-bit mono header with these lengths, 100 bytes of samples and `after`.
    fn file(riff_len: u32, data_len: u32, after: &[u8]) -> Vec<u8> {
        let format = [1, 0, 1, 0, 0x80, 0x3e, 0, 0, 0, 0x7d, 0, 0, 2, 0, 16, 0];
        let parts: [&[u8]; 9] = [
            b"RIFF",
            &riff_len.to_le_bytes(),
            b"WAVEfmt ",
            &16_u32.to_le_bytes(),
            &format,
            b"data",
            &data_len.to_le_bytes(),
            &[7; 100],
            after,
        ];
        parts.concat()
    }

    /// How many bytes are samples, and whether some are missing.
    fn check(bytes: &[u8]) -> (u64, bool) {
        let wav = read_header(&mut Cursor::new(bytes), 0, bytes.len() as u64).unwrap();
        assert_eq!(wav.data.start, 44);
        (wav.data.end - wav.data.start, wav.truncated)
    }

    #[test]
    fn lengths_are_believed_where_they_can_be_true() {
        assert_eq!(check(&file(136, 100, b"")), (100, false), "as written");
        assert_eq!(check(&file(136, 98, b"LIST")), (98, false), "something follows");
        assert_eq!(check(&file(336, 300, b"")), (100, true), "broken off");
        assert_eq!(check(&file(u32::MAX, u32::MAX, b"")), (100, false), "ffmpeg to a pipe");
        assert_eq!(check(&file(0, 0, b"")), (100, false), "a recorder that never came back");
        assert_eq!(check(&file(0x7fff_f024, 0x7fff_f000, b"")), (100, false), "sox to a pipe");
        assert_eq!(check(&file(136, 0, b"")), (0, false), "an empty recording before other chunks");
        assert_eq!(check(&file(136, 99, b"")), (98, false), "half a sample");
    }

    #[test]
    fn the_64_bit_length_of_rf64_counts() {
        let ds64 = [b"ds64\x10\0\0\0".as_slice(), &[0; 8], &98_u64.to_le_bytes()].concat();
        let mut bytes = file(u32::MAX, u32::MAX, b"");
        bytes.splice(12..12, ds64);
        let wav = read_header(&mut Cursor::new(&bytes), 0, bytes.len() as u64).unwrap();
        assert_eq!((wav.data, wav.truncated), (68..68 + 98, false));
    }

    #[test]
    fn a_header_without_samples_is_damaged() {
        let whole = file(136, 100, b"");
        for len in [12, 20, 30, 36, 43] {
            let error = read_header(&mut Cursor::new(&whole[..len]), 0, len as u64).unwrap_err();
            assert_eq!(error.code(), "audio_damaged", "{len} bytes: {error}");
        }
    }

    #[test]
    fn codecs_and_channels_beyond_us_are_named() {
        let mut bytes = file(136, 100, b"");
        bytes[20] = 0x31;
        let error = read_header(&mut Cursor::new(&bytes), 0, 144).unwrap_err();
        assert!(error.to_string().contains("0x0031"), "{error}");
        bytes[20..24].copy_from_slice(&[1, 0, 0xff, 0xff]);
        let error = read_header(&mut Cursor::new(&bytes), 0, 144).unwrap_err();
        assert!(error.to_string().contains("65535 channels"), "{error}");
    }
}
