// Scores of one chunk of a ring, by a warp: of f16, or of codes.
#pragma once
#include "ring_block.cuh"

// Turns the last part of the queries back, by as much as the first chunk's keys are moved.
template <u32 Q>
DEVICE void move_queries(const RingAttentionParams &params, const RingWork &work) {
  u32 stride = params.first_width + params.second_width, half = params.turned / 2;
  u32 width = params.second_width > 0 ? params.second_width : params.first_width;
  for (u32 index = threadIdx.x % WARP; index < Q * width; index += WARP) {
    u32 query = index / width, at = index % width;
    const float *own = work.queries + query * stride + (stride - width);
    float value = own[at];
    if (at < 2 * half) {
      float2 turn = params.turns_back[at % half];
      float other = own[at < half ? at + half : at - half];
      value = at < half ? value * turn.y - other * turn.x : value * turn.y + other * turn.x;
    }
    work.moved[index] = value;
  }
  __syncwarp();
}

// `sums[query] += query * row` for `Q` queries that lie `stride` apart.
template <u32 Q>
DEVICE void add_dots(const float *queries, u32 stride, const u16 *row, u32 width,
                     float (&sums)[Q]) {
  if ((width | stride) % 8 != 0) {
    for (u32 index = 0; index < width; index++) {
      float key = half_to_float(row[index]);
      UNROLL
      for (u32 query = 0; query < Q; query++)
        sums[query] = fmaf(queries[query * stride + index], key, sums[query]);
    }
    return;
  }
  for (u32 index = 0; index < width; index += 8) {
    uint4 words = *(const uint4 *)(row + index);
    const u32 each[4] = {words.x, words.y, words.z, words.w};
    UNROLL
    for (u32 part = 0; part < 2; part++) {
      float a = half_to_float((u16)each[2 * part]), b = half_to_float((u16)(each[2 * part] >> 16));
      float c = half_to_float((u16)each[2 * part + 1]),
            d = half_to_float((u16)(each[2 * part + 1] >> 16));
      UNROLL
      for (u32 query = 0; query < Q; query++) {
        float4 own = *(const float4 *)(queries + query * stride + index + 4 * part);
        sums[query] = fmaf(own.w, d, fmaf(own.z, c, fmaf(own.y, b, fmaf(own.x, a, sums[query]))));
      }
    }
  }
}

// Scores of this warp's chunk of f16, `[Q][SPAN_TOKENS]`; queries are turned back where
// `moved`.
template <u32 Q>
DEVICE void score_halves(const RingAttentionParams &params, const Queries &queries,
                         const RingWork &work, u32 start, bool moved, float *scores) {
  u32 lane = threadIdx.x % WARP, stride = params.first_width + params.second_width;
  const u16 *first = halves_of(params.shape, params.halves, start, 0, queries.kv_head);
  const u16 *second = halves_of(params.shape, params.halves, start, 1, queries.kv_head);
  bool first_moved = moved && params.second_width == 0;
  for (u32 token = lane; token < CHUNK_TOKENS; token += WARP) {
    float sums[Q];
    UNROLL
    for (u32 query = 0; query < Q; query++) sums[query] = 0.0f;
    // After the last query's own token nothing may have been written.
    if (token < seen_by(params, queries, queries.count - 1, start).to) {
      const u16 *row = first + token * params.first_width;
      add_dots<Q>(first_moved ? work.moved : work.queries,
                  first_moved ? params.first_width : stride, row, params.first_width, sums);
      if (params.second_width > 0) {
        row = second + token * params.second_width;
        add_dots<Q>(moved ? work.moved : work.queries + params.first_width,
                    moved ? params.second_width : stride, row, params.second_width, sums);
      }
    }
    UNROLL
    for (u32 query = 0; query < Q; query++) {
      Seen seen = seen_by(params, queries, query, start);
      bool sees = token >= seen.from && token < seen.to;
      scores[query * SPAN_TOKENS + token] = sees ? sums[query] * params.scale : NEGATIVE_INFINITY;
    }
  }
}

// `score = sum over channels of query * (lowest + range * (first + code * step))`, the ranges
// folded into the query.
template <u32 Q>
DEVICE void score_codes(const RingAttentionParams &params, const Queries &queries,
                        const RingWork &work, const u32 *place, float *scores) {
  u32 own = 2 * (threadIdx.x % WARP), stride = params.first_width + params.second_width;
  float sums[Q][2];
  UNROLL
  for (u32 query = 0; query < Q; query++) sums[query][0] = sums[query][1] = 0.0f;
  for (u32 index = 0; index < 2; index++) {
    const RingMatrix &matrix = params.shape.matrices[index];
    if (matrix.by_token) continue;
    Nested codes = nested_of(params.shape, params.units, place, index, queries.kv_head);
    const u16 *scales =
        params.scales + scales_of(params.shape, entry_of(place), index, queries.kv_head);
    const float *query_part = work.queries + (index == 0 ? 0 : params.first_width);
    NestedPlaces places = places_of(codes.bits);
    for (u32 first = 0; first < matrix.rows; first += NESTED_ROWS) {
      NestedGroup group{first,
                        matrix.rows - first < NESTED_ROWS ? matrix.rows - first : NESTED_ROWS, 0};
      float2 lowest = scale_pair(scales + first, own, group.rows);
      float2 ranges = scale_pair(scales + matrix.rows + first, own, group.rows);
      u32 pairs[Q];
      float offsets[Q], factors[Q];
      UNROLL
      for (u32 query = 0; query < Q; query++) {
        const float *x = query_part + query * stride + first + own;
        float a = first + own < matrix.width ? x[0] : 0.0f,
              b = first + own + 1 < matrix.width ? x[1] : 0.0f;
        float low = a * ranges.x, high = b * ranges.y;
        offsets[query] = warp_sum(a * lowest.x + b * lowest.y + places.first * (low + high));
        pairs[query] = fold_pair(low, high, factors[query]);
        factors[query] *= places.step;
      }
      int products[Q][2];
      code_rows<Q>(codes, group, pairs, products);
      UNROLL
      for (u32 query = 0; query < Q; query++) {
        UNROLL
        for (u32 each = 0; each < 2; each++) {
          sums[query][each] += offsets[query];
          sums[query][each] += (float)products[query][each] * factors[query];
        }
      }
    }
  }
  u32 start = chunk_of(place) * CHUNK_TOKENS, token = lane_column();
  UNROLL
  for (u32 query = 0; query < Q; query++) {
    Seen seen = seen_by(params, queries, query, start);
    UNROLL
    for (u32 each = 0; each < 2; each++) {
      bool sees = token + each >= seen.from && token + each < seen.to;
      scores[query * SPAN_TOKENS + token + each] =
          sees ? sums[query][each] * params.scale : NEGATIVE_INFINITY;
    }
  }
}
