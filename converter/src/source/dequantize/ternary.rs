//! GGUF's layouts of one, two and three values: a sign, a trit, or two bits under one scale.

use super::bytes::half_at;
use super::k_quants::two_bits;

/// scale f16 | 128 bits, element `i` at bit `i % 8` of byte `i / 8`; value = scale where it is set,
/// else -scale.
pub(super) fn q1_0(block: &[u8; 18], numbers: &mut [f32; 128]) {
    let scale = half_at(block, 0);
    for (i, number) in numbers.iter_mut().enumerate() {
        *number = if block[2 + i / 8] >> (i % 8) & 1 == 1 { scale } else { -scale };
    }
}

/// scale f16 | 64 fields of 2 bits, four to a byte, the low one first; value = scale * (field - 1).
pub(super) fn q2_0(block: &[u8; 18], numbers: &mut [f32; 64]) {
    let scale = half_at(block, 0);
    for (i, number) in numbers.iter_mut().enumerate() {
        *number = scale * (f32::from(block[2 + i / 4] >> (2 * (i % 4)) & 3) - 1.0);
    }
}

/// 48 bytes of five trits | 4 bytes of four | scale f16; value = scale * (trit - 1).
///
/// A byte is a fraction of 256 in base 3: its first trit is the whole part of three times it. Trit
/// `n` of the first 32 bytes belongs to elements `32 n` on, of the next 16 to `160 + 16 n` on, and
/// of the last four to `240 + 4 n` on.
pub(super) fn tq1_0(block: &[u8; 54], numbers: &mut [f32; 256]) {
    const POWERS: [u8; 5] = [1, 3, 9, 27, 81];
    let scale = half_at(block, 52);
    for (i, number) in numbers.iter_mut().enumerate() {
        let (byte, place) = match i {
            0..160 => (i % 32, i / 32),
            160..240 => (32 + (i - 160) % 16, (i - 160) / 16),
            _ => (48 + (i - 240) % 4, (i - 240) / 4),
        };
        let rest = block[byte].wrapping_mul(POWERS[place]);
        let trit = (u16::from(rest) * 3) >> 8;
        *number = scale * (f32::from(trit) - 1.0);
    }
}

/// 2-bit fields as in Q2_K | scale f16; value = scale * (field - 1).
pub(super) fn tq2_0(block: &[u8; 66], numbers: &mut [f32; 256]) {
    let scale = half_at(block, 64);
    for (i, number) in numbers.iter_mut().enumerate() {
        *number = scale * (f32::from(two_bits(&block[..64], i)) - 1.0);
    }
}
