//! The portable tier: vectors by `wide`, on every processor.

#![allow(
    clippy::needless_range_loop,
    reason = "one number indexes several arrays: row halves, tokens, chains"
)]

mod codes;
mod exp;
mod floats;
mod memory;
mod nested;
mod quantize;
mod vectors;

use crate::table::KernelTable;

/// The portable tier.
pub static TABLE: KernelTable = KernelTable {
    name: "portable",
    panels: [
        floats::panel_f32,
        floats::panel_f16,
        floats::panel_bf16,
        codes::panel_codes::<1>,
        codes::panel_codes::<2>,
        codes::panel_codes::<3>,
        codes::panel_codes::<4>,
        codes::panel_codes::<5>,
        codes::panel_codes::<6>,
        codes::panel_codes::<8>,
    ],
    streams: 1,
    quantize: quantize::quantize,
    sum_squares: vectors::sum_squares,
    scale_gain: vectors::scale_gain,
    dot: vectors::dot,
    dot_f16: vectors::dot_f16,
    add_scaled: vectors::add_scaled,
    add_scaled_f16: vectors::add_scaled_f16,
    score_f16: vectors::score_f16,
    gather_f16: vectors::gather_f16,
    prefetch: |_, _| {},
    fold: nested::fold,
    code_rows: nested::code_rows,
    code_columns: nested::code_columns,
    exp_sum: exp::exp_sum,
    maximum: vectors::maximum,
    silu_multiply: exp::silu_multiply,
    clamped_swiglu: exp::clamped_swiglu,
};
