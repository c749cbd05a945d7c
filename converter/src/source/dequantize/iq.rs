//! GGUF's IQ layouts with codebooks: 256 elements, eight (or four) of which are one point of a
//! codebook, times a scale.
//!
//! Where signs are apart from the point, a byte holds those of eight elements, a set bit for a
//! minus. Seven stored signs mean eight: the last one makes the number of minuses even.

use super::bytes::{half_at, u16_at, u32_at};
use super::codebooks;

/// Steps of the codebooks' coordinates. No point has the last field of a list that ends in 0.
const IQ1_VALUES: [f32; 4] = [-1.0, 0.0, 1.0, 0.0];
const IQ2_VALUES: [f32; 4] = [8.0, 25.0, 43.0, 0.0];
const IQ3_XXS_VALUES: [f32; 8] = [4.0, 12.0, 20.0, 28.0, 36.0, 44.0, 52.0, 62.0];
const IQ3_S_VALUES: [f32; 8] = [1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0];
/// What IQ1's elements are moved by, either way.
const IQ1_DELTA: f32 = 0.125;

/// scale f16 | 8 times: 4 points of 8 bits, u32 of four times 7 signs and a part scale in the top 4
/// bits; parts of 32: value = scale * (part scale + 1/2) / 4 * point.
pub(super) fn iq2_xxs(block: &[u8; 66], numbers: &mut [f32; 256]) {
    let scale = half_at(block, 0);
    for (j, eight) in numbers.as_chunks_mut().0.iter_mut().enumerate() {
        let (part, k) = (j / 4, j % 4);
        let points = 2 + 8 * part;
        let word = u32_at(block, points + 4);
        let point = codebooks::IQ2_XXS[usize::from(block[points + k])];
        let part_scale = scale * (0.5 + (word >> 28) as f32) * 0.25;
        signed(eight, part_scale, two_bits(point, IQ2_VALUES), seven_signs(word >> (7 * k)));
    }
}

/// scale f16 | 32 times: u16 of a 9-bit point and 7 signs above it | 16 part scales of 4 bits;
/// parts of 16: value = scale * (part scale + 1/2) / 4 * point.
pub(super) fn iq2_xs(block: &[u8; 74], numbers: &mut [f32; 256]) {
    let (scale, parts) = (half_at(block, 0), &block[66..]);
    for (j, eight) in numbers.as_chunks_mut().0.iter_mut().enumerate() {
        let word = u16_at(block, 2 + 2 * j);
        let point = codebooks::IQ2_XS[usize::from(word & 511)];
        let part_scale = scale * (0.5 + nibble(parts, j / 2)) * 0.25;
        signed(eight, part_scale, two_bits(point, IQ2_VALUES), seven_signs(u32::from(word >> 9)));
    }
}

/// scale f16 | low 8 bits of 32 points | 32 bytes of signs | high 2 bits of the points | part
/// scales as in IQ2_XS; parts of 16: value = scale * (part scale + 1/2) / 4 * point.
pub(super) fn iq2_s(block: &[u8; 82], numbers: &mut [f32; 256]) {
    let scale = half_at(block, 0);
    let (low, signs, high, parts) = (&block[2..34], &block[34..66], &block[66..74], &block[74..]);
    for (j, eight) in numbers.as_chunks_mut().0.iter_mut().enumerate() {
        let point = usize::from(low[j]) | usize::from(high[j / 4] >> (2 * (j % 4)) & 3) << 8;
        let part_scale = scale * (0.5 + nibble(parts, j / 2)) * 0.25;
        signed(eight, part_scale, two_bits(codebooks::IQ2_S[point], IQ2_VALUES), signs[j]);
    }
}

/// scale f16 | 64 points of 8 bits | 8 times: u32 of four times 7 signs and a part scale in the top
/// 4 bits; parts of 32: value = scale * (part scale + 1/2) / 2 * point.
pub(super) fn iq3_xxs(block: &[u8; 98], numbers: &mut [f32; 256]) {
    let scale = half_at(block, 0);
    for (j, eight) in numbers.as_chunks_mut().0.iter_mut().enumerate() {
        let word = u32_at(block, 66 + 4 * (j / 4));
        let points = [0, 1].map(|half| codebooks::IQ3_XXS[usize::from(block[2 + 2 * j + half])]);
        let part_scale = scale * (0.5 + (word >> 28) as f32) * 0.5;
        signed(
            eight,
            part_scale,
            three_bits(points, IQ3_XXS_VALUES),
            seven_signs(word >> (7 * (j % 4))),
        );
    }
}

/// scale f16 | low 8 bits of 64 points | ninth bits of the points | 32 bytes of signs | 8 part
/// scales of 4 bits; parts of 32: value = scale * (2 * part scale + 1) * point.
pub(super) fn iq3_s(block: &[u8; 110], numbers: &mut [f32; 256]) {
    let scale = half_at(block, 0);
    let (low, ninth, signs, parts) =
        (&block[2..66], &block[66..74], &block[74..106], &block[106..]);
    for (j, eight) in numbers.as_chunks_mut().0.iter_mut().enumerate() {
        let points = [2 * j, 2 * j + 1].map(|place| {
            let point =
                usize::from(low[place]) | usize::from(ninth[place / 8] >> (place % 8) & 1) << 8;
            codebooks::IQ3_S[point]
        });
        let part_scale = scale * (2.0 * nibble(parts, j / 4) + 1.0);
        signed(eight, part_scale, three_bits(points, IQ3_S_VALUES), signs[j]);
    }
}

/// scale f16 | low 8 bits of 32 points | 8 times: u16 of the high 3 bits of four points, a part
/// scale of 3 bits, and the sign of delta; parts of 32:
/// value = scale * (2 * part scale + 1) * (point +- 1/8).
pub(super) fn iq1_s(block: &[u8; 50], numbers: &mut [f32; 256]) {
    let (scale, low) = (half_at(block, 0), &block[2..34]);
    for (j, eight) in numbers.as_chunks_mut().0.iter_mut().enumerate() {
        let word = u16_at(block, 34 + 2 * (j / 4));
        let point = usize::from(low[j]) | usize::from(word >> (3 * (j % 4)) & 7) << 8;
        let part_scale = scale * (2.0 * f32::from(word >> 12 & 7) + 1.0);
        moved(eight, part_scale, point, word & 0x8000 != 0);
    }
}

/// low 8 bits of 32 points | 32 nibbles of the high 3 bits and the sign of delta | 4 times: u16 of
/// four part scales of 3 bits, and 4 bits of the scale (f16, low bits first); parts of 16:
/// value = scale * (2 * part scale + 1) * (point +- 1/8).
pub(super) fn iq1_m(block: &[u8; 56], numbers: &mut [f32; 256]) {
    let (low, high) = (&block[..32], &block[32..48]);
    let word = |place: usize| u16_at(block, 48 + 2 * place);
    let scale = (0..4).fold(0, |bits, place| bits | word(place) >> 12 << (4 * place));
    let scale = half::f16::from_bits(scale).to_f32();
    for (j, eight) in numbers.as_chunks_mut().0.iter_mut().enumerate() {
        let nibble = high[j / 2] >> (4 * (j % 2)) & 15;
        let point = usize::from(low[j]) | usize::from(nibble & 7) << 8;
        let part = j / 2;
        let part_scale = scale * (2.0 * f32::from(word(part / 4) >> (3 * (part % 4)) & 7) + 1.0);
        moved(eight, part_scale, point, nibble & 8 != 0);
    }
}

fn signed(eight: &mut [f32; 8], scale: f32, point: [f32; 8], signs: u8) {
    for (k, (number, coordinate)) in eight.iter_mut().zip(point).enumerate() {
        let sign = if signs >> k & 1 == 0 { 1.0 } else { -1.0 };
        *number = scale * coordinate * sign;
    }
}

/// IQ1's elements, moved by delta.
fn moved(eight: &mut [f32; 8], scale: f32, point: usize, is_down: bool) {
    let delta = if is_down { -IQ1_DELTA } else { IQ1_DELTA };
    let point = two_bits(codebooks::IQ1[point], IQ1_VALUES);
    for (number, coordinate) in eight.iter_mut().zip(point) {
        *number = scale * (coordinate + delta);
    }
}

fn seven_signs(signs: u32) -> u8 {
    let signs = (signs & 127) as u8;
    signs | (signs.count_ones() as u8 & 1) << 7
}

/// The eight coordinates of a point.
fn two_bits(point: u16, values: [f32; 4]) -> [f32; 8] {
    std::array::from_fn(|k| values[usize::from(point >> (2 * k) & 3)])
}

/// The coordinates of two points of four.
fn three_bits(points: [u16; 2], values: [f32; 8]) -> [f32; 8] {
    std::array::from_fn(|k| values[usize::from(points[k / 4] >> (3 * (k % 4)) & 7)])
}

/// Number `place` of a list of nibbles, the low one of a byte first.
fn nibble(list: &[u8], place: usize) -> f32 {
    f32::from(list[place / 2] >> (4 * (place % 2)) & 15)
}
