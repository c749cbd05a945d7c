//! GGUF's K layouts: 256 elements under one f16 scale, in parts of 16 or 32 that have small scales
//! of their own.
//!
//! Where a layout splits an element into planes of bits, a plane of `w`-bit fields puts element `j`
//! of its run into byte `j % stride`, at bit `w * (j / stride)`: neighbours lie in neighbouring
//! bytes, not in one byte.

use super::bytes::{half_at, u32_at};

/// part scales 16 x (4-bit scale, 4-bit minimum) | 2-bit fields [2 runs of 128, stride 32] | scale
/// f16 | minimum f16; parts of 16: value = scale * part scale * field - minimum * part minimum.
pub(super) fn q2_k(block: &[u8; 84], numbers: &mut [f32; 256]) {
    let (parts, fields) = (&block[..16], &block[16..80]);
    let (scale, minimum) = (half_at(block, 80), half_at(block, 82));
    for (j, number) in numbers.iter_mut().enumerate() {
        let part = parts[j / 16];
        let part_scale = scale * f32::from(part & 15);
        let part_minimum = minimum * f32::from(part >> 4);
        *number = part_scale * f32::from(two_bits(fields, j)) - part_minimum;
    }
}

/// third bits [1 run of 256, stride 32] | 2-bit fields as in Q2_K | 16 part scales of 6 bits in 12
/// bytes | scale f16; parts of 16: value = scale * (part scale - 32) * (three bits - 4).
///
/// Part scale `s`: its low four bits are a 4-bit field of bytes 0..8 (stride 8), its high two a
/// 2-bit field of bytes 8..12 (stride 4).
pub(super) fn q3_k(block: &[u8; 110], numbers: &mut [f32; 256]) {
    let (third_bits, fields, parts) = (&block[..32], &block[32..96], &block[96..108]);
    let scale = half_at(block, 108);
    for (j, number) in numbers.iter_mut().enumerate() {
        let part = j / 16;
        let low = parts[part % 8] >> (4 * (part / 8)) & 15;
        let high = parts[8 + part % 4] >> (2 * (part / 4)) & 3;
        let part_scale = scale * (i32::from(low | high << 4) - 32) as f32;
        let three_bits = two_bits(fields, j) | (third_bits[j % 32] >> (j / 32) & 1) << 2;
        *number = part_scale * (i32::from(three_bits) - 4) as f32;
    }
}

/// scale f16 | minimum f16 | 8 part scales and minima of 6 bits in 12 bytes | nibbles [4 runs of
/// 64, stride 32]; parts of 32: value = scale * part scale * nibble - minimum * part minimum.
pub(super) fn q4_k(block: &[u8; 144], numbers: &mut [f32; 256]) {
    let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
    let (parts, nibbles) = (&block[4..16], &block[16..]);
    for (j, number) in numbers.iter_mut().enumerate() {
        let (part_scale, part_minimum) = scale_and_minimum(parts, j / 32);
        let nibble = nibble(nibbles, j, 32);
        *number = scale * part_scale * f32::from(nibble) - minimum * part_minimum;
    }
}

/// scale f16 | minimum f16 | part scales and minima as in Q4_K | fifth bits [1 run of 256, stride
/// 32] | nibbles as in Q4_K; parts of 32: value = scale * part scale * five bits - minimum * part
/// minimum.
pub(super) fn q5_k(block: &[u8; 176], numbers: &mut [f32; 256]) {
    let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
    let (parts, fifth_bits, nibbles) = (&block[4..16], &block[16..48], &block[48..]);
    for (j, number) in numbers.iter_mut().enumerate() {
        let (part_scale, part_minimum) = scale_and_minimum(parts, j / 32);
        let five_bits = nibble(nibbles, j, 32) | (fifth_bits[j % 32] >> (j / 32) & 1) << 4;
        *number = scale * part_scale * f32::from(five_bits) - minimum * part_minimum;
    }
}

/// nibbles [2 runs of 128, stride 64] | high bits, 2-bit fields [2 runs of 128, stride 32] | 16
/// signed part scales | scale f16; parts of 16: value = scale * part scale * (six bits - 32).
pub(super) fn q6_k(block: &[u8; 210], numbers: &mut [f32; 256]) {
    let (nibbles, high_bits, parts) = (&block[..128], &block[128..192], &block[192..208]);
    let scale = half_at(block, 208);
    for (j, number) in numbers.iter_mut().enumerate() {
        let part_scale = scale * f32::from(parts[j / 16].cast_signed());
        let six_bits = nibble(nibbles, j, 64) | two_bits(high_bits, j) << 4;
        *number = part_scale * (i32::from(six_bits) - 32) as f32;
    }
}

/// scale f32 | 256 signed bytes | their sums, which speed up products and say nothing new;
/// value = scale * byte.
pub(super) fn q8_k(block: &[u8; 292], numbers: &mut [f32; 256]) {
    let scale = f32::from_bits(u32_at(block, 0));
    for (number, &byte) in numbers.iter_mut().zip(&block[4..]) {
        *number = scale * f32::from(byte.cast_signed());
    }
}

/// Element `j` of 2-bit fields in runs of 128 with stride 32.
pub(super) fn two_bits(fields: &[u8], j: usize) -> u8 {
    fields[32 * (j / 128) + j % 32] >> (2 * (j % 128 / 32)) & 3
}

/// Element `j` of 4-bit fields in runs of `2 * stride`.
fn nibble(nibbles: &[u8], j: usize, stride: usize) -> u8 {
    nibbles[stride * (j / (2 * stride)) + j % stride] >> (4 * (j / stride % 2)) & 15
}

/// The scale and minimum of one of the 8 parts of Q4_K and Q5_K, 6 bits each.
///
/// Bytes 0..4 hold scales 0..4 and bytes 4..8 minima 0..4 in their low six bits. Bytes 8..12 hold
/// the low four bits of scales (low nibble) and minima (high nibble) 4..8, whose top two bits are
/// the top bits of bytes 0..4 and 4..8.
fn scale_and_minimum(parts: &[u8], part: usize) -> (f32, f32) {
    let place = part % 4;
    let (scale, minimum) = (parts[place], parts[place + 4]);
    let (scale, minimum) = if part < 4 {
        (scale & 63, minimum & 63)
    } else {
        let low = parts[place + 8];
        (low & 15 | scale >> 6 << 4, low >> 4 | minimum >> 6 << 4)
    };
    (f32::from(scale), f32::from(minimum))
}
