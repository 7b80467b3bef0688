//! What an MP4 says about its encoder's delay, which symphonia does not tell: the edit list of each track.
//!
//! Only the delay is read. Real edits (a film that was cut without being encoded anew) are left alone: hearing too much
//! is better than losing speech.

use super::source::read_at;
use std::io::{Read, Result, Seek};
use std::ops::Range;

/// Longer than any encoder's delay; what skips more is an edit that somebody made.
const MAX_DELAY_SECONDS: u64 = 1;

/// Boxes looked at on one level.
const MAX_BOXES: usize = 4_096;

/// Silence that an encoder put before a track's first sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delay {
    pub(super) track: u32,
    ticks: u64,
    ticks_per_second: u64,
}

impl Delay {
    /// How many of the next `samples` belong to the delay, which is shorter by them afterwards.
    pub(super) fn take(&mut self, rate: u32, samples: usize) -> usize {
        let left = self.ticks * u64::from(rate) / self.ticks_per_second;
        if left <= samples as u64 {
            self.ticks = 0;
            return left as usize;
        }
        self.ticks -= (samples as u64 * self.ticks_per_second / u64::from(rate)).min(self.ticks);
        samples
    }
}

/// The delays of the tracks of the MP4 in `file`; what cannot be read counts as none.
///
/// # Errors
///
/// Only what the source itself reports.
pub(super) fn delays<S: Read + Seek>(source: &mut S, file: Range<u64>) -> Result<Vec<Delay>> {
    let mut delays = Vec::new();
    let Some(movie) = find(source, file, *b"moov")? else { return Ok(delays) };
    for (_, track) in boxes(source, movie)?.into_iter().filter(|(kind, _)| kind == b"trak") {
        delays.extend(delay(source, track)?);
    }
    Ok(delays)
}

fn delay<S: Read + Seek>(source: &mut S, track: Range<u64>) -> Result<Option<Delay>> {
    let id = payload(source, track.clone(), &[*b"tkhd"])?;
    let media = payload(source, track.clone(), &[*b"mdia", *b"mdhd"])?;
    let edits = payload(source, track, &[*b"edts", *b"elst"])?;
    let read = || {
        let (track, ticks_per_second) = (after_dates(&id)?, u64::from(after_dates(&media)?));
        let ticks = first_media_time(&edits)?;
        (ticks <= ticks_per_second * MAX_DELAY_SECONDS).then_some(Delay { track, ticks, ticks_per_second })
    };
    Ok(read().filter(|delay| delay.ticks_per_second > 0))
}

/// The number after the two dates: the id in `tkhd`, the time scale in `mdhd`.
fn after_dates(payload: &[u8]) -> Option<u32> {
    let dates = if *payload.first()? == 0 { 8 } else { 16 };
    Some(u32::from_be_bytes(*payload.get(4 + dates..)?.first_chunk()?))
}

/// Where in the media the presentation begins; an edit before it at −1 is a pause and no delay.
fn first_media_time(edits: &[u8]) -> Option<u64> {
    let wide = *edits.first()? != 0;
    edits.get(8..)?.chunks(if wide { 20 } else { 12 }).find_map(|edit| {
        let time = if wide {
            i64::from_be_bytes(*edit.get(8..)?.first_chunk()?)
        } else {
            i32::from_be_bytes(*edit.get(4..)?.first_chunk()?).into()
        };
        u64::try_from(time).ok()
    })
}

/// The beginning of the box at `path` below `parent`; empty if there is none.
fn payload<S: Read + Seek>(source: &mut S, parent: Range<u64>, path: &[[u8; 4]]) -> Result<Vec<u8>> {
    let mut range = parent;
    for &kind in path {
        let Some(inside) = find(source, range, kind)? else { return Ok(Vec::new()) };
        range = inside;
    }
    read_at(source, range.start, (range.end - range.start).min(256) as usize)
}

fn find<S: Read + Seek>(source: &mut S, parent: Range<u64>, kind: [u8; 4]) -> Result<Option<Range<u64>>> {
    Ok(boxes(source, parent)?.into_iter().find_map(|(found, inside)| (found == kind).then_some(inside)))
}

/// The boxes directly inside `parent`, with what each holds.
fn boxes<S: Read + Seek>(source: &mut S, parent: Range<u64>) -> Result<Vec<([u8; 4], Range<u64>)>> {
    let mut boxes = Vec::new();
    let mut position = parent.start;
    while position < parent.end && boxes.len() < MAX_BOXES {
        let Some(header) = BoxHeader::parse(&read_at(source, position, 16)?) else { break };
        let end = header.size.map_or(parent.end, |size| position.saturating_add(size));
        boxes.push((header.kind, (position + header.len).min(parent.end)..end.min(parent.end)));
        position = end;
    }
    Ok(boxes)
}

/// The first bytes of a box (ISO 14496-12).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BoxHeader {
    kind: [u8; 4],
    /// Bytes of the header itself.
    len: u64,
    /// Bytes of the box with its header; `None` means "to the end of the file".
    pub(super) size: Option<u64>,
}

impl BoxHeader {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let kind = *bytes.get(4..)?.first_chunk()?;
        match u32::from_be_bytes(*bytes.first_chunk()?) {
            0 => Some(Self { kind, len: 8, size: None }),
            1 => {
                let size = u64::from_be_bytes(*bytes.get(8..)?.first_chunk()?);
                (size >= 16).then_some(Self { kind, len: 16, size: Some(size) })
            }
            size => (size >= 8).then_some(Self { kind, len: 8, size: Some(size.into()) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn mp4_box(kind: &str, inside: &[&[u8]]) -> Vec<u8> {
        let inside = inside.concat();
        [&(inside.len() as u32 + 8).to_be_bytes(), kind.as_bytes(), &inside].concat()
    }

    /// Track 7 at 48 kHz whose first edits begin at these media times.
    fn movie(media_times: &[i32]) -> Vec<u8> {
        let edit = |time: &i32| [[0; 4], time.to_be_bytes(), [0, 1, 0, 0]].concat();
        let edits: Vec<u8> = media_times.iter().flat_map(edit).collect();
        let elst = mp4_box("elst", &[&[0; 4], &(media_times.len() as u32).to_be_bytes(), &edits]);
        let tkhd = mp4_box("tkhd", &[&[0; 12], &7_u32.to_be_bytes()]);
        let mdhd = mp4_box("mdhd", &[&[0; 12], &48_000_u32.to_be_bytes()]);
        let track = mp4_box("trak", &[&tkhd, &mp4_box("edts", &[&elst]), &mp4_box("mdia", &[&mdhd])]);
        [mp4_box("ftyp", &[b"M4A "]), mp4_box("moov", &[&track])].concat()
    }

    /// The delay at 24 kHz.
    fn samples(bytes: &[u8]) -> Option<usize> {
        let mut delays = delays(&mut Cursor::new(bytes), 0..bytes.len() as u64).unwrap();
        delays.first_mut().map(|delay| delay.take(24_000, usize::MAX))
    }

    #[test]
    fn a_delay_may_be_longer_than_a_packet() {
        let mut delay = Delay { track: 1, ticks: 2_112, ticks_per_second: 48_000 };
        let taken: Vec<usize> = (0..4).map(|_| delay.take(48_000, 1_024)).collect();
        assert_eq!(taken, [1_024, 1_024, 64, 0]);
    }

    #[test]
    fn the_first_edit_in_the_media_is_the_delay() {
        assert_eq!(samples(&movie(&[2_112])), Some(1_056));
        assert_eq!(samples(&movie(&[-1, 1_024])), Some(512));
        assert_eq!(samples(&movie(&[])), None);
    }

    #[test]
    fn a_cut_is_not_taken_for_a_delay() {
        assert_eq!(samples(&movie(&[48_001])), None);
    }

    #[test]
    fn a_movie_may_break_off_anywhere() {
        let whole = movie(&[2_112]);
        for len in 0..whole.len() {
            samples(&whole[..len]);
        }
    }
}
