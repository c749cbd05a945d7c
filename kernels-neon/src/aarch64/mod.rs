//! The tables of the tiers, each given out only where the processor has what its kernels use.
//!
//! Kernels are safe `#[target_feature]` functions, and become plain function pointers only inside a
//! function with the same features: the one that builds their table. So a table in hand is the
//! proof that its entries may be called.

mod codes;
mod codes_dotprod;
mod codes_i8mm;
mod codes_neon;

mod attention;
mod exponentials;
mod floats;
mod lanes;
mod nested;
mod panels;
mod quantize;
mod unpack;
mod vectors;
mod widen;

use std::arch::is_aarch64_feature_detected;

use hardtack_kernels::{KernelTable, portable};

use panels::{bf16, f16, f32, q1, q2, q3, q4, q5, q6, q8};

/// The tier that needs no more than NEON, none where even that is missing.
pub fn neon() -> Option<&'static KernelTable> {
    // SAFETY: the table is given out in the next line, only where NEON was found.
    static TABLE: KernelTable = unsafe { neon_table() };
    is_aarch64_feature_detected!("neon").then_some(&TABLE)
}

/// The tier that multiplies codes by `sdot`, none where the processor has no such instruction.
pub fn dotprod() -> Option<&'static KernelTable> {
    // SAFETY: the table is given out in the next line, only where both features were found.
    static TABLE: KernelTable = unsafe { dotprod_table() };
    (is_aarch64_feature_detected!("neon") && is_aarch64_feature_detected!("dotprod"))
        .then_some(&TABLE)
}

/// The tier that multiplies codes with two tokens or more by `smmla`, none where the processor
/// has no such instruction.
pub fn i8mm() -> Option<&'static KernelTable> {
    // SAFETY: the table is given out below, only where all three features were found.
    static TABLE: KernelTable = unsafe { i8mm_table() };
    (dotprod().is_some() && is_aarch64_feature_detected!("i8mm")).then_some(&TABLE)
}

#[target_feature(enable = "neon")]
const fn neon_table() -> KernelTable {
    KernelTable {
        name: "neon",
        panels: [
            f32,
            f16,
            bf16,
            q1::neon,
            q2::neon,
            q3::neon,
            q4::neon,
            q5::neon,
            q6::neon,
            q8::neon,
        ],
        streams: 1,
        quantize: quantize::quantize,
        sum_squares: vectors::sum_squares,
        scale_gain: vectors::scale_gain,
        dot: vectors::dot,
        dot_f16: vectors::dot_f16,
        add_scaled: vectors::add_scaled,
        add_scaled_f16: vectors::add_scaled_f16,
        score_f16: attention::score_f16,
        gather_f16: attention::gather_f16,
        prefetch: nested::prefetch,
        fold: nested::fold,
        code_rows: nested::code_rows,
        code_columns: portable::TABLE.code_columns,
        exp_sum: exponentials::exp_sum,
        maximum: vectors::maximum,
        silu_multiply: exponentials::silu_multiply,
        clamped_swiglu: exponentials::clamped_swiglu,
    }
}

#[target_feature(enable = "neon,dotprod")]
const fn dotprod_table() -> KernelTable {
    KernelTable {
        name: "neon+dotprod",
        panels: [
            f32,
            f16,
            bf16,
            q1::dotprod,
            q2::dotprod,
            q3::dotprod,
            q4::dotprod,
            q5::dotprod,
            q6::dotprod,
            q8::dotprod,
        ],
        ..neon_table()
    }
}

#[target_feature(enable = "neon,dotprod,i8mm")]
const fn i8mm_table() -> KernelTable {
    KernelTable {
        name: "neon+i8mm",
        panels: [
            f32,
            f16,
            bf16,
            q1::i8mm,
            q2::i8mm,
            q3::i8mm,
            q4::i8mm,
            q5::i8mm,
            q6::i8mm,
            q8::i8mm,
        ],
        ..dotprod_table()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hardtack_format::encoding::{Encoding, PANEL_ROWS, TILE_HEAD_BYTES};
    use hardtack_kernels::check::{check, wrong_lengths};
    use hardtack_kernels::{Activations, scalar};
    use std::io::Write;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn hold(table: Option<&KernelTable>, name: &str) {
        let Some(table) = table else {
            // Straight to the stream, as the test runner hides what `eprintln!` prints in a test
            // that passes.
            let line =
                format!("SKIPPED: this processor lacks {name}, whose kernels were not checked\n");
            return std::io::stderr().write_all(line.as_bytes()).expect("standard error");
        };
        assert_eq!(table.name, name);
        check(table);
        wrong_lengths(table, |what, call| {
            assert!(catch_unwind(AssertUnwindSafe(call)).is_err(), "{name}: accepts wrong {what}");
        });
    }

    #[test]
    fn neon_holds() {
        hold(neon(), "neon");
    }

    #[test]
    fn dotprod_holds() {
        hold(dotprod(), "neon+dotprod");
    }

    #[test]
    fn i8mm_holds() {
        hold(i8mm(), "neon+i8mm");
    }

    /// Kernels may subtract an offset from the codes, so zeros are as far out as the largest; and
    /// no length of sums in 16 bits may rely on activations stopping at -127.
    #[test]
    fn extreme_codes_hold() {
        const TOKENS: usize = 8;
        let (floats, scales, sums) = ([0.0; TOKENS * 128], [1.0; TOKENS * 2], [0.5; TOKENS * 2]);
        for table in [neon(), dotprod(), i8mm()].into_iter().flatten() {
            for encoding in
                Encoding::MATRICES.into_iter().filter(|encoding| encoding.code_bits().is_some())
            {
                for (planes, code) in [(0x00, -128), (0x00, 127), (0xff, -128), (0xff, 127)] {
                    let mut panel = vec![planes; 2 * encoding.tile_bytes()];
                    for tile in panel.chunks_exact_mut(encoding.tile_bytes()) {
                        tile[..TILE_HEAD_BYTES].fill(0x3c); // Some f16 of moderate size.
                    }
                    let codes = [code; TOKENS * 128];
                    let activations = Activations {
                        columns: 128,
                        floats: &floats,
                        codes: &codes,
                        scales: &scales,
                        sums: &sums,
                    };
                    for tokens in [1, 2, 4, TOKENS] {
                        let run = |table: &KernelTable| {
                            let mut out = vec![[f32::NAN; PANEL_ROWS]; tokens];
                            table.panel(encoding)(&panel, &activations, 0, &mut out);
                            out
                        };
                        let what = encoding.name();
                        assert_eq!(
                            run(table),
                            run(&scalar::TABLE),
                            "{}: {what}, {planes:#x} by {code}",
                            table.name
                        );
                    }
                }
            }
        }
    }
}
