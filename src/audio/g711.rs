//! G.711 µ-law and A-law (ITU-T G.711) to linear samples and back.
//!
//! Both laws are piecewise linear: 3 bits choose a segment, 4 bits a step inside it, 1 bit the sign. The integers are
//! the usual 16-bit scale (the standard's 14- and 13-bit values shifted up), so that full scale is near ±32768.

/// What µ-law adds before it takes a logarithm, on the 16-bit scale.
const MU_BIAS: i16 = 0x84;

/// The loudest that µ-law can say, on the same scale.
const MU_CLIP: i32 = 32_635;

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

/// A sample in −1…1 as a µ-law byte; louder ones are clipped.
pub(super) fn to_mu_law(sample: f32) -> u8 {
    let linear = i32::from(from_unit(sample));
    let magnitude = linear.abs().min(MU_CLIP) + i32::from(MU_BIAS);
    // The bias makes bit 7 the lowest that can be the highest.
    let segment = 24 - magnitude.leading_zeros();
    let step = (magnitude >> (segment + 3)) & 0x0f;
    let sign = if linear < 0 { 0x80 } else { 0 };
    !(sign | (segment << 4) as u8 | step as u8)
}

/// A sample in −1…1 as an A-law byte; louder ones are clipped.
pub(super) fn to_a_law(sample: f32) -> u8 {
    let linear = i32::from(from_unit(sample));
    // −1 is the quietest negative value: its magnitude is 0, as that of 0.
    let magnitude = if linear < 0 { !linear } else { linear };
    let segment = (24 - magnitude.leading_zeros().min(24)).min(7);
    let step = if segment == 0 { magnitude >> 4 } else { magnitude >> (segment + 3) } & 0x0f;
    let sign = if linear < 0 { 0 } else { 0x80 };
    (sign | (segment << 4) as u8 | step as u8) ^ 0x55
}

fn from_unit(sample: f32) -> i16 {
    // The cast saturates, and takes what is no number for silence.
    (sample * 32_768.0).round() as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_the_nearest_code_there_is() {
        for (decode, encode) in [(mu_law as fn(u8) -> f32, to_mu_law as fn(f32) -> u8), (a_law, to_a_law)] {
            for code in 0..=255 {
                assert_eq!(
                    decode(encode(decode(code))).to_bits() << 1,
                    decode(code).to_bits() << 1,
                    "{code:#04x}"
                );
            }
            for linear in (-32_768..=32_767_i32).step_by(7) {
                let sample = linear as f32 / 32_768.0;
                let error = (decode(encode(sample)) - sample).abs();
                assert!(error <= sample.abs() / 32.0 + 17.0 / 32_768.0, "{linear}: off by {error}");
            }
        }
        assert_eq!((to_mu_law(9.0), to_a_law(f32::NAN)), (0x80, 0xd5));
    }

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
