//! The AVX2 tiers of the kernels, for x86-64 processors with AVX2, FMA and F16C (Intel since 2013,
//! AMD since 2017). Two more are for those that also have AVX-VNNI (Intel since 2021, AMD since
//! 2024) or AVX-512 with VNNI (Intel since 2019, AMD since 2022).
//!
//! Kernels are safe `#[target_feature]` functions: only loads and stores are unsafe in them, and
//! the one call here that builds each tier's table. A kernel becomes a plain function pointer only
//! in a function with its features, so a table in hand is the proof that its entries may be called.

use hardtack_kernels::KernelTable;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
#[cfg(target_arch = "x86_64")]
mod panels;

/// The AVX2 tier, where the processor has it.
#[cfg(target_arch = "x86_64")]
pub fn avx2() -> Option<&'static KernelTable> {
    // SAFETY: the table is returned below, and only where the processor has its features.
    static TABLE: KernelTable = unsafe { avx2::table() };
    let detected = std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("f16c");
    detected.then_some(&TABLE)
}

/// The AVX2 tier, where the processor has it: this architecture never does.
#[cfg(not(target_arch = "x86_64"))]
pub fn avx2() -> Option<&'static KernelTable> {
    None
}

/// The AVX2 tier with integer panels by AVX-VNNI, where the processor has both.
#[cfg(target_arch = "x86_64")]
pub fn avxvnni() -> Option<&'static KernelTable> {
    // SAFETY: the table is returned below, and only where the processor has its features.
    static TABLE: KernelTable = unsafe { avxvnni::table() };
    let detected = avx2().is_some() && std::arch::is_x86_feature_detected!("avxvnni");
    detected.then_some(&TABLE)
}

/// The AVX2 tier with integer panels by AVX-VNNI: this architecture never has it.
#[cfg(not(target_arch = "x86_64"))]
pub fn avxvnni() -> Option<&'static KernelTable> {
    None
}

/// The AVX2 tier with integer panels by AVX-512 and its VNNI, where the processor has them (Intel
/// since 2019, AMD since 2022).
#[cfg(target_arch = "x86_64")]
pub fn avx512vnni() -> Option<&'static KernelTable> {
    // SAFETY: the table is returned below, and only where the processor has its features.
    static TABLE: KernelTable = unsafe { avx512::table() };
    let detected = avx2().is_some()
        && std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512vnni");
    detected.then_some(&TABLE)
}

/// The AVX2 tier with integer panels by AVX-512 and its VNNI: this architecture never has it.
#[cfg(not(target_arch = "x86_64"))]
pub fn avx512vnni() -> Option<&'static KernelTable> {
    None
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use hardtack_format::encoding::{Encoding, PANEL_ROWS, TILE_HEAD_BYTES};
    use hardtack_kernels::{Activations, KernelTable, check, scalar};

    #[test]
    fn avx2_holds() {
        holds(super::avx2(), "avx2");
    }

    #[test]
    fn avxvnni_holds() {
        holds(super::avxvnni(), "avx2+vnni");
    }

    #[test]
    fn avx512vnni_holds() {
        holds(super::avx512vnni(), "avx512+vnni");
    }

    fn holds(table: Option<&KernelTable>, name: &str) {
        let Some(table) = table else {
            // Past the test runner, which keeps to itself what a passing test prints by macros.
            let line = format!("SKIPPED: this processor lacks {name}; the tier is NOT tested\n");
            let _ = std::io::stderr().write_all(line.as_bytes());
            return;
        };
        assert_eq!(table.name, name);
        check::check(table);
        check::wrong_lengths(table, |what, call| {
            assert!(catch_unwind(AssertUnwindSafe(call)).is_err(), "{name}: accepts wrong {what}");
        });
        extremes(table);
    }

    /// Codes all at their smallest or largest, against activations of both ends of int8, -128 too:
    /// nothing may saturate.
    fn extremes(table: &KernelTable) {
        const GROUPS: usize = 2;
        const TOKENS: usize = 7; // In blocks of four, two and one.
        let columns = GROUPS * 64;
        let (floats, scales, sums) =
            ([0.0; TOKENS * GROUPS * 64], [1.0; TOKENS * GROUPS], [0.5; TOKENS * GROUPS]);
        for encoding in
            Encoding::MATRICES.into_iter().filter(|encoding| encoding.code_bits().is_some())
        {
            for (planes, activation) in [(0x00, -128), (0x00, 127), (0xff, -128), (0xff, 127)] {
                let mut panel = [planes].repeat(GROUPS * encoding.tile_bytes());
                for tile in panel.chunks_exact_mut(encoding.tile_bytes()) {
                    tile[..TILE_HEAD_BYTES].fill(0x3c); // Some f16 of moderate size.
                }
                let codes = [activation; TOKENS * GROUPS * 64];
                let activations = Activations {
                    columns,
                    floats: &floats,
                    codes: &codes,
                    scales: &scales,
                    sums: &sums,
                };
                let run = |table: &KernelTable| {
                    let mut out = [[f32::NAN; PANEL_ROWS]; TOKENS];
                    table.panel(encoding)(&panel, &activations, 0, &mut out);
                    out
                };
                let what = encoding.name();
                assert_eq!(
                    run(table),
                    run(&scalar::TABLE),
                    "{}: {what}, {planes:#x} by {activation}",
                    table.name
                );
            }
        }
    }
}
