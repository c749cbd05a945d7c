//! Eight-bit floats (OCP 8-bit Floating Point Specification 1.0; the FNUZ variants are Graphcore's
//! and AMD's).

/// Four bits of exponent (bias 7), three of mantissa; no infinity, and all ones is NaN.
pub(in super::super) fn e4m3(code: u8) -> f32 {
    if code & 0x7f == 0x7f { f32::NAN } else { sign_exponent_mantissa(code, 3, 7) }
}

/// Five bits of exponent, two of mantissa: the upper half of a half-precision float.
pub(in super::super) fn e5m2(code: u8) -> f32 {
    half::f16::from_bits(u16::from(code) << 8).to_f32()
}

/// As [`e4m3`] with bias 8; the sign alone is NaN.
pub(in super::super) fn e4m3_fnuz(code: u8) -> f32 {
    if code == 0x80 { f32::NAN } else { sign_exponent_mantissa(code, 3, 8) }
}

/// As [`e5m2`] with bias 16 and no infinities; the sign alone is NaN.
pub(in super::super) fn e5m2_fnuz(code: u8) -> f32 {
    if code == 0x80 { f32::NAN } else { sign_exponent_mantissa(code, 2, 16) }
}

/// A float with subnormal numbers and without special codes; every one is exact in f32.
fn sign_exponent_mantissa(code: u8, mantissa_bits: u8, bias: i32) -> f32 {
    let one = 1u8 << mantissa_bits;
    let (exponent, mantissa) = ((code & 0x7f) >> mantissa_bits, code & (one - 1));
    let (whole, exponent) =
        if exponent == 0 { (mantissa, 1) } else { (one | mantissa, i32::from(exponent)) };
    let magnitude = f32::from(whole) * 2f32.powi(exponent - bias - i32::from(mantissa_bits));
    if code & 0x80 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from the tables of the specification, and of the FNUZ variants.
    #[test]
    fn codes_mean_what_the_specification_says() {
        for (code, value) in
            [(0x00, 0.0), (0x01, 0.001953125), (0x07, 0.013671875), (0x08, 0.015625), (0x38, 1.0)]
        {
            assert_eq!(e4m3(code), value);
            assert_eq!(e4m3(code | 0x80), -value);
        }
        assert_eq!(e4m3(0x7e), 448.0);
        assert!(e4m3(0x7f).is_nan() && e4m3(0xff).is_nan());
        assert_eq!(
            (e5m2(0x01), e5m2(0x3c), e5m2(0x7b), e5m2(0xfb)),
            (2f32.powi(-16), 1.0, 57344.0, -57344.0)
        );
        assert!(e5m2(0x7c).is_infinite() && e5m2(0x7d).is_nan());
        assert_eq!((e4m3_fnuz(0x01), e4m3_fnuz(0x40), e4m3_fnuz(0x7f)), (0.0009765625, 1.0, 240.0));
        assert_eq!(
            (e5m2_fnuz(0x01), e5m2_fnuz(0x40), e5m2_fnuz(0x7f)),
            (2f32.powi(-17), 1.0, 57344.0)
        );
        assert!(e4m3_fnuz(0x80).is_nan() && e5m2_fnuz(0x80).is_nan());
    }
}
