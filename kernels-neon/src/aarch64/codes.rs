//! Walks the tiles of a panel of codes, and turns a tile's sums of codes into numbers: what all
//! tiers share.

use std::arch::aarch64::*;
use std::arch::asm;
use std::array::from_fn;

use hardtack_format::encoding::{
    GROUP_COLUMNS, GROUP_QUADS, PANEL_ROWS, TILE_BIT_BYTES, TILE_HEAD_BYTES,
};
use hardtack_kernels::{Activations, PanelRows};

use super::lanes::{load, load_bytes, load_f16_bytes, store};

/// Tokens that share the unpacking of a tile in the tier without `sdot`, and the widening of
/// floats.
pub(super) const TOKENS: usize = 4;
/// Bytes of a register.
pub(super) const REGISTER_BYTES: usize = 16;
/// Rows whose quads fill a register, one in each lane.
pub(super) const BLOCK_ROWS: usize = 4;
/// Blocks of rows in a tile, and so registers in a plane's vector.
pub(super) const BLOCKS: usize = PANEL_ROWS / BLOCK_ROWS;
/// Registers of a tile's scales and minima, which come before its planes.
pub(super) const HEAD: usize = TILE_HEAD_BYTES / REGISTER_BYTES;
/// Registers that one bit of the code takes in a tile.
pub(super) const BIT: usize = TILE_BIT_BYTES / REGISTER_BYTES;

/// What every sum of codes starts from: the bits of 1.5 * 2^23. A number of up to 22 bits added to
/// them is that number added to the float.
pub(super) const START: i32 = START_FLOAT.to_bits() as i32;
const START_FLOAT: f32 = (3 << 22) as f32;

const _: () = assert!(GROUP_COLUMNS * 255 * 128 < 1 << 22);
const _: () = assert!(BLOCKS * BLOCK_ROWS == PANEL_ROWS && HEAD == 4 && BIT == 8);

/// A tile, register by register.
pub(super) type Tile<const REGISTERS: usize> = [[u8; REGISTER_BYTES]; REGISTERS];
/// The codes of a block of rows. Out of [`quads`]: in register `quad` and lane `row`, four columns.
/// Out of [`eights`]: in register `2 * i`, columns `8 * i ..` of row 0 and then of row 1; in the
/// next, of rows 2 and 3.
pub(super) type BlockCodes = [int8x16_t; GROUP_QUADS];

/// One token's activations of one group of columns.
#[derive(Clone, Copy)]
pub(super) struct Group<'a> {
    pub(super) codes: &'a [[i8; REGISTER_BYTES]; GROUP_COLUMNS / REGISTER_BYTES],
    pub(super) scale: f32,
    pub(super) sum: f32,
}

/// The vectors of a block's planes as they lie in the tile: `(bits, vector)` is that vector of the
/// plane that holds the code's bits from `bits` on.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn quads<const REGISTERS: usize>(
    tile: &Tile<REGISTERS>,
    block: usize,
) -> impl Fn(usize, usize) -> uint8x16_t {
    move |bits, vector| load_bytes(&tile[HEAD + bits * BIT + vector * BLOCKS + block])
}

/// As [`quads`], but each two vectors interleaved, so that neighbouring quads of a row meet. Every
/// plane has an even number of vectors, so fields that belong together still do, and unpacking is
/// the same.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn eights<const REGISTERS: usize>(
    tile: &Tile<REGISTERS>,
    block: usize,
) -> impl Fn(usize, usize) -> uint8x16_t {
    let quads = quads(tile, block);
    move |bits, vector| {
        let [even, odd] =
            [vector & !1, vector | 1].map(|vector| vreinterpretq_u32_u8(quads(bits, vector)));
        let eights =
            if vector.is_multiple_of(2) { vzip1q_u32(even, odd) } else { vzip2q_u32(even, odd) };
        vreinterpretq_u8_u32(eights)
    }
}

/// Calls `step` with each tile of the panel, the same columns of some tokens, and the sums that
/// become their rows.
///
/// It is without target features, and always inlined, so that `step` can be a closure of a function
/// that has some.
#[inline(always)]
pub(super) fn each_tile<const REGISTERS: usize, const COUNT: usize>(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows; COUNT],
    mut step: impl FnMut(&Tile<REGISTERS>, &[Group<'_>; COUNT], &mut [PanelRows; COUNT]),
) {
    let groups = activations.groups();
    let tiles = panel.as_chunks::<REGISTER_BYTES>().0.as_chunks::<REGISTERS>().0;
    assert!(
        panel.len() == groups * REGISTERS * REGISTER_BYTES && tiles.len() == groups,
        "one panel"
    );
    let tokens: [_; COUNT] = from_fn(|token| {
        let (codes, scales, sums) = activations.token_codes(first_token + token);
        let codes = codes.as_chunks::<REGISTER_BYTES>().0.as_chunks().0;
        assert!(
            codes.len() == groups && scales.len() == groups && sums.len() == groups,
            "one token"
        );
        (codes, scales, sums)
    });
    // Kept apart from `out`, which may lie where activations do as far as the compiler knows.
    let mut sums = [[0.0; PANEL_ROWS]; COUNT];
    for (at, tile) in tiles.iter().enumerate() {
        let mut group = [Group { codes: &tokens[0].0[at], scale: 0.0, sum: 0.0 }; COUNT];
        for (group, (codes, scales, sums)) in group.iter_mut().zip(&tokens) {
            *group = Group { codes: &codes[at], scale: scales[at], sum: sums[at] };
        }
        step(tile, &group, &mut sums);
    }
    *out = sums;
}

/// The blocks of a tile, one after another.
///
/// In assembly, which does nothing but hide their number: the optimizer would write all four out
/// and mix them, and spill.
#[inline]
pub(super) fn blocks() -> impl Iterator<Item = usize> {
    let mut count = BLOCKS;
    // SAFETY: this is a comment, which touches nothing.
    unsafe {
        asm!(
            "// {count}",
            count = inout(reg) count,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    // Never changes a number, and lets the optimizer see that it is in bounds.
    (0..count).map(|block| block % BLOCKS)
}

/// Adds a block of rows of a tile to the rows of some tokens: `(code_sum * group.scale) * scale +
/// group.sum * minimum`, rounded after each operation as scalar does. The code sums are above
/// [`START`].
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn add_block<const REGISTERS: usize, const COUNT: usize>(
    tile: &Tile<REGISTERS>,
    block: usize,
    code_sums: [int32x4_t; COUNT],
    group: &[Group<'_>; COUNT],
    out: &mut [PanelRows; COUNT],
) {
    let halves: &[[u8; 8]; 2 * BLOCKS] =
        tile.as_flattened().as_chunks().0.first_chunk().expect("a tile has a head");
    let scale = load_f16_bytes(&halves[block]);
    let minimum = load_f16_bytes(&halves[BLOCKS + block]);
    // By index: the compiler does not unroll a loop over three zipped arrays, and keeps them in
    // memory.
    for token in 0..COUNT {
        let rows = &mut out[token].as_chunks_mut::<BLOCK_ROWS>().0[block];
        // Exact, and where conversions have one pipe of two or four, cheaper than one.
        let code_sum = vsubq_f32(vreinterpretq_f32_s32(code_sums[token]), vdupq_n_f32(START_FLOAT));
        let product = vmulq_f32(vmulq_n_f32(code_sum, group[token].scale), scale);
        let addend = vaddq_f32(product, vmulq_n_f32(minimum, group[token].sum));
        store(rows, vaddq_f32(load(rows), addend));
    }
}

/// All bits flipped.
///
/// In assembly, as LLVM turns a test of a flipped bit into two instructions where one (`cmtst`)
/// would do, and a plane of bits is flipped once but tested eight times.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn flip(bits: uint8x16_t) -> uint8x16_t {
    let flipped;
    // SAFETY: this is an instruction of NEON, which touches nothing but the registers named here.
    unsafe {
        asm!(
            "mvn {flipped:v}.16b, {bits:v}.16b",
            flipped = lateout(vreg) flipped,
            bits = in(vreg) bits,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    flipped
}

/// `into`, but for the bits of `mask`, which come from `bits`.
///
/// In assembly: of the three forms of this instruction LLVM takes the one that writes over the
/// mask, and copies that first.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn insert(mut into: uint8x16_t, bits: uint8x16_t, mask: uint8x16_t) -> uint8x16_t {
    // SAFETY: this is an instruction of NEON, which touches nothing but the registers named here.
    unsafe {
        asm!(
            "bit {into:v}.16b, {bits:v}.16b, {mask:v}.16b",
            into = inout(vreg) into,
            bits = in(vreg) bits,
            mask = in(vreg) mask,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    into
}
