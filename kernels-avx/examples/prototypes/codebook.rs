//! Panels whose codes name entries of a table: one shuffle for each vector of codes. The entries
//! have 7 bits, so that two of their products with int8 fit in 16, but no more than two.

use core::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm256_add_epi32, _mm256_broadcastsi128_si256,
    _mm256_dpbusd_avx_epi32, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_set1_epi16,
    _mm256_shuffle_epi8,
};

use hardtack_format::encoding::GROUP_QUADS;
use hardtack_kernels::{Activations, PanelRows};

use crate::codes::{Inputs, RowSums, no_sums, panel_sums, tile_bytes};
use crate::memory::broadcast_quad;
use crate::{panel_q2, panel_q3, panel_q4};

/// Entries of a table; codes of fewer bits use the first ones.
pub type Table = [u8; 16];

macro_rules! panels {
    // `panels!(q4, q4_vnni, panel_q4, 4, 2)`: a panel of 4-bit codes in 2 fields a byte, without
    // and with AVX-VNNI.
    ($plain:ident, $vnni:ident, $module:ident, $bits:literal, $fields:literal) => {
        #[target_feature(enable = "avx2,fma,f16c")]
        pub fn $plain(
            panel: &[u8],
            activations: &Activations<'_>,
            table: &Table,
            out: &mut [PanelRows],
        ) {
            let table = broadcast(table);
            let one = |tile: &[u8; tile_bytes($bits)], inputs: Inputs<'_, 1>| {
                sums::<{ tile_bytes($bits) }, $fields>(tile, inputs, |tile, vector, half| {
                    $module::unpack(tile, vector, half)
                        .map(|codes| _mm256_shuffle_epi8(table, codes))
                })
            };
            panel_sums(panel, activations, 0, out, |_, _| no_sums(), |_, _| no_sums(), one);
        }

        #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
        pub fn $vnni(
            panel: &[u8],
            activations: &Activations<'_>,
            table: &Table,
            out: &mut [PanelRows],
        ) {
            let table = broadcast(table);
            let one = |tile: &[u8; tile_bytes($bits)], inputs: Inputs<'_, 1>| {
                sums_vnni::<{ tile_bytes($bits) }, $fields>(tile, inputs, |tile, vector, half| {
                    $module::unpack(tile, vector, half)
                        .map(|codes| _mm256_shuffle_epi8(table, codes))
                })
            };
            panel_sums(panel, activations, 0, out, |_, _| no_sums(), |_, _| no_sums(), one);
        }
    };
}

panels!(q2, q2_vnni, panel_q2, 2, 4);
panels!(q3, q3_vnni, panel_q3, 3, 4);
panels!(q4, q4_vnni, panel_q4, 4, 2);

#[target_feature(enable = "avx2")]
fn broadcast(table: &Table) -> __m256i {
    // SAFETY: the array is the 16 bytes that are read, at any address.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(table.as_ptr().cast()) })
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn sums<const TILE_BYTES: usize, const FIELDS: usize>(
    tile: &[u8; TILE_BYTES],
    inputs: Inputs<'_, 1>,
    entries: impl Fn(&[u8; TILE_BYTES], usize, usize) -> [__m256i; FIELDS],
) -> RowSums<1> {
    let mut wide = no_sums();
    for vector in 0..GROUP_QUADS / FIELDS {
        for half in 0..2 {
            let fields = entries(tile, vector, half);
            for field in 0..FIELDS {
                let quad = broadcast_quad(inputs[0], vector + field * (GROUP_QUADS / FIELDS));
                let pairs = _mm256_maddubs_epi16(fields[field], quad);
                wide[0][half] =
                    _mm256_add_epi32(wide[0][half], _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
            }
        }
    }
    wide
}

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
#[inline]
fn sums_vnni<const TILE_BYTES: usize, const FIELDS: usize>(
    tile: &[u8; TILE_BYTES],
    inputs: Inputs<'_, 1>,
    entries: impl Fn(&[u8; TILE_BYTES], usize, usize) -> [__m256i; FIELDS],
) -> RowSums<1> {
    let [mut even, mut odd]: [RowSums<1>; 2] = [no_sums(), no_sums()];
    for vector in 0..GROUP_QUADS / FIELDS {
        for half in 0..2 {
            let fields = entries(tile, vector, half);
            for field in 0..FIELDS {
                let quad = broadcast_quad(inputs[0], vector + field * (GROUP_QUADS / FIELDS));
                let sums = if field % 2 == 0 { &mut even } else { &mut odd };
                sums[0][half] = _mm256_dpbusd_avx_epi32(sums[0][half], fields[field], quad);
            }
        }
    }
    [[_mm256_add_epi32(even[0][0], odd[0][0]), _mm256_add_epi32(even[0][1], odd[0][1])]]
}
