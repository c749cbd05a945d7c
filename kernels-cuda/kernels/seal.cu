// Sealing: a full chunk's f16 into nested codes, exactly as `hardtack_kernels::nested`
// quantizes and packs them.
#include "ring.cuh"

#define SEAL_THREADS 256u
// Threads that share a row.
#define SEAL_SHARE (SEAL_THREADS / NESTED_ROWS)

struct SealParams {
  // `[slots]`, each the two matrices `[heads, 64, width]`.
  const u16 *halves;
  // `[units]`
  u8 *units;
  // `[chunks, heads]`, each the two matrices' `[2, rows]`.
  u16 *scales;
  RingShape shape;
  u32 entry;
  u32 unused;
  // Of every part.
  u32 bits[2];
  u32 numbers[2][NESTED_UNITS];
};

// A number of a matrix: row and column of its codes.
DEVICE float number_at(const RingMatrix &matrix, const u16 *halves, u32 row, u32 column) {
  return half_to_float(
      halves[matrix.by_token ? row * matrix.width + column : column * matrix.width + row]);
}

// The bits of eight codes that lie in a byte of a unit, vector by vector.
DEVICE u8 unit_byte(const u32 (&codes)[8], u32 unit) {
  u32 byte = 0;
  if (unit == 2 || unit == 3) {
    UNROLL
    for (u32 vector = 0; vector < 8; vector++) byte |= (codes[vector] >> (7 - unit) & 1) << vector;
    return (u8)byte;
  }
  u32 shift = unit < 2 ? 6 : unit < 6 ? 2 : 0;
  UNROLL
  for (u32 vector = 0; vector < 4; vector++) {
    u32 code = unit % 2 == 0 ? codes[vector] : codes[vector + 4];
    byte |= (code >> shift & 3) << 2 * vector;
  }
  return (u8)byte;
}

// Grid: [heads, matrices, groups of 64 rows of the larger one].
KERNEL seal(SealParams params) {
  SHARED float lows[SEAL_SHARE][NESTED_ROWS], highs[SEAL_SHARE][NESTED_ROWS];
  SHARED float least[NESTED_ROWS], steps[NESTED_ROWS];
  const RingMatrix &matrix = params.shape.matrices[blockIdx.y];
  u32 head = blockIdx.x, first = blockIdx.z * NESTED_ROWS;
  if (first >= matrix.rows) return;
  u32 count = matrix.rows - first < NESTED_ROWS ? matrix.rows - first : NESTED_ROWS;
  u32 rows_used = matrix.by_token ? CHUNK_TOKENS : matrix.width,
      columns_used = matrix.by_token ? matrix.width : CHUNK_TOKENS;
  const u16 *halves = params.halves + params.shape.open_start + matrix.halves +
                      (u64)head * matrix.width * CHUNK_TOKENS;

  u32 own = threadIdx.x % NESTED_ROWS, share = threadIdx.x / NESTED_ROWS;
  float low = -NEGATIVE_INFINITY, high = NEGATIVE_INFINITY;
  if (first + own < rows_used) {
    for (u32 column = share; column < columns_used; column += SEAL_SHARE) {
      float value = number_at(matrix, halves, first + own, column);
      low = fminf(low, value);
      high = fmaxf(high, value);
    }
  }
  lows[share][own] = low, highs[share][own] = high;
  __syncthreads();
  if (share == 0 && own < count) {
    UNROLL
    for (u32 other = 1; other < SEAL_SHARE; other++) {
      low = fminf(low, lows[other][own]);
      high = fmaxf(high, highs[other][own]);
    }
    bool used = first + own < rows_used;
    u16 range = used ? float_to_half(high - low) : 0;
    // The largest f16, where the range is larger.
    if ((range & 0x7fff) >= 0x7c00) range = 0x7bff;
    least[own] = low;
    steps[own] = range > 0 ? 256.0f / half_to_float(range) : 0.0f;
    u16 *scales =
        params.scales + scales_of(params.shape, params.entry, blockIdx.y, head) + first + own;
    scales[0] = used ? float_to_half(low) : 0;
    scales[matrix.rows] = range;
  }
  __syncthreads();

  u32 tile_rows = count / NESTED_TILE_ROWS,
      tiles = tile_rows * (matrix.columns / NESTED_TILE_COLUMNS);
  u64 to = (u64)head * matrix.head_bytes + matrix.start + first / NESTED_TILE_ROWS * matrix.columns;
  for (u32 at = threadIdx.x; at < tiles * NESTED_TILE_BYTES; at += blockDim.x) {
    u32 tile = at / NESTED_TILE_BYTES, byte = at % NESTED_TILE_BYTES;
    u32 codes[8];
    UNROLL
    for (u32 vector = 0; vector < 8; vector++) {
      u32 row = tile % tile_rows * NESTED_TILE_ROWS + vector / 2 * 2 + byte % 2;
      u32 column = tile / tile_rows * NESTED_TILE_COLUMNS + vector % 2 * 16 + byte / 2;
      codes[vector] = 0;
      if (first + row < rows_used && column < columns_used) {
        float value = number_at(matrix, halves, first + row, column);
        codes[vector] = (u32)fminf(fmaxf((value - least[row]) * steps[row], 0.0f), 255.0f);
      }
    }
    for (u32 unit = 0; unit < params.bits[matrix.part]; unit++) {
      u64 start = (u64)params.numbers[matrix.part][unit] * params.shape.unit_bytes;
      params.units[start + to + at] = unit_byte(codes, unit);
    }
  }
}
