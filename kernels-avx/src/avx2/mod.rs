//! The AVX2 tier. Kernels are safe functions with target features, and become plain function
//! pointers only inside a function with the same features: the one that builds their table. So a
//! table in hand is the proof that its entries may be called.

#![allow(
    clippy::needless_range_loop,
    reason = "one number indexes several arrays: row halves, tokens, chains"
)]

mod attention;
pub(crate) mod codes;
mod codes_q8;
mod elementwise;
mod exp;
mod floats;
pub(crate) mod memory;
pub(crate) mod nested;
pub(crate) mod nested_many;
mod quantize;
mod sums;
mod transposed;
pub(crate) mod unpack;
mod widen;

use hardtack_kernels::{KernelTable, portable};

use crate::panels::panels;

/// The table of the tier, for a processor that has its features.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) const fn table() -> KernelTable {
    KernelTable {
        name: "avx2",
        panels: [f32, f16, bf16, q1, q2, q3, q4, q5, q6, codes_q8::q8],
        streams: 2,
        quantize: quantize::quantize,
        sum_squares: sums::sum_squares,
        scale_gain: elementwise::scale_gain,
        dot: sums::dot,
        dot_f16: sums::dot_f16,
        add_scaled: elementwise::add_scaled,
        add_scaled_f16: elementwise::add_scaled_f16,
        score_f16: attention::score_f16,
        gather_f16: attention::gather_f16,
        prefetch: nested::prefetch,
        fold: nested::fold,
        code_rows: nested_many::code_rows,
        code_columns: portable::TABLE.code_columns,
        exp_sum: exp::exp_sum,
        maximum: sums::maximum,
        silu_multiply: exp::silu_multiply,
        clamped_swiglu: exp::clamped_swiglu,
    }
}

panels! { "avx2,fma,f16c":
    f32 = floats::panel(|bytes| widen::f32(bytes));
    f16 = floats::panel(|bytes| widen::f16(bytes));
    bf16 = floats::panel(|bytes| widen::bf16(bytes));
    q1 = codes::panel(|tile, vector, half| unpack::q1(tile, vector, half));
    q2 = codes::panel(|tile, vector, half| unpack::q2(tile, vector, half));
    q3 = codes::panel(|tile, vector, half| unpack::q3(tile, vector, half));
    q4 = codes::panel(|tile, vector, half| unpack::q4(tile, vector, half));
    q5 = codes::panel(|tile, vector, half| unpack::q5(tile, vector, half));
    q6 = codes::panel(|tile, vector, half| unpack::q6(tile, vector, half));
}
