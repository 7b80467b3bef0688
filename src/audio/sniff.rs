//! What kind of container some bytes are, from their first 64 KiB alone.
//!
//! symphonia's own prober takes two bytes that look like an MPEG sync word for audio and searches a megabyte for them;
//! that turns pictures and text into noise. Here a container has to have its magic number, and bare MPEG or ADTS
//! frames have to follow one another.

use super::AudioError;
use super::source::{HEAD_BYTES, read_at};
use std::io::{Read, Seek};

/// A container that a reader exists for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    /// RIFF, RF64 or BW64 with a WAVE form.
    Wav,
    /// AIFF and AIFC.
    Aiff,
    /// Native FLAC.
    Flac,
    /// Ogg with whatever is in it.
    Ogg,
    /// MP4, M4A, MOV, 3GP.
    Mp4,
    /// Matroska and its subset for the web.
    Matroska,
    /// Bare AAC frames with ADTS headers.
    Adts,
    /// Bare MPEG layer III frames.
    Mp3,
}

/// What was found, and where it begins (after tags and junk).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sniffed {
    pub(super) container: Container,
    pub(super) start: u64,
}

/// How many frames have to follow one another before bytes pass for bare MPEG or ADTS frames.
const FRAMES_IN_A_ROW: usize = 3;

/// Tags before the audio that are skipped; some taggers write two.
const MAX_TAGS: usize = 8;

/// Tells what `source`, `len` bytes long, holds.
///
/// # Errors
///
/// [`AudioError::UnknownFormat`], or [`AudioError::Read`].
pub(super) fn sniff<S: Read + Seek>(source: &mut S, len: u64) -> Result<Sniffed, AudioError> {
    let start = skip_tags(source)?;
    let head = read_at(source, start, HEAD_BYTES)?;
    if let Some(container) = magic(&head) {
        return Ok(Sniffed { container, start });
    }
    let whole = start + head.len() as u64 >= len;
    match bare_frames(&head, whole) {
        Some((container, offset)) => Ok(Sniffed { container, start: start + offset as u64 }),
        None => Err(AudioError::UnknownFormat { detail: describe(&head) }),
    }
}

/// Where the first `ID3` tag-free byte is. Tags may hold pictures of many megabytes, so they are not read.
fn skip_tags<S: Read + Seek>(source: &mut S) -> Result<u64, AudioError> {
    let mut position = 0;
    for _ in 0..MAX_TAGS {
        match read_at(source, position, 10)?.as_slice() {
            [b'I', b'D', b'3', 2..=4, _, flags, size @ ..] if size.len() == 4 => {
                let size = size.iter().fold(0, |sum, &byte| sum << 7 | u64::from(byte & 0x7f));
                let footer = if flags & 0x10 == 0 { 0 } else { 10 };
                position += 10 + size + footer;
            }
            _ => break,
        }
    }
    Ok(position)
}

fn magic(head: &[u8]) -> Option<Container> {
    match head {
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..]
        | [b'R', b'F', b'6', b'4', _, _, _, _, b'W', b'A', b'V', b'E', ..]
        | [b'B', b'W', b'6', b'4', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Some(Container::Wav),
        [b'F', b'O', b'R', b'M', _, _, _, _, b'A', b'I', b'F', b'F' | b'C', ..] => Some(Container::Aiff),
        [b'f', b'L', b'a', b'C', ..] => Some(Container::Flac),
        [b'O', b'g', b'g', b'S', ..] => Some(Container::Ogg),
        [0x1a, 0x45, 0xdf, 0xa3, ..] => Some(Container::Matroska),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => Some(Container::Mp4),
        _ => None,
    }
}

/// Finds a run of MPEG layer III or ADTS frames; `whole` says that nothing comes after `head`.
fn bare_frames(head: &[u8], whole: bool) -> Option<(Container, usize)> {
    (0..head.len().saturating_sub(4)).filter(|&at| head[at] == 0xff).find_map(|at| {
        let readers: [(Container, FrameHeader); 2] =
            [(Container::Mp3, mp3_frame), (Container::Adts, adts_frame)];
        readers
            .into_iter()
            .find(|&(_, header)| frames_follow(&head[at..], header, at == 0 && whole))
            .map(|(c, _)| (c, at))
    })
}

/// A frame's length in bytes and what must be the same in all frames of a stream.
type FrameHeader = fn(&[u8]) -> Option<(usize, u32)>;

/// Whether `bytes` begin with enough frames in a row; a short file may also be two frames, or end where a frame ends.
fn frames_follow(bytes: &[u8], header: FrameHeader, whole_file: bool) -> bool {
    let Some((first_len, kind)) = header(bytes) else { return false };
    let (mut at, mut frames) = (first_len, 1);
    while frames < FRAMES_IN_A_ROW {
        match bytes.get(at..).and_then(header) {
            Some((len, same)) if same == kind => at += len,
            _ => return whole_file && (frames == 2 || at == bytes.len()),
        }
        frames += 1;
    }
    true
}

/// Layer III of MPEG 1, 2 or 2.5 (ISO 11172-3, 13818-3), not in the free format.
fn mp3_frame(bytes: &[u8]) -> Option<(usize, u32)> {
    const KBITS_1: [usize; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const KBITS_2: [usize; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let word = u32::from_be_bytes(*bytes.first_chunk()?);
    let (version, bitrate, rate) = ((word >> 19) & 3, (word >> 12) as usize & 15, (word >> 10) as usize & 3);
    if word >> 21 != 0x7ff || (word >> 17) & 3 != 1 || version == 1 || bitrate == 0 {
        return None;
    }
    let rate = *[44_100, 48_000, 32_000].get(rate)? >> [2, 0, 1, 0][version as usize];
    let (kbits, samples) = if version == 3 { (KBITS_1, 1152) } else { (KBITS_2, 576) };
    let padding = (word >> 9) as usize & 1;
    // Version, layer and rate stay; the rest of the header may change from frame to frame.
    Some((samples / 8 * 1000 * kbits.get(bitrate - 1)? / rate + padding, word & 0xfffe_0c00))
}

/// AAC with an ADTS header (ISO 13818-7).
fn adts_frame(bytes: &[u8]) -> Option<(usize, u32)> {
    let word = u32::from_be_bytes(*bytes.first_chunk()?);
    let len = (u32::from_be_bytes(*bytes.get(2..)?.first_chunk()?) >> 5 & 0x1fff) as usize;
    let rate = word >> 10 & 15;
    // Sync word, layer, profile, rate and channels stay.
    let plausible = word & 0xfff6_0000 == 0xfff0_0000 && rate < 13 && len > 7;
    plausible.then_some((len, word & 0xffff_fdc0))
}

/// What the bytes are instead, as far as it helps whoever sent them.
fn describe(head: &[u8]) -> String {
    let start = &head[..head.len().min(8)];
    if start.is_empty() {
        return "it ends where its tags say that the audio begins".into();
    }
    if start.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        return format!("it begins with the text {:?}", String::from_utf8_lossy(start));
    }
    let hex: Vec<String> = start.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("it begins with the bytes {}", hex.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    fn container(bytes: &[u8]) -> Option<Container> {
        sniff(&mut Cursor::new(bytes), bytes.len() as u64).ok().map(|sniffed| sniffed.container)
    }

    /// MPEG 1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes.
    fn mp3_frames(count: usize) -> Vec<u8> {
        let frame: Vec<u8> = [0xff, 0xfb, 0x90, 0x00].into_iter().chain([0; 413]).collect();
        frame.repeat(count)
    }

    #[test]
    fn a_magic_number_decides() {
        assert_eq!(container(b"RIFF\0\0\0\0WAVEfmt "), Some(Container::Wav));
        assert_eq!(container(b"RIFF\0\0\0\0AVI LIST"), None);
        assert_eq!(container(b"OggS\0"), Some(Container::Ogg));
        assert_eq!(container(b"\0\0\0\x20ftypM4A "), Some(Container::Mp4));
    }

    #[test]
    fn one_sync_word_is_not_audio_yet() {
        let mut noise = vec![0x55; 5_000];
        noise[100..104].copy_from_slice(&[0xff, 0xfb, 0x90, 0x00]);
        assert_eq!(container(&noise), None);
        assert_eq!(container(&mp3_frames(1)[..300]), None);
    }

    #[test]
    fn frames_in_a_row_are_audio_even_after_tags_and_junk() {
        let tag = [b"ID3\x04\0\0\0\0\x01\x00".as_slice(), &[0xff; 128]].concat();
        let file = [tag.as_slice(), b"junk", &mp3_frames(4)].concat();
        let sniffed = sniff(&mut Cursor::new(&file), file.len() as u64).unwrap();
        assert_eq!(sniffed, Sniffed { container: Container::Mp3, start: 138 + 4 });
    }

    #[test]
    fn a_file_of_a_single_frame_is_audio() {
        assert_eq!(container(&mp3_frames(1)), Some(Container::Mp3));
    }

    #[test]
    fn the_message_says_what_the_file_is_instead() {
        let error = sniff(&mut Cursor::new(b"\x89PNG\r\n\x1a\n...."), 12).unwrap_err().to_string();
        assert!(error.contains("89 50 4e 47"), "{error}");
        let error = sniff(&mut Cursor::new(b"hello world"), 11).unwrap_err().to_string();
        assert!(error.contains("hello wo"), "{error}");
        let tag = b"ID3\x04\0\0\0\0\x01\x00 cut";
        let error = sniff(&mut Cursor::new(tag), tag.len() as u64).unwrap_err().to_string();
        assert!(error.contains("ends where its tags"), "{error}");
    }

    proptest! {
        /// Fails when a sync word alone counts as audio: 4 KiB of noise hold one about every second time.
        #[test]
        fn noise_is_not_audio(seed in any::<u64>()) {
            let mut state = seed | 1;
            let noise: Vec<u8> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            }).take(4_096).collect();
            prop_assert_eq!(container(&noise), None);
        }
    }
}
