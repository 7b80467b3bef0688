//! Where a container says that it ends, which is past the end of a file that broke off.
//!
//! symphonia refuses MP4 and Matroska whose outermost elements are longer than the file. Shown the length that these
//! elements promise, it reads up to the break instead.

use super::mp4::BoxHeader;
use super::sniff::Container;
use super::source::read_at;
use std::io::{Read, Result, Seek};

/// Boxes and elements looked at; a day in fragments of one second has twice 86 400.
const MAX_BOXES: usize = 1 << 18;

/// An ID that begins every Matroska file, and the one that holds everything else.
const EBML: u32 = 0x1a45_dfa3;
const SEGMENT: u32 = 0x1853_8067;

/// The end that `container`, which begins at `start` of a file of `len` bytes, promises; at least `len`.
///
/// # Errors
///
/// Only what the source itself reports.
pub(super) fn promised_end<S>(source: &mut S, container: Container, start: u64, len: u64) -> Result<u64>
where
    S: Read + Seek,
{
    let header: Header = match container {
        Container::Mp4 => mp4_box,
        Container::Matroska => matroska_element,
        _ => return Ok(len),
    };
    let mut position = start;
    for _ in 0..MAX_BOXES {
        let bytes = read_at(source, position, 16)?;
        match header(&bytes) {
            Some(size) if position < len => position = position.saturating_add(size),
            _ => break,
        }
    }
    // Beyond this the promise is not a broken file but nonsense.
    Ok(if position < 1 << 48 { position.max(len) } else { len })
}

/// How many bytes a box or element has with its header, if it says so.
type Header = fn(&[u8]) -> Option<u64>;

fn mp4_box(bytes: &[u8]) -> Option<u64> {
    BoxHeader::parse(bytes)?.size
}

/// An outermost element of RFC 8794; a size of all ones means "unknown".
fn matroska_element(bytes: &[u8]) -> Option<u64> {
    let id = u32::from_be_bytes(*bytes.first_chunk()?);
    let first = *bytes.get(4)?;
    let octets = first.leading_zeros() as usize + 1;
    let known_id = matches!(id, EBML | SEGMENT) && octets <= 8;
    let size = bytes.get(4..4 + octets).filter(|_| known_id)?;
    let all_ones = (1_u64 << (7 * octets)) - 1;
    let size = size.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)) & all_ones;
    (size != all_ones).then_some(4 + octets as u64 + size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn end(container: Container, bytes: &[u8]) -> u64 {
        promised_end(&mut Cursor::new(bytes), container, 0, bytes.len() as u64).unwrap()
    }

    #[test]
    fn boxes_are_added_up() {
        let ftyp = b"\0\0\0\x0cftypM4A ";
        assert_eq!(end(Container::Mp4, &[ftyp.as_slice(), b"\0\0\x01\0mdat"].concat()), 12 + 256);
        assert_eq!(end(Container::Mp4, &[ftyp.as_slice(), b"\0\0\0\0mdat...."].concat()), 24, "to the end");
        assert_eq!(
            end(Container::Mp4, &[ftyp.as_slice(), b"\0\0\0\x01mdat\0\0\0\0\0\x10\0\0"].concat()),
            12 + (1 << 20)
        );
        assert_eq!(
            end(
                Container::Mp4,
                &[ftyp.as_slice(), b"\0\0\0\x01mdat\xff\xff\xff\xff\xff\xff\xff\xff"].concat()
            ),
            28
        );
    }

    #[test]
    fn a_segment_may_say_its_size_or_not() {
        let ebml = [0x1a, 0x45, 0xdf, 0xa3, 0x82, 0, 0];
        let known = [&ebml[..], &[0x18, 0x53, 0x80, 0x67, 0x41, 0x00]].concat();
        assert_eq!(end(Container::Matroska, &known), 7 + 6 + 256);
        let unknown =
            [&ebml[..], &[0x18, 0x53, 0x80, 0x67, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]].concat();
        assert_eq!(end(Container::Matroska, &unknown), unknown.len() as u64);
    }

    #[test]
    fn other_containers_end_where_the_file_does() {
        assert_eq!(end(Container::Flac, b"fLaC\xff\xff\xff\xff"), 8);
    }
}
