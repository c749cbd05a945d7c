//! The AVX-VNNI tier: the AVX2 tier's but for its panels of codes and products with nested codes.
//! One instruction multiplies four codes with their activations and adds them to a row's sum.
//!
//! The instruction takes codes of up to 8 bits and adds in 32: no narrow sums that could overflow.

#![allow(clippy::needless_range_loop, reason = "one number indexes several arrays: tokens, chains")]

mod codes;

use core::arch::x86_64::_mm256_dpwssd_avx_epi32;

use hardtack_kernels::KernelTable;
use hardtack_kernels::nested::{CodeGroup, Folded, GROUP_ROWS};

use crate::avx2::codes::no_sums;
use crate::avx2::nested::broadcast_pair;
use crate::avx2::nested_many::{self, Pair, Sums};
use crate::avx2::{self, unpack};
use crate::panels::panels;

/// The table of the tier, for a processor that has its features.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
pub(crate) const fn table() -> KernelTable {
    let avx2 = avx2::table();
    let [f32, f16, bf16, ..] = avx2.panels;
    KernelTable {
        name: "avx2+vnni",
        panels: [f32, f16, bf16, q1, q2, q3, q4, q5, q6, q8],
        code_rows,
        ..avx2
    }
}

panels! { "avx2,fma,f16c,avxvnni":
    q1 = codes::panel(|tile, vector, half| unpack::q1(tile, vector, half));
    q2 = codes::panel(|tile, vector, half| unpack::q2(tile, vector, half));
    q3 = codes::panel(|tile, vector, half| unpack::q3(tile, vector, half));
    q4 = codes::panel(|tile, vector, half| unpack::q4(tile, vector, half));
    q5 = codes::panel(|tile, vector, half| unpack::q5(tile, vector, half));
    q6 = codes::panel(|tile, vector, half| unpack::q6(tile, vector, half));
    q8 = codes::panel(|tile, vector, half| unpack::q8(tile, vector, half));
}

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn code_rows(group: &CodeGroup<'_>, inputs: &[Folded], out: &mut [f32]) {
    nested_many::code_rows_by(group, inputs, out, |pairs, inputs| multiply_pairs(pairs, inputs));
}

/// Inputs of nested codes at once: as many sums as hide the latency of adding to them.
const INPUTS: usize = 6;

/// As that of the AVX2 tier, by one instruction for its two.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
fn multiply_pairs(pairs: &[Pair], inputs: &[Folded; INPUTS]) -> Sums<INPUTS> {
    let mut sums = no_sums();
    for (pair, codes) in pairs.iter().enumerate().take(GROUP_ROWS / 2) {
        for index in 0..INPUTS {
            let input = broadcast_pair(&inputs[index], pair * 2);
            for half in 0..2 {
                sums[index][half] = _mm256_dpwssd_avx_epi32(sums[index][half], codes[half], input);
            }
        }
    }
    sums
}
