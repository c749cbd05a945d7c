//! Panels of 6-bit codes times activations: a plane of the low four bits, one of the high two.

use std::arch::aarch64::*;

use hardtack_kernels::{Activations, PanelRows};

use super::codes::{BIT, BlockCodes, HEAD, eights, quads};
use super::codes_neon::run;
use super::{codes_dotprod, codes_i8mm, codes_neon};

const REGISTERS: usize = HEAD + 6 * BIT;

#[target_feature(enable = "neon")]
pub(super) fn neon(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    codes_neon::panel::<REGISTERS, 0, { run(63) }>(
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
    let three = vdupq_n_u8(3);
    let mut codes = [vdupq_n_s8(0); _];
    for vector in 0..4 {
        // Field `i` of the high plane's vector belongs to quad `vector + 4 * i`.
        let high = plane(4, vector);
        let low = plane(0, vector);
        let next = plane(0, vector + 4);
        // As few shifts as can be: Arm's cores shift in half of their vector pipes. Where a high
        // field is in place, the low one is added below; elsewhere the high one is put above the
        // low, in place of the other field; and at last both are joined on top and moved down.
        codes[vector] = vreinterpretq_s8_u8(vsliq_n_u8::<4>(low, vandq_u8(high, three)));
        codes[vector + 4] =
            vreinterpretq_s8_u8(vsliq_n_u8::<4>(next, vandq_u8(vshrq_n_u8::<2>(high), three)));
        codes[vector + 8] =
            vreinterpretq_s8_u8(vsraq_n_u8::<4>(vandq_u8(high, vdupq_n_u8(0x30)), low));
        codes[vector + 12] = vreinterpretq_s8_u8(vshrq_n_u8::<2>(vsriq_n_u8::<2>(high, next)));
    }
    codes
}
