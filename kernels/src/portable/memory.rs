//! Vectors out of little-endian bytes, and f16 widened.

use wide::{f32x8, i16x16, i32x8, u16x8};

/// The exponent of an f16 is 112 too low for a float.
const HALF_TO_FLOAT: f32 = 5.192_297e33;

pub(super) fn words(bytes: &[u8; 32]) -> i16x16 {
    let (pairs, _) = bytes.as_chunks();
    i16x16::new(core::array::from_fn(|lane| i16::from_le_bytes(pairs[lane])))
}

pub(super) fn floats(bytes: &[u8; 32]) -> f32x8 {
    let (quads, _) = bytes.as_chunks();
    f32x8::new(core::array::from_fn(|lane| f32::from_le_bytes(quads[lane])))
}

pub(super) fn half_floats(bytes: &[u8; 16]) -> f32x8 {
    let (pairs, _) = bytes.as_chunks();
    widen_f16(core::array::from_fn(|lane| u16::from_le_bytes(pairs[lane])))
}

pub(super) fn bfloats(bytes: &[u8; 16]) -> f32x8 {
    let (pairs, _) = bytes.as_chunks();
    let bits =
        i32x8::from_u16x8(u16x8::new(core::array::from_fn(|lane| u16::from_le_bytes(pairs[lane]))));
    from_bits(bits << 16)
}

/// Floats from the bits of f16: exponent and fraction move into a float's place, and a
/// multiplication that is exact for denormals too corrects the exponent.
pub(super) fn widen_f16(halves: [u16; 8]) -> f32x8 {
    let bits = i32x8::from_u16x8(u16x8::new(halves));
    let magnitude = bits & i32x8::splat(0x7fff);
    let sign = (bits ^ magnitude) << 16;
    let not_finite = magnitude.simd_gt(i32x8::splat(0x7bff)) & i32x8::splat(0x7f80_0000);
    let scaled = from_bits(magnitude << 13) * f32x8::splat(HALF_TO_FLOAT);
    scaled | from_bits(sign | not_finite)
}

pub(super) fn from_bits(bits: i32x8) -> f32x8 {
    wide::bytemuck::cast(bits)
}

pub(super) fn to_bits(floats: f32x8) -> i32x8 {
    wide::bytemuck::cast(floats)
}

#[cfg(test)]
mod tests {
    use half::f16;

    #[test]
    fn all_half_floats_are_widened() {
        for first in (0..=u16::MAX).step_by(8) {
            let halves = core::array::from_fn(|lane| first + lane as u16);
            let floats = super::widen_f16(halves).to_array();
            for (half, float) in halves.into_iter().zip(floats) {
                let expected = f16::from_bits(half).to_f32();
                assert!(
                    float.to_bits() == expected.to_bits() || (float.is_nan() && expected.is_nan()),
                    "{half:#x}"
                );
            }
        }
    }
}
