//! The header of a WAV stream as espeak-ng writes it: no length is known yet, so none is believed.

use crate::audio::SampleRate;

/// What comes before the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Where the samples begin.
    pub(super) len: usize,
    /// Samples per second.
    pub(super) rate: SampleRate,
}

/// More than this in front of the samples is no header.
const LONGEST: usize = 4_096;

impl Header {
    /// Reads the header at the beginning of `bytes`; `Ok(None)` while there is too little of it.
    ///
    /// # Errors
    ///
    /// A word when it is no WAV of 16-bit mono.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, &'static str> {
        if bytes.len() >= 12 && (&bytes[..4] != b"RIFF" || &bytes[8..12] != b"WAVE") {
            return Err("no WAV");
        }
        let mut at = 12;
        let mut rate = None;
        while let Some(head) = bytes.get(at..at + 8) {
            let len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
            at += 8;
            match &head[..4] {
                b"data" => {
                    let rate = rate.ok_or("no format before the samples")?;
                    return Ok(Some(Self { len: at, rate }));
                }
                b"fmt " => {
                    let Some(format) = bytes.get(at..at + 16) else { return Ok(None) };
                    rate = Some(format_rate(format)?);
                }
                _ => {}
            }
            at = at.saturating_add(len).saturating_add(len % 2);
            if at > LONGEST {
                return Err("no samples");
            }
        }
        Ok(None)
    }
}

fn format_rate(format: &[u8]) -> Result<SampleRate, &'static str> {
    let word = |at: usize| u16::from_le_bytes([format[at], format[at + 1]]);
    let rate = u32::from(word(4)) | u32::from(word(6)) << 16;
    match (word(0), word(2), word(14)) {
        (1, 1, 16) => SampleRate::new(rate).filter(|_| rate <= 192_000).ok_or("no rate"),
        _ => Err("not 16-bit mono"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What espeak-ng 1.51 writes.
    const REAL: &[u8; 44] =
        b"RIFF$\xf0\xff\x7fWAVEfmt \x10\0\0\0\x01\0\x01\0\"V\0\0D\xac\0\0\x02\0\x10\0data\0\xf0\xff\x7f";

    #[test]
    fn the_programs_own_header_is_read_when_it_is_whole() {
        for cut in 0..REAL.len() {
            assert_eq!(Header::read(&REAL[..cut]), Ok(None), "{cut} bytes");
        }
        let rate = SampleRate::new(22_050).unwrap();
        assert_eq!(Header::read(REAL), Ok(Some(Header { len: 44, rate })));
        let mut stereo = *REAL;
        stereo[22] = 2;
        assert_eq!(Header::read(&stereo), Err("not 16-bit mono"));
        assert_eq!(Header::read(b"no such thing at all"), Err("no WAV"));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_survived(at in 0_usize..44, byte: u8, rest in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut bytes = REAL.to_vec();
            bytes[at] = byte;
            bytes.extend(rest);
            if let Ok(Some(header)) = Header::read(&bytes) {
                prop_assert!(header.len <= bytes.len());
            }
        }
    }
}
