//! The AVX-512 tier: the AVX2 tier's but for its panels of codes and products with nested codes.
//! One instruction multiplies four columns of all 16 rows of a panel with their activations and
//! adds them to the rows' sums.

#![allow(clippy::needless_range_loop, reason = "one number indexes several arrays: tokens, chains")]

mod codes;
mod unpack;

use core::arch::x86_64::{
    _mm256_setzero_si256, _mm512_castsi256_si512, _mm512_castsi512_si256, _mm512_dpwssd_epi32,
    _mm512_extracti64x4_epi64, _mm512_inserti64x4, _mm512_set1_epi32, _mm512_setzero_si512,
};

use hardtack_kernels::KernelTable;
use hardtack_kernels::nested::{CodeGroup, Folded, GROUP_ROWS};

use crate::avx2::nested::input_pair;
use crate::avx2::nested_many::{self, Pair, Sums};
use crate::panels::panels;

/// The table of the tier, for a processor that has its features.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
pub(crate) const fn table() -> KernelTable {
    let avx2 = crate::avx2::table();
    let [f32, f16, bf16, ..] = avx2.panels;
    KernelTable {
        name: "avx512+vnni",
        panels: [f32, f16, bf16, q1, q2, q3, q4, q5, q6, q8],
        code_rows,
        ..avx2
    }
}

panels! { "avx2,fma,f16c,avx512f,avx512bw,avx512vnni":
    q1 = codes::panel(|tile, vector| unpack::q1(tile, vector));
    q2 = codes::panel(|tile, vector| unpack::q2(tile, vector));
    q3 = codes::panel(|tile, vector| unpack::q3(tile, vector));
    q4 = codes::panel(|tile, vector| unpack::q4(tile, vector));
    q5 = codes::panel(|tile, vector| unpack::q5(tile, vector));
    q6 = codes::panel(|tile, vector| unpack::q6(tile, vector));
    q8 = codes::panel(|tile, vector| unpack::q8(tile, vector));
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
fn code_rows(group: &CodeGroup<'_>, inputs: &[Folded], out: &mut [f32]) {
    nested_many::code_rows_by(group, inputs, out, |pairs, inputs| multiply_pairs(pairs, inputs));
}

/// Inputs of nested codes at once: as many sums as hide the latency of adding to them.
const INPUTS: usize = 8;

/// As that of the AVX2 tier, the columns of a pair in one vector.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vnni")]
fn multiply_pairs(pairs: &[Pair], inputs: &[Folded; INPUTS]) -> Sums<INPUTS> {
    let mut sums = [_mm512_setzero_si512(); INPUTS];
    for (pair, [low, high]) in pairs.iter().enumerate().take(GROUP_ROWS / 2) {
        let codes = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(*low), *high);
        for index in 0..INPUTS {
            let input = _mm512_set1_epi32(input_pair(&inputs[index], pair * 2));
            sums[index] = _mm512_dpwssd_epi32(sums[index], codes, input);
        }
    }
    // Not `map`, which lacks the features and where it is not inlined calls a function for every
    // sum.
    let mut halves = [[_mm256_setzero_si256(); 2]; INPUTS];
    for index in 0..INPUTS {
        halves[index] =
            [_mm512_castsi512_si256(sums[index]), _mm512_extracti64x4_epi64::<1>(sums[index])];
    }
    halves
}
