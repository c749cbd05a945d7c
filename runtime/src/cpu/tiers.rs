//! The tiers of CPU kernels in this program, and the choice among them.

use hardtack_kernels::{KernelTable, portable, scalar};

use crate::error::Error;

/// The tiers that run on this processor, slowest first.
pub fn available() -> Vec<&'static KernelTable> {
    let mut tiers: Vec<&'static KernelTable> = vec![&scalar::TABLE, &portable::TABLE];
    #[cfg(target_arch = "x86_64")]
    {
        use hardtack_kernels_avx::{avx2, avx512vnni, avxvnni};
        tiers.extend([avx2(), avxvnni(), avx512vnni()].into_iter().flatten());
    }
    #[cfg(target_arch = "aarch64")]
    {
        use hardtack_kernels_neon::{dotprod, i8mm, neon};
        tiers.extend([neon(), dotprod(), i8mm()].into_iter().flatten());
    }
    tiers
}

/// The tier with this name, or the fastest one.
///
/// # Errors
/// The processor has no tier of this name.
pub fn choose(name: Option<&str>) -> Result<&'static KernelTable, Error> {
    let tiers = available();
    match name {
        None => Ok(tiers[tiers.len() - 1]),
        Some(name) => {
            tiers.iter().copied().find(|tier| tier.name == name).ok_or_else(|| Error::Kernels {
                name: name.to_owned(),
                available: tiers.iter().map(|tier| tier.name).collect::<Vec<_>>().join(", "),
            })
        }
    }
}
