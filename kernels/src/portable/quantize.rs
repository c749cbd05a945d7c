//! Activations to int8 by groups of 64, to the bit as scalar does it.

use hardtack_format::encoding::GROUP_COLUMNS;
use wide::{f32x8, i32x8};

use super::memory::to_bits;
use crate::activations::ActivationsMut;
use crate::math::{ACTIVATION_MIN, ROUNDER};
use crate::scalar;

pub(super) fn quantize(out: ActivationsMut<'_>) {
    out.check();
    let (groups, tail) = out.floats.as_chunks();
    let (codes, tail_codes) = out.codes.split_at_mut(groups.len() * GROUP_COLUMNS);
    let (scales, tail_scales) = out.scales.split_at_mut(groups.len());
    let (sums, tail_sums) = out.sums.split_at_mut(groups.len());
    let all_codes = codes.as_chunks_mut().0;
    for (((floats, codes), scale), sum) in groups.iter().zip(all_codes).zip(scales).zip(sums) {
        (*scale, *sum) = quantize_group(floats, codes);
    }
    (scalar::TABLE.quantize)(ActivationsMut {
        floats: tail,
        codes: tail_codes,
        scales: tail_scales,
        sums: tail_sums,
    });
}

/// Scale and sum of a group, its codes written.
fn quantize_group(floats: &[f32; GROUP_COLUMNS], codes: &mut [i8; GROUP_COLUMNS]) -> (f32, f32) {
    let (vectors, _) = floats.as_chunks();
    let mut largest = f32x8::ZERO;
    for vector in vectors {
        largest = largest.fast_max(f32x8::new(*vector).abs());
    }
    let largest = (scalar::TABLE.maximum)(&largest.to_array());
    let (scale, inverse) =
        if largest < ACTIVATION_MIN { (0.0, 0.0) } else { (largest / 127.0, 127.0 / largest) };

    let mut sum = i32x8::ZERO;
    for (vector, codes) in vectors.iter().zip(codes.as_chunks_mut::<8>().0) {
        // What `math::round` does, except that the integer is taken from the lowest bits of what
        // was rounded.
        let rounded = f32x8::new(*vector) * f32x8::splat(inverse) + f32x8::splat(ROUNDER);
        let integers = to_bits(rounded) - i32x8::splat(ROUNDER.to_bits().cast_signed());
        sum += integers;
        *codes = integers.to_array().map(|integer| integer as i8);
    }
    (scale, sum.reduce_add() as f32 * scale)
}
