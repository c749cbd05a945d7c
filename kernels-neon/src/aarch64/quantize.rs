//! Quantizes activations to int8 by groups of 64, equal to scalar to the bit.

use std::arch::aarch64::*;

use hardtack_format::encoding::GROUP_COLUMNS;
use hardtack_kernels::math::ACTIVATION_MIN;
use hardtack_kernels::{ActivationsMut, scalar};

use super::codes::REGISTER_BYTES;
use super::lanes::{load, store_codes};

/// As [`hardtack_kernels::KernelTable::quantize`] says.
#[target_feature(enable = "neon")]
pub(super) fn quantize(out: ActivationsMut<'_>) {
    out.check();
    let (whole, rest) = out.floats.as_chunks::<GROUP_COLUMNS>();
    let (whole_codes, codes) =
        out.codes.as_chunks_mut::<GROUP_COLUMNS>().0.split_at_mut(whole.len());
    let (whole_scales, scales) = out.scales.split_at_mut(whole.len());
    let (whole_sums, sums) = out.sums.split_at_mut(whole.len());
    let outputs = whole_codes.iter_mut().zip(whole_scales.iter_mut().zip(whole_sums));
    for (values, (codes, (scale, sum))) in whole.iter().zip(outputs) {
        (*scale, *sum) = quantize_group(values, codes);
    }
    (scalar::TABLE.quantize)(ActivationsMut {
        floats: rest,
        codes: codes.as_flattened_mut(),
        scales,
        sums,
    });
}

/// Writes the codes of one whole group, and returns its scale and sum.
#[inline]
#[target_feature(enable = "neon")]
fn quantize_group(values: &[f32; GROUP_COLUMNS], codes: &mut [i8; GROUP_COLUMNS]) -> (f32, f32) {
    let fours = values.as_chunks::<4>().0;
    // Of a number and a NaN `maxnm` takes the number, as `f32::max` does.
    let mut magnitudes = [vdupq_n_f32(0.0); 4];
    for (at, four) in fours.iter().enumerate() {
        magnitudes[at % 4] = vmaxnmq_f32(magnitudes[at % 4], vabsq_f32(load(four)));
    }
    let [a, b, c, d] = magnitudes;
    let largest = vmaxnmvq_f32(vmaxnmq_f32(vmaxnmq_f32(a, b), vmaxnmq_f32(c, d)));
    let (scale, inverse) =
        if largest < ACTIVATION_MIN { (0.0, 0.0) } else { (largest / 127.0, 127.0 / largest) };

    let mut sum = vdupq_n_s32(0);
    for (four, codes) in
        fours.as_chunks::<4>().0.iter().zip(codes.as_chunks_mut::<REGISTER_BYTES>().0)
    {
        // To nearest, ties to even; NaN becomes 0.
        let [a, b, c, d] =
            four.each_ref().map(|four| vcvtnq_s32_f32(vmulq_n_f32(load(four), inverse)));
        let low = vqmovn_high_s32(vqmovn_s32(a), b);
        let high = vqmovn_high_s32(vqmovn_s32(c), d);
        let bytes = vqmovn_high_s16(vqmovn_s16(low), high);
        sum = vpadalq_s16(sum, vpaddlq_s8(bytes));
        store_codes(codes, bytes);
    }
    (scale, vaddvq_s32(sum) as f32 * scale)
}
