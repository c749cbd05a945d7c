//! Panels of 1-bit codes times activations.

use std::arch::aarch64::*;

use hardtack_kernels::{Activations, PanelRows};

use super::codes::{BIT, BlockCodes, HEAD, eights, quads};
use super::codes_neon::run;
use super::{codes_dotprod, codes_i8mm, codes_neon};

const REGISTERS: usize = HEAD + BIT;

#[target_feature(enable = "neon")]
pub(super) fn neon(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    codes_neon::panel::<REGISTERS, 0, { run(1) }>(
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
    let one = vdupq_n_u8(1);
    let mut codes = [vdupq_n_s8(0); _];
    for vector in 0..2 {
        let fields = plane(0, vector);
        codes[vector] = vreinterpretq_s8_u8(vandq_u8(fields, one));
        codes[vector + 2] = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8::<1>(fields), one));
        codes[vector + 4] = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8::<2>(fields), one));
        codes[vector + 6] = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8::<3>(fields), one));
        codes[vector + 8] = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8::<4>(fields), one));
        codes[vector + 10] = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8::<5>(fields), one));
        codes[vector + 12] = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8::<6>(fields), one));
        codes[vector + 14] = vreinterpretq_s8_u8(vshrq_n_u8::<7>(fields));
    }
    codes
}
