//! GGUF's IQ4 layouts: a nibble is one of sixteen values that are closer around zero.

use super::bytes::{half_at, u16_at};

/// What a nibble means.
const VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// scale f16 | 16 bytes of nibbles, `i` in the low half of byte `i` and `i + 16` in its high half;
/// value = scale * what the nibble means.
pub(super) fn iq4_nl(block: &[u8; 18], numbers: &mut [f32; 32]) {
    nibbles(half_at(block, 0), &block[2..], numbers);
}

/// scale f16 | high 2 bits of 8 part scales | their low 4 bits | 8 times 16 bytes as in IQ4_NL;
/// parts of 32: value = scale * (part scale - 32) * what the nibble means.
pub(super) fn iq4_xs(block: &[u8; 136], numbers: &mut [f32; 256]) {
    let (scale, high) = (half_at(block, 0), u16_at(block, 2));
    for (part, numbers) in numbers.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let low = block[4 + part / 2] >> (4 * (part % 2)) & 15;
        let six_bits = i32::from(low) | i32::from(high >> (2 * part) & 3) << 4;
        nibbles(scale * (six_bits - 32) as f32, &block[8 + 16 * part..], numbers);
    }
}

fn nibbles(scale: f32, bytes: &[u8], numbers: &mut [f32; 32]) {
    for (i, number) in numbers.iter_mut().enumerate() {
        *number = scale * f32::from(VALUES[usize::from(bytes[i % 16] >> (4 * (i / 16)) & 15)]);
    }
}
