//! The truth: every operation as its formula says, one number at a time.

mod codes;
mod floats;
mod nested;
mod vectors;

use crate::table::KernelTable;

/// The scalar tier.
pub static TABLE: KernelTable = KernelTable {
    name: "scalar",
    panels: [
        floats::panel_f32,
        floats::panel_f16,
        floats::panel_bf16,
        codes::panel_q1,
        codes::panel_q2,
        codes::panel_q3,
        codes::panel_q4,
        codes::panel_q5,
        codes::panel_q6,
        codes::panel_q8,
    ],
    streams: 1,
    quantize: vectors::quantize,
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
    exp_sum: vectors::exp_sum,
    maximum: vectors::maximum,
    silu_multiply: vectors::silu_multiply,
    clamped_swiglu: vectors::clamped_swiglu,
};
