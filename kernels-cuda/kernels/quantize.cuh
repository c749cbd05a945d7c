// Activations to int8 codes in groups of 64, by a warp, exactly as `scalar::quantize` does it.
#pragma once
#include "device.cuh"

// Columns of a group and of a tile.
#define GROUP 64u
// A group whose largest magnitude is below this counts as zero.
#define ACTIVATION_MIN 1e-30f

// Inputs of a matrix: rows of floats, and their codes `[rows, groups * 64]`, scales and sums
// `[rows, groups]`.
struct Inputs {
  float *floats;
  i8 *codes;
  float *scales;
  float *sums;
};

DEVICE int to_code(float value) { return (int)round_even(value); }

// Quantizes one group: this lane's values are those of columns `2 * lane` and `2 * lane + 1`, zero
// after the last column.
DEVICE void quantize_group(float first, float second, i8 *codes, float *scale, float *sum) {
  float largest = warp_max(fmaxf(fabsf(first), fabsf(second)));
  float inverse = largest < ACTIVATION_MIN ? 0.0f : 127.0f / largest;
  float own_scale = largest < ACTIVATION_MIN ? 0.0f : largest / 127.0f;
  int low = to_code(first * inverse), high = to_code(second * inverse);
  u32 lane = threadIdx.x % WARP;
  ((u16 *)codes)[lane] = (u16)((low & 0xff) | (high & 0xff) << 8);
  int total = warp_sum((int)(i8)low + (int)(i8)high);
  if (lane == 0) {
    *scale = own_scale;
    *sum = (float)total * own_scale;
  }
}

// Quantizes one row of `columns` floats with all warps of a block.
DEVICE void quantize_row(const Inputs &inputs, u32 row, u32 columns) {
  u32 groups = ceil_div(columns, GROUP), lane = threadIdx.x % WARP;
  const float *floats = inputs.floats + (u64)row * columns;
  for (u32 group = threadIdx.x / WARP; group < groups; group += blockDim.x / WARP) {
    u32 column = group * GROUP + 2 * lane;
    float first = column < columns ? floats[column] : 0.0f;
    float second = column + 1 < columns ? floats[column + 1] : 0.0f;
    u64 at = (u64)row * groups + group;
    quantize_group(first, second, inputs.codes + at * GROUP, inputs.scales + at, inputs.sums + at);
  }
}
