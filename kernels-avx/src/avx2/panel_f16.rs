//! Panels of half floats.

use core::arch::x86_64::{__m256, _mm256_cvtph_ps};

use hardtack_kernels::{Activations, PanelRows};

use super::floats::panel_floats;
use super::memory::load_16_bytes;

pub(super) fn panel_f16(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    // SAFETY: only the table names this function, and the table is given out only where the
    // processor has the features.
    unsafe { vectors(panel, activations, first_token, out) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn vectors(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    panel_floats(panel, activations, first_token, out, |bytes| widen(bytes));
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn widen(bytes: &[u8; 16]) -> __m256 {
    _mm256_cvtph_ps(load_16_bytes(bytes))
}
