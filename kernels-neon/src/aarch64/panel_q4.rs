//! Panels of 4-bit codes times activations.

use std::arch::aarch64::*;

use hardtack_kernels::{Activations, PanelRows};

use super::codes::{BIT, BlockCodes, HEAD, eights, quads};
use super::codes_neon::run;
use super::{codes_dotprod, codes_i8mm, codes_neon};

const REGISTERS: usize = HEAD + 4 * BIT;

#[target_feature(enable = "neon")]
pub(super) fn neon(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    codes_neon::panel::<REGISTERS, 0, { run(15) }>(
        panel,
        activations,
        first_token,
        out,
        |tile, block| unpack(quads(tile, block)),
    );
}

#[target_feature(enable = "neon,dotprod")]
pub(super) fn dotprod(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    codes_dotprod::panel::<REGISTERS, 0>(panel, activations, first_token, out, |tile, block| {
        unpack(quads(tile, block))
    });
}

#[target_feature(enable = "neon,dotprod,i8mm")]
pub(super) fn i8mm(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    let done =
        codes_i8mm::panel::<REGISTERS, 0>(panel, activations, first_token, out, |tile, block| {
            unpack(eights(tile, block))
        });
    dotprod(panel, activations, first_token + done, &mut out[done..]);
}

/// The codes of a block of rows of a tile.
#[inline]
#[target_feature(enable = "neon")]
fn unpack(plane: impl Fn(usize, usize) -> uint8x16_t) -> BlockCodes {
    let mut codes = [vdupq_n_s8(0); _];
    for vector in 0..8 {
        let fields = plane(0, vector);
        codes[vector] = vreinterpretq_s8_u8(vandq_u8(fields, vdupq_n_u8(15)));
        codes[vector + 8] = vreinterpretq_s8_u8(vshrq_n_u8::<4>(fields));
    }
    codes
}
