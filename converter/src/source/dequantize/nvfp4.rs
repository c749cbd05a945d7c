//! NVFP4 as GGUF holds it: four-bit floats in parts of 16, each under an eight-bit float.

use hardtack_models::mxfp4::VALUES;

/// 4 part scales | 4 times 8 bytes; byte `i` holds elements `i` (low nibble) and `i + 8` (high) of
/// its part. What else a tensor is scaled by is in a tensor of its own.
pub(super) fn nvfp4(block: &[u8; 36], numbers: &mut [f32; 64]) {
    for (i, number) in numbers.iter_mut().enumerate() {
        let (part, place) = (i / 16, i % 16);
        let pair = block[4 + 8 * part + place % 8];
        *number = part_scale(block[part]) * VALUES[usize::from(pair >> (4 * (place / 8)) & 15)];
    }
}

/// E4M3 without its sign, exponents counted from -7. What E4M3 has for NaN is 0, as in ggml.
fn part_scale(byte: u8) -> f32 {
    let (exponent, mantissa) = (byte >> 3 & 15, f32::from(byte & 7));
    match (byte, exponent) {
        (0x7F, _) => 0.0,
        (_, 0) => mantissa * 2f32.powi(-9),
        _ => (1.0 + mantissa / 8.0) * 2f32.powi(i32::from(exponent) - 7),
    }
}
