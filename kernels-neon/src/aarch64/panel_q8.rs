//! Panels of 8-bit codes times activations.

use std::arch::aarch64::*;

use hardtack_kernels::{Activations, PanelRows};

use super::codes::{BIT, BLOCKS, BlockCodes, HEAD, Tile};
use super::codes_neon::run;
use super::lanes::load_bytes;
use super::{codes_dotprod, codes_neon};

const REGISTERS: usize = HEAD + 8 * BIT;
/// Codes go up to 255, and the products take signed bytes: they get the codes less this.
const OFFSET: i32 = 128;

#[target_feature(enable = "neon")]
pub(super) fn neon(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    let unpack = |tile: &_, block| unpack(tile, block);
    codes_neon::panel::<REGISTERS, OFFSET, { run(OFFSET) }>(panel, activations, first_token, out, unpack);
}

#[target_feature(enable = "neon,dotprod")]
pub(super) fn dotprod(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]) {
    let unpack = |tile: &_, block| unpack(tile, block);
    codes_dotprod::panel::<REGISTERS, OFFSET>(panel, activations, first_token, out, unpack);
}

/// The codes of a block of rows of a tile, less [`OFFSET`].
#[inline]
#[target_feature(enable = "neon")]
fn unpack(tile: &Tile<REGISTERS>, block: usize) -> BlockCodes {
    let mut codes = [vdupq_n_s8(0); _];
    for (quad, codes) in codes.iter_mut().enumerate() {
        let bytes = load_bytes(&tile[HEAD + quad * BLOCKS + block]);
        // Less 128 is the same as with the highest bit flipped.
        *codes = vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(0x80)));
    }
    codes
}
