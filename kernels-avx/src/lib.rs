//! The AVX2 tier of the kernels, for x86-64 processors with AVX2, FMA and F16C (Intel since 2013, AMD since 2017).
//!
//! Each entry of the table is a safe function that checks lengths and makes one call into functions that are compiled
//! for these features. In there only loads and stores are unsafe, and they all sit in `avx2/memory.rs`.

use hardtack_kernels::KernelTable;

#[cfg(target_arch = "x86_64")]
mod avx2;

/// The AVX2 tier, where the processor has it.
#[cfg(target_arch = "x86_64")]
pub fn avx2() -> Option<&'static KernelTable> {
    let detected = std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("f16c");
    detected.then_some(&avx2::TABLE)
}

/// The AVX2 tier, where the processor has it: this architecture never does.
#[cfg(not(target_arch = "x86_64"))]
pub fn avx2() -> Option<&'static KernelTable> {
    None
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use hardtack_kernels::check;

    #[test]
    fn avx2_holds() {
        let Some(table) = super::avx2() else {
            eprintln!("SKIPPED: this processor has no AVX2, FMA and F16C; the AVX2 tier is NOT tested");
            return;
        };
        check::check(table);
        check::wrong_lengths(table, |what, call| {
            assert!(catch_unwind(AssertUnwindSafe(call)).is_err(), "avx2: accepts wrong {what}");
        });
    }
}
