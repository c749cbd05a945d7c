// Products with nested codes (`hardtack_kernels::nested`), read where they lie. A lane loads 16
// bytes of each unit of half a tile, the bits of 8 rows of 16 columns, and multiplies them with
// 16-bit integers by `dp2a`. Sums are integers, so a result does not depend on what is computed
// beside it.
//
// Lanes 4 i + 2 j + h take half h of the tile of rows 8 i to 8 i + 7 and columns 32 j to 32 j + 31:
// a warp has 64 rows and 64 columns at once.
#pragma once
#include "quantize.cuh"

#define NESTED_ROWS 64u
#define NESTED_TILE_ROWS 8u
#define NESTED_TILE_COLUMNS 32u
#define NESTED_TILE_BYTES 32u
#define NESTED_UNITS 8u
#define INPUT_MAX 32767.0f

// Codes of one matrix of one head of one chunk.
struct Nested {
  // Where the matrix begins in unit 0 of the ring.
  const u8 *base;
  // The chunk's units.
  const u32 *numbers;
  u32 unit_bytes;
  u32 bits;
  u32 columns;
};

// Which numbers codes mean in the range of their row, as shares of it
// (`hardtack_kernels::nested::Places`).
struct NestedPlaces {
  float first;
  float step;
};

DEVICE NestedPlaces places_of(u32 bits) {
  float parts = (float)(1u << bits), first = (bits == 2 ? 0.4375f : 0.375f) / parts;
  return NestedPlaces{first, (1.0f - 2.0f * first) / (parts - 1.0f)};
}

// Up to 64 rows from `first` on, of which this warp looks at columns `column` to `column + 63`.
struct NestedGroup {
  u32 first;
  u32 rows;
  u32 column;
};

// Four codes, of two rows and two columns: rows `vector / 2 * 2` and the next one of the tile side
// by side, for columns `2 * word` and the next one of the half tile, 16 further for odd vectors.
template <u32 BITS>
DEVICE u32 nested_codes(const u32 (&units)[BITS][4], u32 vector, u32 word) {
  u32 half = vector / 4, field = vector % 4 * 2;
  u32 codes = units[half][word] >> field & 0x03030303;
  if (BITS == 3) codes = codes << 1 | (units[2 % BITS][word] >> vector & 0x01010101);
  if (BITS >= 4) {
    u32 high = units[2 % BITS][word] >> vector & 0x01010101,
        low = units[3 % BITS][word] >> vector & 0x01010101;
    codes = codes << 2 | high << 1 | low;
  }
  if (BITS >= 6) codes = codes << 2 | (units[(4 + half) % BITS][word] >> field & 0x03030303);
  if (BITS == 8) codes = codes << 2 | (units[(6 + half) % BITS][word] >> field & 0x03030303);
  return codes;
}

// This lane's words of every unit, or none where the group has no such tile.
template <u32 BITS>
DEVICE bool load_nested(const Nested &codes, const NestedGroup &group, u32 (&units)[BITS][4]) {
  u32 lane = threadIdx.x % WARP, tile_row = lane / 4,
      tile_column = group.column / NESTED_TILE_COLUMNS + lane / 2 % 2;
  u32 tile_rows = group.rows / NESTED_TILE_ROWS;
  if (tile_row >= tile_rows || tile_column * NESTED_TILE_COLUMNS >= codes.columns) return false;
  u32 before = group.first / NESTED_TILE_ROWS * (codes.columns / NESTED_TILE_COLUMNS);
  u32 at = (before + tile_column * tile_rows + tile_row) * NESTED_TILE_BYTES + lane % 2 * 16;
  UNROLL
  for (u32 unit = 0; unit < BITS; unit++) {
    uint4 words = load_constant(codes.base + (u64)codes.numbers[unit] * codes.unit_bytes + at);
    units[unit][0] = words.x, units[unit][1] = words.y, units[unit][2] = words.z,
    units[unit][3] = words.w;
  }
  return true;
}

template <u32 BITS, u32 Q>
DEVICE void row_sums(const Nested &codes, const NestedGroup &group, const u32 (&pairs)[Q][4],
                     int (&sums)[Q][16]) {
  u32 units[BITS][4];
  if (!load_nested<BITS>(codes, group, units)) return;
  UNROLL
  for (u32 word = 0; word < 4; word++) {
    UNROLL
    for (u32 vector = 0; vector < 8; vector++) {
      u32 four = nested_codes<BITS>(units, vector, word), at = vector % 2 * 8 + 2 * word;
      UNROLL
      for (u32 query = 0; query < Q; query++) {
        sums[query][at] = dot2_low(pairs[query][vector / 2], four, sums[query][at]);
        sums[query][at + 1] = dot2_high(pairs[query][vector / 2], four, sums[query][at + 1]);
      }
    }
  }
}

template <u32 BITS, u32 Q>
DEVICE void column_sums(const Nested &codes, const NestedGroup &group, const u32 (&pairs)[Q][8],
                        int (&sums)[Q][8]) {
  u32 units[BITS][4];
  if (!load_nested<BITS>(codes, group, units)) return;
  UNROLL
  for (u32 word = 0; word < 4; word++) {
    UNROLL
    for (u32 vector = 0; vector < 8; vector++) {
      // Two columns of a row side by side.
      u32 four = __byte_perm(nested_codes<BITS>(units, vector, word), 0, 0x3120),
          at = vector / 2 * 2;
      UNROLL
      for (u32 query = 0; query < Q; query++) {
        u32 pair = pairs[query][vector % 2 * 4 + word];
        sums[query][at] = dot2_low(pair, four, sums[query][at]);
        sums[query][at + 1] = dot2_high(pair, four, sums[query][at + 1]);
      }
    }
  }
}

// Adds the upper or the lower half of `2 * HALF` sums to those of the lane that differs in `mask`,
// and keeps that half.
template <u32 HALF, u32 COUNT>
DEVICE void share_sums(int (&sums)[COUNT], u32 mask) {
  bool upper = (threadIdx.x & mask) != 0;
  UNROLL
  for (u32 index = 0; index < HALF; index++) {
    int given = upper ? sums[index] : sums[index + HALF],
        kept = upper ? sums[index + HALF] : sums[index];
    sums[index] = kept + __shfl_xor_sync(ALL_LANES, given, mask);
  }
}

// The first of the two columns, of 64, whose sums `code_rows` leaves in this lane.
DEVICE u32 lane_column() {
  u32 lane = threadIdx.x;
  return lane / 2 % 2 * 32 + lane / 16 % 2 * 16 + lane % 2 * 8 + lane / 8 % 2 * 4 +
         lane / 4 % 2 * 2;
}

// The first of the two rows, of 64, whose sums `code_columns` leaves in this lane.
DEVICE u32 lane_row() {
  return threadIdx.x % WARP / 4 * 8 + threadIdx.x / 2 % 2 * 4 + threadIdx.x % 2 * 2;
}

// `out[query] = sum over rows of input[row] * code[row][column]` for columns `lane_column()` and
// the next one; `pairs` are this lane's two rows' inputs.
template <u32 Q>
DEVICE void code_rows(const Nested &codes, const NestedGroup &group, const u32 (&pairs)[Q],
                      int (&out)[Q][2]) {
  u32 own[Q][4];
  int sums[Q][16];
  UNROLL
  for (u32 query = 0; query < Q; query++) {
    UNROLL
    for (u32 index = 0; index < 4; index++) {
      own[query][index] = __shfl_sync(ALL_LANES, pairs[query], threadIdx.x % WARP / 4 * 4 + index);
    }
    UNROLL
    for (u32 index = 0; index < 16; index++) sums[query][index] = 0;
  }
  switch (codes.bits) {
    case 2:
      row_sums<2, Q>(codes, group, own, sums);
      break;
    case 3:
      row_sums<3, Q>(codes, group, own, sums);
      break;
    case 4:
      row_sums<4, Q>(codes, group, own, sums);
      break;
    case 6:
      row_sums<6, Q>(codes, group, own, sums);
      break;
    default:
      row_sums<8, Q>(codes, group, own, sums);
      break;
  }
  UNROLL
  for (u32 query = 0; query < Q; query++) {
    share_sums<8>(sums[query], 16);
    share_sums<4>(sums[query], 8);
    share_sums<2>(sums[query], 4);
    out[query][0] = sums[query][0], out[query][1] = sums[query][1];
  }
}

// `out[query] = sum over columns of input[column] * code[row][column]` for rows `lane_row()` and
// the next one of the group; `pairs` are this lane's two columns' inputs.
template <u32 Q>
DEVICE void code_columns(const Nested &codes, const NestedGroup &group, const u32 (&pairs)[Q],
                         int (&out)[Q][2]) {
  u32 own[Q][8];
  int sums[Q][8];
  u32 first = threadIdx.x / 2 % 2 * 16 + threadIdx.x % 2 * 4;
  UNROLL
  for (u32 query = 0; query < Q; query++) {
    UNROLL
    for (u32 index = 0; index < 4; index++) {
      own[query][index] = __shfl_sync(ALL_LANES, pairs[query], first + index);
      own[query][index + 4] = __shfl_sync(ALL_LANES, pairs[query], first + index + 8);
    }
    UNROLL
    for (u32 index = 0; index < 8; index++) sums[query][index] = 0;
  }
  switch (codes.bits) {
    case 2:
      column_sums<2, Q>(codes, group, own, sums);
      break;
    case 3:
      column_sums<3, Q>(codes, group, own, sums);
      break;
    case 4:
      column_sums<4, Q>(codes, group, own, sums);
      break;
    case 6:
      column_sums<6, Q>(codes, group, own, sums);
      break;
    default:
      column_sums<8, Q>(codes, group, own, sums);
      break;
  }
  UNROLL
  for (u32 query = 0; query < Q; query++) {
    share_sums<4>(sums[query], 2);
    share_sums<2>(sums[query], 1);
    out[query][0] = sums[query][0], out[query][1] = sums[query][1];
  }
}

// Two of a warp's 64 inputs as integers side by side: `input = code * scale`.
DEVICE u32 fold_pair(float first, float second, float &scale) {
  float largest = warp_max(fmaxf(fabsf(first), fabsf(second)));
  float inverse = largest < ACTIVATION_MIN ? 0.0f : INPUT_MAX / largest;
  scale = largest < ACTIVATION_MIN ? 0.0f : largest / INPUT_MAX;
  return ((u32)to_code(first * inverse) & 0xffff) | (u32)to_code(second * inverse) << 16;
}
