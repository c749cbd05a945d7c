//! GGUF's first block layouts: 32 elements that share one scale, and in the `_1` kinds one minimum.
//!
//! Nibbles: byte `i` of the 16 holds element `i` (low) and element `i + 16` (high).
//! Fifth bits: bit `i` of a little-endian u32 belongs to element `i`.

use super::bytes::half_at;

/// scale f16 | 16 bytes of nibbles; value = scale * (nibble - 8).
pub(super) fn q4_0(block: &[u8; 18], numbers: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    for (i, number) in numbers.iter_mut().enumerate() {
        *number = scale * (i32::from(nibble(&block[2..], i)) - 8) as f32;
    }
}

/// scale f16 | minimum f16 | 16 bytes of nibbles; value = scale * nibble + minimum.
pub(super) fn q4_1(block: &[u8; 20], numbers: &mut [f32; 32]) {
    let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
    for (i, number) in numbers.iter_mut().enumerate() {
        *number = scale * f32::from(nibble(&block[4..], i)) + minimum;
    }
}

/// scale f16 | fifth bits u32 | 16 bytes of nibbles; value = scale * (five bits - 16).
pub(super) fn q5_0(block: &[u8; 22], numbers: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    for (i, number) in numbers.iter_mut().enumerate() {
        let five_bits = nibble(&block[6..], i) | fifth_bit(&block[2..], i) << 4;
        *number = scale * (i32::from(five_bits) - 16) as f32;
    }
}

/// scale f16 | minimum f16 | fifth bits u32 | 16 bytes of nibbles; value = scale * five bits +
/// minimum.
pub(super) fn q5_1(block: &[u8; 24], numbers: &mut [f32; 32]) {
    let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
    for (i, number) in numbers.iter_mut().enumerate() {
        let five_bits = nibble(&block[8..], i) | fifth_bit(&block[4..], i) << 4;
        *number = scale * f32::from(five_bits) + minimum;
    }
}

/// scale f16 | 32 signed bytes; value = scale * byte.
pub(super) fn q8_0(block: &[u8; 34], numbers: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    for (number, &byte) in numbers.iter_mut().zip(&block[2..]) {
        *number = scale * f32::from(byte.cast_signed());
    }
}

/// scale f16 | scale * sum of the bytes, which says nothing new | 32 signed bytes; value = scale *
/// byte.
pub(super) fn q8_1(block: &[u8; 36], numbers: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    for (number, &byte) in numbers.iter_mut().zip(&block[4..]) {
        *number = scale * f32::from(byte.cast_signed());
    }
}

fn nibble(bytes: &[u8], i: usize) -> u8 {
    bytes[i % 16] >> (4 * (i / 16)) & 15
}

fn fifth_bit(bytes: &[u8], i: usize) -> u8 {
    bytes[i / 8] >> (i % 8) & 1
}
