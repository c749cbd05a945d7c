// Tiles of 16 rows by 64 columns straight from the blob, in every encoding (format/SPEC.md,
// "Encodings").
#pragma once
#include "quantize.cuh"

// Rows of a panel and of a tile.
#define ROWS 16u
// Bytes of a plane's vector: 16 rows of four columns.
#define VECTOR 64u
// Bytes of a tile's scales and minima.
#define HEAD 64u

// A matrix where it lies: its first panel, and the number of its encoding in the format.
struct Matrix {
  const u8 *panels;
  u32 encoding;
  u32 unused;
};

#define F32 1u
#define F16 2u
#define BF16 3u
// Integer encodings are numbered 16 more than they have bits.
#define CODES 16u

// Bytes of a group of 64 columns of a panel. Float panels have no padding, so their last group may
// be shorter.
DEVICE u32 group_bytes(u32 encoding) {
  return encoding > CODES  ? HEAD + (encoding - CODES) * 128u
         : encoding == F32 ? ROWS * GROUP * 4u
                           : ROWS * GROUP * 2u;
}

DEVICE u64 panel_bytes(u32 encoding, u32 columns) {
  if (encoding > CODES) return (u64)ceil_div(columns, GROUP) * group_bytes(encoding);
  return (u64)columns * ROWS * (encoding == F32 ? 4u : 2u);
}

DEVICE float scale_of(const u8 *tile, u32 row) { return half_to_float(((const u16 *)tile)[row]); }
DEVICE float minimum_of(const u8 *tile, u32 row) {
  return half_to_float(((const u16 *)tile)[ROWS + row]);
}

// Code of one row and column, for looking up single rows.
DEVICE u32 code_at(const u8 *tile, u32 bits, u32 row, u32 column) {
  u32 code = 0, shift = 0, offset = HEAD, quad = column / 4;
  // The widest plane comes first: the largest power of two in what is left.
  for (u32 left = bits; left > 0;) {
    u32 width = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
    u32 vectors = 2 * width;
    u32 byte = tile[offset + quad % vectors * VECTOR + row * 4 + column % 4];
    code |= (byte >> (quad / vectors * width) & ((1u << width) - 1)) << shift;
    shift += width;
    offset += vectors * VECTOR;
    left -= width;
  }
  return code;
}

// Bits of the widest plane and of the one above it.
template <u32 BITS>
struct Planes {
  static const u32 wide = BITS >= 8 ? 8 : BITS >= 4 ? 4 : BITS >= 2 ? 2 : 1;
  static const u32 narrow = BITS - wide;
  static const u32 wide_vectors = 2 * wide;
  static const u32 narrow_vectors = narrow > 0 ? 2 * narrow : 1;
  static const u32 wide_mask = (0xffu >> (8 - wide)) * 0x01010101u;
  static const u32 narrow_mask = ((1u << narrow) - 1) * 0x01010101u;
};

// The four codes of one quad of one row, from the words of that row in the wide and the narrow
// plane.
template <u32 BITS>
DEVICE u32 quad_codes(u32 wide, u32 narrow, u32 quad) {
  typedef Planes<BITS> P;
  u32 codes = wide >> (quad / P::wide_vectors * P::wide) & P::wide_mask;
  if (P::narrow > 0)
    codes |= (narrow >> (quad / P::narrow_vectors * P::narrow) & P::narrow_mask) << P::wide;
  return codes;
}

DEVICE u32 word_of(const uint4 &words, u32 index) {
  return index == 0 ? words.x : index == 1 ? words.y : index == 2 ? words.z : words.w;
}

// Products of one tile's rows `4 * quarter + 0..4` with 64 activation codes, each row's in its own
// sum.
template <u32 BITS>
DEVICE void tile_sums(const u8 *tile, u32 quarter, const i8 *activations, int (&sums)[4]) {
  typedef Planes<BITS> P;
  const u8 *rows = tile + HEAD + quarter * 16;
  uint4 narrow[P::narrow_vectors];
  UNROLL
  for (u32 vector = 0; vector < P::narrow_vectors; vector++) {
    narrow[vector] = P::narrow > 0 ? load_constant(rows + (P::wide_vectors + vector) * VECTOR)
                                   : make_uint4(0, 0, 0, 0);
  }
  // At most eight vectors at once: more registers would cost more than more loads in flight give.
  const u32 AT_ONCE = P::wide_vectors < 8 ? P::wide_vectors : 8;
  UNROLL
  for (u32 start = 0; start < P::wide_vectors; start += AT_ONCE) {
    uint4 wide[AT_ONCE];
    UNROLL
    for (u32 vector = 0; vector < AT_ONCE; vector++)
      wide[vector] = load_constant(rows + (start + vector) * VECTOR);
    UNROLL
    for (u32 four = 0; four < 4; four++) {
      // Quads whose words are all in other vectors are left to their turn.
      if (P::wide_vectors > AT_ONCE && four * 4 / AT_ONCE != start / AT_ONCE) continue;
      uint4 inputs = load_constant(activations + four * 16);
      UNROLL
      for (u32 each = 0; each < 4; each++) {
        u32 quad = four * 4 + each;
        u32 from = quad % P::wide_vectors - start;
        UNROLL
        for (u32 row = 0; row < 4; row++) {
          u32 codes = quad_codes<BITS>(word_of(wide[from], row),
                                       word_of(narrow[quad % P::narrow_vectors], row), quad);
          sums[row] = dot4(codes, (int)word_of(inputs, each), sums[row]);
        }
      }
    }
  }
}

// What a group adds to each of four rows: `(code_sum * activation_scale) * scale + activation_sum *
// minimum`.
template <u32 BITS>
DEVICE float4 tile_terms(const u8 *tile, u32 quarter, const i8 *activations, float activation_scale,
                         float activation_sum) {
  int sums[4] = {0, 0, 0, 0};
  uint2 scales = *(const uint2 *)(tile + quarter * 8);
  uint2 minima = *(const uint2 *)(tile + 2 * ROWS + quarter * 8);
  tile_sums<BITS>(tile, quarter, activations, sums);
  float terms[4];
  UNROLL
  for (u32 row = 0; row < 4; row++) {
    float scale = half_to_float((u16)((row < 2 ? scales.x : scales.y) >> row % 2 * 16));
    float minimum = half_to_float((u16)((row < 2 ? minima.x : minima.y) >> row % 2 * 16));
    terms[row] = (float)sums[row] * activation_scale * scale + activation_sum * minimum;
  }
  return make_float4(terms[0], terms[1], terms[2], terms[3]);
}

DEVICE float float_at(const u8 *panel, u32 encoding, u64 index) {
  if (encoding == F32) return ((const float *)panel)[index];
  u16 bits = ((const u16 *)panel)[index];
  return encoding == F16 ? half_to_float(bits) : __int_as_float((int)((u32)bits << 16));
}

// Four rows of one column of floats.
template <u32 ENCODING>
DEVICE float4 float_rows(const u8 *panel, u32 column, u32 quarter) {
  u64 at = (u64)column * ROWS + quarter * 4;
  if (ENCODING == F32) return __ldg((const float4 *)panel + at / 4);
  uint2 both = __ldg((const uint2 *)panel + at / 4);
  if (ENCODING == BF16) {
    return make_float4(
        __int_as_float((int)(both.x << 16)), __int_as_float((int)(both.x & 0xffff0000u)),
        __int_as_float((int)(both.y << 16)), __int_as_float((int)(both.y & 0xffff0000u)));
  }
  return make_float4(half_to_float((u16)both.x), half_to_float((u16)(both.x >> 16)),
                     half_to_float((u16)both.y), half_to_float((u16)(both.y >> 16)));
}

// What a group of columns `first .. end` adds to each of four rows of a panel of floats: column by
// column.
template <u32 ENCODING>
DEVICE float4 float_terms(const u8 *panel, u32 first, u32 end, u32 quarter,
                          const float *activations) {
  float4 sums = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  _Pragma("unroll 8") for (u32 column = first; column < end; column++) {
    float4 weights = float_rows<ENCODING>(panel, column, quarter);
    float input = activations[column];
    sums.x = fmaf(weights.x, input, sums.x);
    sums.y = fmaf(weights.y, input, sums.y);
    sums.z = fmaf(weights.z, input, sums.z);
    sums.w = fmaf(weights.w, input, sums.w);
  }
  return sums;
}

// What group `group` of a panel adds to its rows `4 * quarter + 0..4` for one row of inputs.
DEVICE float4 group_terms(u32 encoding, const u8 *panel, u32 columns, u32 group, u32 quarter,
                          const Inputs &inputs, u32 row) {
  u32 first = group * GROUP;
  if (encoding <= CODES) {
    const float *floats = inputs.floats + (u64)row * columns;
    u32 end = first + GROUP < columns ? first + GROUP : columns;
    if (encoding == F32) return float_terms<F32>(panel, first, end, quarter, floats);
    if (encoding == F16) return float_terms<F16>(panel, first, end, quarter, floats);
    return float_terms<BF16>(panel, first, end, quarter, floats);
  }
  u64 at = (u64)row * ceil_div(columns, GROUP) + group;
  const u8 *tile = panel + (u64)group * group_bytes(encoding);
  const i8 *codes = inputs.codes + at * GROUP;
  float scale = inputs.scales[at], sum = inputs.sums[at];
  switch (encoding - CODES) {
    case 1:
      return tile_terms<1>(tile, quarter, codes, scale, sum);
    case 2:
      return tile_terms<2>(tile, quarter, codes, scale, sum);
    case 3:
      return tile_terms<3>(tile, quarter, codes, scale, sum);
    case 4:
      return tile_terms<4>(tile, quarter, codes, scale, sum);
    case 5:
      return tile_terms<5>(tile, quarter, codes, scale, sum);
    case 6:
      return tile_terms<6>(tile, quarter, codes, scale, sum);
    default:
      return tile_terms<8>(tile, quarter, codes, scale, sum);
  }
}
