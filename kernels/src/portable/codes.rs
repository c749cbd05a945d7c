//! Panels of integer codes times int8 activations, in products of 16 bits.

use hardtack_format::encoding::{
    Encoding, GROUP_COLUMNS, GROUP_QUADS, PANEL_ROWS, QUAD_COLUMNS, TILE_BIT_BYTES, TILE_HEAD_BYTES,
};
use wide::bytemuck::cast;
use wide::{f32x8, i16x16, i32x8};

use super::memory::{half_floats, words};
use crate::activations::Activations;
use crate::table::PanelRows;

/// Bytes of one quad of 16 rows in a plane of whole bytes, and of any vector of a plane.
const VECTOR_BYTES: usize = PANEL_ROWS * QUAD_COLUMNS;

/// A quad's columns 0 and 2, and its columns 1 and 3: the codes of eight rows as words, a pair in
/// each lane.
type Codes = [i16x16; 2];
/// The same pairs of a group's activations, for every quad, to be put into all lanes.
type Inputs = [[i32; GROUP_QUADS]; 2];

/// A panel of codes of `BITS` bits, four tokens at a time as long as there are four.
pub(super) fn panel_codes<const BITS: u32>(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
) {
    let tile_bytes = TILE_HEAD_BYTES + BITS as usize * TILE_BIT_BYTES;
    assert_eq!(panel.len(), activations.groups() * tile_bytes, "one panel");
    let (fours, ones) = out.as_chunks_mut();
    let ones_first = first_token + fours.len() * 4;
    for (index, out) in fours.iter_mut().enumerate() {
        tokens::<BITS, 4>(panel, activations, first_token + index * 4, out);
    }
    for (index, out) in ones.as_chunks_mut().0.iter_mut().enumerate() {
        tokens::<BITS, 1>(panel, activations, ones_first + index, out);
    }
}

fn tokens<const BITS: u32, const TOKENS: usize>(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows; TOKENS],
) {
    let inputs: [_; TOKENS] =
        core::array::from_fn(|token| activations.token_codes(first_token + token));
    let mut rows = [[f32x8::ZERO; 2]; TOKENS];
    let mut quads = [[[0; GROUP_QUADS]; 2]; TOKENS];
    for (group, tile) in panel.chunks_exact(panel.len() / activations.groups()).enumerate() {
        for token in 0..TOKENS {
            quads[token] =
                pairs(&inputs[token].0[group * GROUP_COLUMNS..(group + 1) * GROUP_COLUMNS]);
        }
        for half in 0..2 {
            let scale = head(tile, half * 16);
            let minimum = head(tile, 32 + half * 16);
            let code_sums = sums::<BITS, TOKENS>(tile, half, &quads);
            for token in 0..TOKENS {
                let (_, scales, sums) = inputs[token];
                // In the order of operations that `PanelFn` fixes, and never fused.
                let scaled =
                    f32x8::from_i32x8(code_sums[token]) * f32x8::splat(scales[group]) * scale;
                rows[token][half] += scaled + f32x8::splat(sums[group]) * minimum;
            }
        }
    }
    for token in 0..TOKENS {
        let (halves, _) = out[token].as_chunks_mut();
        halves[0] = rows[token][0].to_array();
        halves[1] = rows[token][1].to_array();
    }
}

/// Sums of codes times activations for eight rows of a tile.
#[inline]
fn sums<const BITS: u32, const TOKENS: usize>(
    tile: &[u8],
    half: usize,
    inputs: &[Inputs; TOKENS],
) -> [i32x8; TOKENS] {
    // By fields of a vector of the widest plane, so that their shifts are constants.
    let fields = const { 8 / encoding(BITS).planes()[0].0 as usize };
    let vectors = GROUP_QUADS / fields;
    let mut sums = [i32x8::ZERO; TOKENS];
    for vector in 0..vectors {
        for field in 0..fields {
            let quad = vector + field * vectors;
            let [even, odd] = codes::<BITS>(tile, half, quad);
            for token in 0..TOKENS {
                let [even_inputs, odd_inputs] = &inputs[token];
                sums[token] += even.dot(in_all_lanes(even_inputs[quad]))
                    + odd.dot(in_all_lanes(odd_inputs[quad]));
            }
        }
    }
    sums
}

/// The codes of one quad of eight rows, put together from the planes.
#[inline]
fn codes<const BITS: u32>(tile: &[u8], half: usize, quad: usize) -> Codes {
    let mut codes = [i16x16::ZERO; 2];
    let mut shift = 0;
    for &(width, offset) in const { encoding(BITS).planes() } {
        let vectors = GROUP_QUADS * width as usize / 8;
        let (vector, field) = (quad % vectors, (quad / vectors) as u32 * width);
        let bytes = words(
            tile[offset + vector * VECTOR_BYTES + half * 32..]
                .first_chunk()
                .expect("within the tile"),
        );
        let mask = i16x16::splat((1 << width) - 1);
        // A word is the quad's columns 0 and 1, or 2 and 3.
        codes[0] |= ((bytes >> field) & mask) << shift;
        codes[1] |= ((bytes >> (field + 8)) & mask) << shift;
        shift += width;
    }
    codes
}

/// The encoding with codes of `bits` bits.
const fn encoding(bits: u32) -> Encoding {
    match bits {
        1 => Encoding::Q1,
        2 => Encoding::Q2,
        3 => Encoding::Q3,
        4 => Encoding::Q4,
        5 => Encoding::Q5,
        6 => Encoding::Q6,
        8 => Encoding::Q8,
        _ => panic!("no encoding has codes of so many bits"),
    }
}

/// A group of activations as words, in pairs.
#[inline]
fn pairs(codes: &[i8]) -> Inputs {
    let mut pairs = [[0; GROUP_QUADS]; 2];
    for (at, codes) in codes.as_chunks::<32>().0.iter().enumerate() {
        let bytes = words(&codes.map(i8::cast_unsigned));
        let eight: [[i32; 8]; 2] = [cast((bytes << 8) >> 8), cast(bytes >> 8)];
        pairs[0][at * 8..(at + 1) * 8].copy_from_slice(&eight[0]);
        pairs[1][at * 8..(at + 1) * 8].copy_from_slice(&eight[1]);
    }
    pairs
}

#[inline]
fn in_all_lanes(pair: i32) -> i16x16 {
    cast(i32x8::splat(pair))
}

/// Eight f16 of a tile's head.
#[inline]
fn head(tile: &[u8], at: usize) -> f32x8 {
    half_floats(tile[at..].first_chunk().expect("within the head"))
}
