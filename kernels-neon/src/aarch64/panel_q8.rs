//! Panels of 8-bit codes times activations.

use std::arch::aarch64::*;

use hardtack_kernels::{Activations, PanelRows};

use super::codes::{BIT, BlockCodes, HEAD, eights, quads};
use super::codes_neon::run;
use super::{codes_dotprod, codes_i8mm, codes_neon};

const REGISTERS: usize = HEAD + 8 * BIT;
/// Codes go up to 255, and the products take signed bytes: they get the codes less this.
const OFFSET: i32 = 128;

#[target_feature(enable = "neon")]
pub(super) fn neon(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    codes_neon::panel::<REGISTERS, OFFSET, { run(OFFSET) }>(
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
    codes_dotprod::panel::<REGISTERS, OFFSET>(
        panel,
        activations,
        first_token,
        out,
        |tile, block| unpack(quads(tile, block)),
    );
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
            bytes(eights(tile, block))
        });
    dotprod(panel, activations, first_token + done, &mut out[done..]);
}

/// The codes of a block of rows of a tile, less [`OFFSET`].
#[inline]
#[target_feature(enable = "neon")]
fn unpack(plane: impl Fn(usize, usize) -> uint8x16_t) -> BlockCodes {
    let mut codes = bytes(plane);
    for code in &mut codes {
        // Less 128 is the same as with the highest bit flipped.
        *code = veorq_s8(*code, vdupq_n_s8(i8::MIN));
    }
    codes
}

/// The codes of a block of rows of a tile: unsigned, though the type cannot say so.
#[inline]
#[target_feature(enable = "neon")]
fn bytes(plane: impl Fn(usize, usize) -> uint8x16_t) -> BlockCodes {
    let mut codes = [vdupq_n_s8(0); _];
    for (quad, codes) in codes.iter_mut().enumerate() {
        *codes = vreinterpretq_s8_u8(plane(0, quad));
    }
    codes
}
