//! G.711 µ-law and A-law (ITU-T G.711) to linear samples. Decoding only: nothing here sends telephone audio.
//!
//! Both laws are piecewise linear: 3 bits choose a segment, 4 bits a step inside it, 1 bit the sign. The integers are
//! the usual 16-bit scale (the standard's 14- and 13-bit values shifted up), so that full scale is near ±32768.

/// What µ-law adds before it takes a logarithm, on the 16-bit scale.
const MU_BIAS: i16 = 0x84;

/// One µ-law byte as a sample in −1…1.
pub(super) fn mu_law(code: u8) -> f32 {
    to_unit(mu_law_linear(code))
}

/// One A-law byte as a sample in −1…1.
pub(super) fn a_law(code: u8) -> f32 {
    to_unit(a_law_linear(code))
}

fn to_unit(linear: i16) -> f32 {
    f32::from(linear) / 32_768.0
}

/// µ-law bytes travel with all bits inverted.
fn mu_law_linear(code: u8) -> i16 {
    let bits = !code;
    let (step, segment) = (i16::from(bits & 0x0f), (bits >> 4) & 0x07);
    let magnitude = (((step << 3) + MU_BIAS) << segment) - MU_BIAS;
    if bits & 0x80 == 0 { magnitude } else { -magnitude }
}

/// A-law bytes travel with every other bit inverted; a set sign bit is positive.
fn a_law_linear(code: u8) -> i16 {
    let bits = code ^ 0x55;
    let (step, segment) = (i16::from(bits & 0x0f), (bits >> 4) & 0x07);
    let magnitude = match segment {
        0 => (step << 4) + 0x08,
        _ => ((step << 4) + 0x108) << (segment - 1),
    };
    if bits & 0x80 == 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_values_decode_exactly() {
        let mu =
            [(0x00, -32_124), (0x80, 32_124), (0x0f, -16_764), (0x7f, 0), (0xff, 0), (0xfe, 8), (0xef, 132)];
        let a =
            [(0x2a, -32_256), (0xaa, 32_256), (0x55, -8), (0xd5, 8), (0xd4, 24), (0xc5, 264), (0x80, 5_504)];
        for (code, linear) in mu {
            assert_eq!(mu_law_linear(code), linear, "mu-law {code:#04x}");
        }
        for (code, linear) in a {
            assert_eq!(a_law_linear(code), linear, "A-law {code:#04x}");
        }
    }

    #[test]
    fn the_sign_bit_mirrors_every_code() {
        for code in 0..=255 {
            assert_eq!(mu_law_linear(code), -mu_law_linear(code ^ 0x80), "mu-law {code:#04x}");
            assert_eq!(a_law_linear(code), -a_law_linear(code ^ 0x80), "A-law {code:#04x}");
        }
    }

    /// Positive codes in the order of the standard's tables, quietest first.
    fn check_rises(law: &str, order: impl Iterator<Item = u8>, decode: fn(u8) -> i16) {
        let levels: Vec<i16> = order.map(decode).collect();
        assert_eq!(levels.len(), 128);
        assert!(levels.windows(2).all(|pair| pair[0] < pair[1]), "{law} does not rise: {levels:?}");
    }

    #[test]
    fn louder_codes_are_louder() {
        check_rises("mu-law", (0x80..=0xff).rev(), mu_law_linear);
        check_rises("A-law", (0x80..=0xff).map(|rank: u8| rank ^ 0x55), a_law_linear);
    }

    #[test]
    fn samples_stay_inside_the_unit_range() {
        let loudest = (0..=255).map(|code| mu_law(code).abs().max(a_law(code).abs())).fold(0.0, f32::max);
        assert!(loudest > 0.98 && loudest < 1.0, "{loudest}");
    }
}
