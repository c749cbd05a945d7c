// What lies between an expert's projections, and how an expert and its choice look in memory.
#pragma once
#include "tile.cuh"

// Weights of one expert; biases may be absent.
struct Expert {
  Matrix gated;
  Matrix up;
  Matrix down;
  const float *gated_bias;
  const float *up_bias;
  const float *down_bias;
};

// An expert of a token, and what its output is multiplied by.
struct Choice {
  u32 expert;
  float weight;
};

#define SILU 1u
#define CLAMPED_SWIGLU 2u

// Which function joins both projections, numbered as in the format.
struct Activation {
  u32 kind;
  float alpha;
  float limit;
  u32 unused;
};

DEVICE float activate(const Activation &activation, float gated, float up) {
  if (activation.kind == SILU) return gated * sigmoid(gated) * up;
  gated = fminf(gated, activation.limit);
  up = up < -activation.limit ? -activation.limit : up > activation.limit ? activation.limit : up;
  return gated * sigmoid(activation.alpha * gated) * (up + 1.0f);
}

// Joins and quantizes one group of 64 elements with one warp: `gated` and `up` are the group's
// projections without bias, `group` its number in row `row` of the `inner` elements of `out`.
DEVICE void activate_group(const Expert &expert, const Activation &activation, const float *gated,
                           const float *up, u32 inner, u32 group, const Inputs &out, u32 row) {
  u32 lane = threadIdx.x % WARP;
  float values[2] = {0.0f, 0.0f};
  UNROLL
  for (u32 each = 0; each < 2; each++) {
    u32 own = 2 * lane + each, column = group * GROUP + own;
    if (column >= inner) continue;
    float own_gated = gated[own], own_up = up[own];
    if (expert.gated_bias) own_gated += expert.gated_bias[column];
    if (expert.up_bias) own_up += expert.up_bias[column];
    values[each] = activate(activation, own_gated, own_up);
    out.floats[(u64)row * inner + column] = values[each];
  }
  u64 at = (u64)row * ceil_div(inner, GROUP) + group;
  quantize_group(values[0], values[1], out.codes + at * GROUP, out.scales + at, out.sums + at);
}
