// Values of one chunk of a ring by their weights, by a warp: of f16, or of codes that
// tokens or channels scale.
#pragma once
#include "ring_block.cuh"

// `part = sum over tokens of weight * value` of this warp's chunk of f16.
template <u32 Q>
DEVICE void gather_halves(const RingAttentionParams &params, const Queries &queries, u32 start,
                          const float *weights, float *part) {
  u32 width = params.value_width, matrix = params.shape.matrices[1].by_token ? 1 : 0;
  const u16 *values = halves_of(params.shape, params.halves, start, matrix, queries.kv_head);
  u32 last = seen_by(params, queries, queries.count - 1, start).to, pair = width % 2 == 0 ? 2 : 1;
  for (u32 column = pair * (threadIdx.x % WARP); column < width; column += pair * WARP) {
    float sums[Q][2];
    UNROLL
    for (u32 query = 0; query < Q; query++) sums[query][0] = sums[query][1] = 0.0f;
    _Pragma("unroll 4") for (u32 token = 0; token < last; token++) {
      const u16 *at = values + token * width + column;
      u32 both = pair == 2 ? *(const u32 *)at : *at;
      float low = half_to_float((u16)both), high = half_to_float((u16)(both >> 16));
      UNROLL
      for (u32 query = 0; query < Q; query++) {
        float weight = weights[query * SPAN_TOKENS + token];
        // What a query does not see must not touch its result, whatever it is.
        sums[query][0] = fmaf(weight, weight == 0.0f ? 0.0f : low, sums[query][0]);
        sums[query][1] = fmaf(weight, weight == 0.0f ? 0.0f : high, sums[query][1]);
      }
    }
    UNROLL
    for (u32 query = 0; query < Q; query++) {
      part[query * width + column] = sums[query][0];
      if (pair == 2) part[query * width + column + 1] = sums[query][1];
    }
  }
}

// The same of a sealed chunk's codes, whose tokens' ranges are folded into the weights.
template <u32 Q>
DEVICE void gather_tokens(const RingAttentionParams &params, const Queries &queries,
                          const u32 *place, const float *weights, float *part) {
  u32 own = 2 * (threadIdx.x % WARP), width = params.value_width;
  Nested codes = nested_of(params.shape, params.units, place, 1, queries.kv_head);
  const u16 *scales = params.scales + scales_of(params.shape, entry_of(place), 1, queries.kv_head);
  float2 lowest = scale_pair(scales, own, CHUNK_TOKENS),
         ranges = scale_pair(scales + CHUNK_TOKENS, own, CHUNK_TOKENS);
  NestedPlaces places = places_of(codes.bits);
  u32 pairs[Q];
  float offsets[Q], factors[Q];
  UNROLL
  for (u32 query = 0; query < Q; query++) {
    float a = weights[query * SPAN_TOKENS + own], b = weights[query * SPAN_TOKENS + own + 1];
    float low = a * ranges.x, high = b * ranges.y;
    offsets[query] = warp_sum(a * lowest.x + b * lowest.y + places.first * (low + high));
    pairs[query] = fold_pair(low, high, factors[query]);
    factors[query] *= places.step;
  }
  for (u32 column = 0; column < codes.columns; column += 2 * NESTED_TILE_COLUMNS) {
    int products[Q][2];
    code_rows<Q>(codes, NestedGroup{0, CHUNK_TOKENS, column}, pairs, products);
    u32 to = column + lane_column();
    UNROLL
    for (u32 query = 0; query < Q; query++) {
      UNROLL
      for (u32 each = 0; each < 2; each++) {
        if (to + each < width)
          part[query * width + to + each] =
              offsets[query] + (float)products[query][each] * factors[query];
      }
    }
  }
}

// The same where channels have ranges, which are applied to the sums.
template <u32 Q>
DEVICE void gather_channels(const RingAttentionParams &params, const Queries &queries,
                            const u32 *place, const float *weights, float *part) {
  u32 own = 2 * (threadIdx.x % WARP), width = params.value_width,
      rows = params.shape.matrices[0].rows;
  Nested codes = nested_of(params.shape, params.units, place, 0, queries.kv_head);
  const u16 *scales = params.scales + scales_of(params.shape, entry_of(place), 0, queries.kv_head);
  NestedPlaces places = places_of(codes.bits);
  u32 pairs[Q];
  float sums[Q], factors[Q];
  UNROLL
  for (u32 query = 0; query < Q; query++) {
    float a = weights[query * SPAN_TOKENS + own], b = weights[query * SPAN_TOKENS + own + 1];
    sums[query] = warp_sum(a + b);
    pairs[query] = fold_pair(a, b, factors[query]);
  }
  for (u32 first = 0; first < rows; first += NESTED_ROWS) {
    NestedGroup group{first, rows - first < NESTED_ROWS ? rows - first : NESTED_ROWS, 0};
    int products[Q][2];
    code_columns<Q>(codes, group, pairs, products);
    u32 row = lane_row();
    float2 lowest = scale_pair(scales + first, row, group.rows),
           ranges = scale_pair(scales + rows + first, row, group.rows);
    const float low[2] = {lowest.x, lowest.y}, range[2] = {ranges.x, ranges.y};
    UNROLL
    for (u32 query = 0; query < Q; query++) {
      UNROLL
      for (u32 each = 0; each < 2; each++) {
        float inside = places.step * (float)products[query][each] * factors[query] +
                       places.first * sums[query];
        if (first + row + each >= width) continue;
        part[query * width + first + row + each] = low[each] * sums[query] + range[each] * inside;
      }
    }
  }
}
