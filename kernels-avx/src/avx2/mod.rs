//! The table of the AVX2 tier. It is private, and `crate::avx2()` gives it out only where the
//! processor has the features, as `crate::avxvnni()` does the table made from it: that is what
//! every entry's `unsafe` call relies on.

#![allow(
    clippy::needless_range_loop,
    reason = "one number indexes several arrays: row halves, tokens, chains"
)]

mod attention;
pub(crate) mod codes;
mod elementwise;
mod exp;
mod floats;
pub(crate) mod memory;
pub(crate) mod nested;
pub(crate) mod nested_many;
mod panel_bf16;
mod panel_f16;
mod panel_f32;
mod panel_q1;
mod panel_q2;
mod panel_q3;
mod panel_q4;
mod panel_q5;
mod panel_q6;
mod panel_q8;
mod quantize;
mod sums;
mod transposed;
pub(crate) mod vnni;

use hardtack_kernels::{KernelTable, portable};

pub(crate) static TABLE: KernelTable = KernelTable {
    name: "avx2",
    panels: [
        panel_f32::panel_f32,
        panel_f16::panel_f16,
        panel_bf16::panel_bf16,
        panel_q1::panel_q1,
        panel_q2::panel_q2,
        panel_q3::panel_q3,
        panel_q4::panel_q4,
        panel_q5::panel_q5,
        panel_q6::panel_q6,
        panel_q8::panel_q8,
    ],
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
    code_rows: nested::code_rows,
    code_columns: portable::TABLE.code_columns,
    exp_sum: exp::exp_sum,
    maximum: sums::maximum,
    silu_multiply: exp::silu_multiply,
    clamped_swiglu: exp::clamped_swiglu,
};
