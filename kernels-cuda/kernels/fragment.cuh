// A panel times many rows of inputs, by one warp: on tensor cores where the architecture has them.
//
// A lane keeps the results of the rows `lane / 4` and 8 more, for the tokens `2 * (lane % 4)` and 1
// more of every eight: the layout of the accumulators of `mma.m16n8k32`. The integers are exact
// either way, and the floats are added group by group in the order of all tiers, so a token's
// result is that of `run_teams`, to the bit.
#pragma once
#include "tile.cuh"

// Tokens of a tensor core's product, and how many of those a warp keeps at once.
#define EIGHT 8u
#define EIGHTS 4u
#define WARP_TOKENS (EIGHT * EIGHTS)

// Results `[eight][which]`: which 0 and 1 are row `lane / 4`, 2 and 3 the row 8 below, each for two
// tokens.
struct Fragment {
  float values[EIGHTS][4];
};

// A token among the eight, and a row of the panel, of which this lane keeps result `which`.
DEVICE u32 fragment_token(u32 which) { return threadIdx.x % 4 * 2 + which % 2; }
DEVICE u32 fragment_row(u32 which) { return threadIdx.x % WARP / 4 + which / 2 * EIGHT; }

DEVICE u32 plane_word(const u8 *plane, u32 vector, u32 row) {
  return *(const u32 *)(plane + vector * VECTOR + row * 4);
}

// The codes of one row and quad.
template <u32 BITS>
DEVICE u32 codes_of(const u8 *tile, u32 row, u32 quad) {
  typedef Planes<BITS> P;
  u32 wide = plane_word(tile + HEAD, quad % P::wide_vectors, row), narrow = 0;
  if (P::narrow > 0)
    narrow = plane_word(tile + HEAD + P::wide_vectors * VECTOR, quad % P::narrow_vectors, row);
  return quad_codes<BITS>(wide, narrow, quad);
}

#if TENSOR_CORES
// Which columns make up a product does not matter as long as both sides agree: a lane takes every
// fourth quad.
template <u32 BITS, class RowOf>
DEVICE void fragment_sums(const u8 *tile, const i8 *activations, u64 row_bytes, u32 tokens,
                          RowOf row_of, int (&sums)[EIGHTS][4]) {
  u32 lane = threadIdx.x % WARP, quad = lane % 4, row = lane / 4;
  UNROLL
  for (u32 half = 0; half < 2; half++) {
    u32 low = quad + half * 8, high = low + 4;
    u32 codes[4] = {codes_of<BITS>(tile, row, low), codes_of<BITS>(tile, row + EIGHT, low),
                    codes_of<BITS>(tile, row, high), codes_of<BITS>(tile, row + EIGHT, high)};
    UNROLL
    for (u32 eight = 0; eight < EIGHTS; eight++) {
      if (eight * EIGHT >= tokens) continue;
      const u32 *words = (const u32 *)(activations + row_of(eight * EIGHT + row) * row_bytes);
      multiply_16_8_32(sums[eight], codes, words[low], words[high]);
    }
  }
}
#else
template <u32 BITS, class RowOf>
DEVICE void fragment_sums(const u8 *tile, const i8 *activations, u64 row_bytes, u32 tokens,
                          RowOf row_of, int (&sums)[EIGHTS][4]) {
  u32 row = fragment_row(0);
  _Pragma("unroll 4") for (u32 quad = 0; quad < GROUP / 4; quad++) {
    u32 above = codes_of<BITS>(tile, row, quad), below = codes_of<BITS>(tile, row + EIGHT, quad);
    UNROLL
    for (u32 eight = 0; eight < EIGHTS; eight++) {
      if (eight * EIGHT >= tokens) continue;
      UNROLL
      for (u32 which = 0; which < 2; which++) {
        u64 input = row_of(eight * EIGHT + fragment_token(which));
        int words = (int)((const u32 *)(activations + input * row_bytes))[quad];
        sums[eight][which] = dot4(above, words, sums[eight][which]);
        sums[eight][which + 2] = dot4(below, words, sums[eight][which + 2]);
      }
    }
  }
}
#endif

template <u32 BITS, class RowOf>
DEVICE void add_codes(const u8 *tile, u32 group, u32 groups, const Inputs &inputs, u32 tokens,
                      RowOf row_of, Fragment &out) {
  int sums[EIGHTS][4] = {};
  fragment_sums<BITS>(tile, inputs.codes + group * GROUP, (u64)groups * GROUP, tokens, row_of,
                      sums);
  float scales[2] = {scale_of(tile, fragment_row(0)), scale_of(tile, fragment_row(2))};
  float minima[2] = {minimum_of(tile, fragment_row(0)), minimum_of(tile, fragment_row(2))};
  UNROLL
  for (u32 eight = 0; eight < EIGHTS; eight++) {
    if (eight * EIGHT >= tokens) continue;
    UNROLL
    for (u32 which = 0; which < 4; which++) {
      u64 at = row_of(eight * EIGHT + fragment_token(which)) * groups + group;
      out.values[eight][which] +=
          (float)sums[eight][which] * inputs.scales[at] * scales[which / 2] +
          inputs.sums[at] * minima[which / 2];
    }
  }
}

template <class RowOf>
DEVICE void add_floats(u32 encoding, const u8 *panel, u32 columns, u32 first, const Inputs &inputs,
                       u32 tokens, RowOf row_of, Fragment &out) {
  u32 end = first + GROUP < columns ? first + GROUP : columns;
  Fragment sums = {};
  for (u32 column = first; column < end; column++) {
    float above = float_at(panel, encoding, (u64)column * ROWS + fragment_row(0));
    float below = float_at(panel, encoding, (u64)column * ROWS + fragment_row(2));
    UNROLL
    for (u32 eight = 0; eight < EIGHTS; eight++) {
      if (eight * EIGHT >= tokens) continue;
      UNROLL
      for (u32 which = 0; which < 4; which++) {
        float input =
            inputs.floats[row_of(eight * EIGHT + fragment_token(which)) * columns + column];
        sums.values[eight][which] =
            fmaf(which < 2 ? above : below, input, sums.values[eight][which]);
      }
    }
  }
  UNROLL
  for (u32 eight = 0; eight < EIGHTS; eight++) {
    UNROLL
    for (u32 which = 0; which < 4; which++) out.values[eight][which] += sums.values[eight][which];
  }
}

// One panel times `tokens` rows, at most WARP_TOKENS. `row_of(token)` is the token's row of the
// inputs; it is called for tokens up to the next eight, and what it returns for those after the
// last must be a row that is there.
template <class RowOf>
DEVICE Fragment multiply_panel(u32 encoding, const u8 *panel, u32 columns, const Inputs &inputs,
                               u32 tokens, RowOf row_of) {
  Fragment out = {};
  u32 groups = ceil_div(columns, GROUP);
  for (u32 group = 0; group < groups; group++) {
    if (encoding <= CODES) {
      add_floats(encoding, panel, columns, group * GROUP, inputs, tokens, row_of, out);
      continue;
    }
    const u8 *tile = panel + (u64)group * group_bytes(encoding);
    switch (encoding - CODES) {
      case 1:
        add_codes<1>(tile, group, groups, inputs, tokens, row_of, out);
        break;
      case 2:
        add_codes<2>(tile, group, groups, inputs, tokens, row_of, out);
        break;
      case 3:
        add_codes<3>(tile, group, groups, inputs, tokens, row_of, out);
        break;
      case 4:
        add_codes<4>(tile, group, groups, inputs, tokens, row_of, out);
        break;
      case 5:
        add_codes<5>(tile, group, groups, inputs, tokens, row_of, out);
        break;
      case 6:
        add_codes<6>(tile, group, groups, inputs, tokens, row_of, out);
        break;
      default:
        add_codes<8>(tile, group, groups, inputs, tokens, row_of, out);
        break;
    }
  }
  return out;
}
