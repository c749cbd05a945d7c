// Softmax attention over a quantized ring: products with codes where they lie. A block takes queries that share keys, so that
// codes are unpacked once for several; spans of four slots stand at fixed places, a slot a warp: the first chunk of the text,
// every sealed one, the open one. So neither the pieces that a prompt came in nor the queries of a block change a result, and
// neither does whether the spans are computed side by side or in turn.
#include "hadamard.cuh"
#include "ring.cuh"
#include "softmax.cuh"

#define RING_THREADS 128u
// Slots of a span, and warps of a block.
#define SLOTS (RING_THREADS / WARP)
#define SPAN_TOKENS (SLOTS * CHUNK_TOKENS)
// Where nothing begins.
#define NO_START 0xffffffffu

struct RingAttentionParams {
  // Queries `[tokens, heads, width]`, for the first and the second part of the keys.
  const float *first_query;
  const float *second_query;
  const u16 *halves;
  const u8 *units;
  const u16 *scales;
  const u32 *table;
  // A logit for attending to nothing, one a head; or none.
  const float *sinks;
  // First position, tokens, a row, and how far the first chunk is moved.
  const u32 *state;
  // `[frequencies]`: the turns that bring queries back by as much.
  const float2 *turns_back;
  // `[tokens, heads, value_width]`, or none: then every span leaves its part.
  float *out;
  // `[tokens, heads, spans]`: largest score and sum of each span's exponentials.
  float2 *states;
  // `[tokens, heads, spans, value_width]`
  float *parts;
  RingShape shape;
  u32 heads;
  u32 group;
  u32 first_width;
  u32 second_width;
  u32 value_width;
  // A token sees so many tokens, itself included; 0 for all.
  u32 window;
  u32 spans;
  // Elements that RoPE turns.
  u32 turned;
  float scale;
  u32 unused;
};

// Spans of a table with so many sealed chunks.
DEVICE u32 spans_of(const u32 *table) { return ceil_div(table[0] + 2, SLOTS); }

// The queries of a block: `count` of those of a cached head, which stand token by token.
struct Queries {
  u32 kv_head;
  u32 first;
  u32 count;
  u32 position;
};

// Tokens of a chunk, from and to.
struct Seen {
  u32 from;
  u32 to;
};

// Dynamic shared memory of a block, each for `Q` queries.
struct RingWork {
  // `[first_width + second_width]`
  float *queries;
  // The last part of the queries, turned back for keys that were moved.
  float *moved;
  // `[SPAN_TOKENS]`
  float *scores;
  // `[SLOTS, Q, value_width]`
  float *parts;
  // `[value_width]`
  float *totals;
};

DEVICE u64 row_of(const RingAttentionParams &params, const Queries &queries, u32 query) {
  u32 index = queries.first + query;
  return (u64)(index / params.group) * params.heads + queries.kv_head * params.group + index % params.group;
}

// What a query sees of the chunk that begins at `start`.
DEVICE Seen seen_by(const RingAttentionParams &params, const Queries &queries, u32 query, u32 start) {
  u32 end = queries.position + (queries.first + query) / params.group + 1;
  if (query >= queries.count || start >= end) return Seen{0, 0};
  u32 to = end - start < CHUNK_TOKENS ? end - start : CHUNK_TOKENS;
  u32 oldest = params.window > 0 && end > params.window ? end - params.window : 0;
  u32 from = oldest > start ? oldest - start : 0;
  return Seen{from < to ? from : to, to};
}

// Where a slot's chunk begins; nowhere if it has none.
DEVICE u32 start_of(const RingAttentionParams &params, u32 slot, u32 open) {
  u32 sealed = params.table[0];
  if (slot == 0) return params.window == 0 && open > 0 ? 0 : NO_START;
  if (slot <= sealed) return chunk_of(place_at(params.table, slot - 1)) * CHUNK_TOKENS;
  return slot == sealed + 1 ? open * CHUNK_TOKENS : NO_START;
}

// `sums[query] += query * row` for `Q` queries that stand `stride` apart.
template <u32 Q>
DEVICE void add_dots(const float *queries, u32 stride, const u16 *row, u32 width, float (&sums)[Q]) {
  if ((width | stride) % 8 != 0) {
    for (u32 index = 0; index < width; index++) {
      float key = half_to_float(row[index]);
      UNROLL for (u32 query = 0; query < Q; query++) sums[query] = fmaf(queries[query * stride + index], key, sums[query]);
    }
    return;
  }
  for (u32 index = 0; index < width; index += 8) {
    uint4 words = *(const uint4 *)(row + index);
    const u32 each[4] = {words.x, words.y, words.z, words.w};
    UNROLL for (u32 part = 0; part < 2; part++) {
      float a = half_to_float((u16)each[2 * part]), b = half_to_float((u16)(each[2 * part] >> 16));
      float c = half_to_float((u16)each[2 * part + 1]), d = half_to_float((u16)(each[2 * part + 1] >> 16));
      UNROLL for (u32 query = 0; query < Q; query++) {
        float4 own = *(const float4 *)(queries + query * stride + index + 4 * part);
        sums[query] = fmaf(own.w, d, fmaf(own.z, c, fmaf(own.y, b, fmaf(own.x, a, sums[query]))));
      }
    }
  }
}

// Scores of this warp's chunk of half floats, `[Q][SPAN_TOKENS]`; queries are turned back where `moved`.
template <u32 Q>
DEVICE void score_halves(const RingAttentionParams &params, const Queries &queries, const RingWork &work, u32 start, bool moved,
                         float *scores) {
  u32 lane = threadIdx.x % WARP, stride = params.first_width + params.second_width;
  const u16 *first = halves_of(params.shape, params.halves, start, 0, queries.kv_head);
  const u16 *second = halves_of(params.shape, params.halves, start, 1, queries.kv_head);
  bool first_moved = moved && params.second_width == 0;
  for (u32 token = lane; token < CHUNK_TOKENS; token += WARP) {
    float sums[Q];
    UNROLL for (u32 query = 0; query < Q; query++) sums[query] = 0.0f;
    // Behind the last query's own token nothing may have been written.
    if (token < seen_by(params, queries, queries.count - 1, start).to) {
      const u16 *row = first + token * params.first_width;
      add_dots<Q>(first_moved ? work.moved : work.queries, first_moved ? params.first_width : stride, row, params.first_width,
                  sums);
      if (params.second_width > 0) {
        row = second + token * params.second_width;
        add_dots<Q>(moved ? work.moved : work.queries + params.first_width, moved ? params.second_width : stride, row,
                    params.second_width, sums);
      }
    }
    UNROLL for (u32 query = 0; query < Q; query++) {
      Seen seen = seen_by(params, queries, query, start);
      bool sees = token >= seen.from && token < seen.to;
      scores[query * SPAN_TOKENS + token] = sees ? sums[query] * params.scale : NEGATIVE_INFINITY;
    }
  }
}

// Two of a group's lowest values or ranges, zero behind its last row.
DEVICE float2 scale_pair(const u16 *scales, u32 row, u32 rows) {
  if (row >= rows) return make_float2(0.0f, 0.0f);
  u32 both = *(const u32 *)(scales + row);
  return make_float2(half_to_float((u16)both), half_to_float((u16)(both >> 16)));
}

// `score = sum over channels of query * (lowest + range * (code + 1/2) / 2^bits)`, the ranges folded into the query.
template <u32 Q>
DEVICE void score_codes(const RingAttentionParams &params, const Queries &queries, const RingWork &work, const u32 *place,
                        float *scores) {
  u32 own = 2 * (threadIdx.x % WARP), stride = params.first_width + params.second_width;
  float sums[Q][2];
  UNROLL for (u32 query = 0; query < Q; query++) sums[query][0] = sums[query][1] = 0.0f;
  for (u32 index = 0; index < 2; index++) {
    const RingMatrix &matrix = params.shape.matrices[index];
    if (matrix.by_token) continue;
    Nested codes = nested_of(params.shape, params.units, place, index, queries.kv_head);
    const u16 *scales = params.scales + scales_of(params.shape, entry_of(place), index, queries.kv_head);
    const float *query_part = work.queries + (index == 0 ? 0 : params.first_width);
    float step = 1.0f / (float)(1u << codes.bits);
    for (u32 first = 0; first < matrix.rows; first += NESTED_ROWS) {
      NestedGroup group{first, matrix.rows - first < NESTED_ROWS ? matrix.rows - first : NESTED_ROWS, 0};
      float2 lowest = scale_pair(scales + first, own, group.rows);
      float2 ranges = scale_pair(scales + matrix.rows + first, own, group.rows);
      u32 pairs[Q];
      float offsets[Q], factors[Q];
      UNROLL for (u32 query = 0; query < Q; query++) {
        const float *x = query_part + query * stride + first + own;
        float a = first + own < matrix.width ? x[0] : 0.0f, b = first + own + 1 < matrix.width ? x[1] : 0.0f;
        float low = a * ranges.x, high = b * ranges.y;
        offsets[query] = warp_sum(a * lowest.x + b * lowest.y + 0.5f * step * (low + high));
        pairs[query] = fold_pair(low, high, factors[query]);
        factors[query] *= step;
      }
      int products[Q][2];
      code_rows<Q>(codes, group, pairs, products);
      UNROLL for (u32 query = 0; query < Q; query++) {
        UNROLL for (u32 each = 0; each < 2; each++) {
          sums[query][each] += offsets[query];
          sums[query][each] += (float)products[query][each] * factors[query];
        }
      }
    }
  }
  u32 start = chunk_of(place) * CHUNK_TOKENS, token = lane_column();
  UNROLL for (u32 query = 0; query < Q; query++) {
    Seen seen = seen_by(params, queries, query, start);
    UNROLL for (u32 each = 0; each < 2; each++) {
      bool sees = token + each >= seen.from && token + each < seen.to;
      scores[query * SPAN_TOKENS + token + each] = sees ? sums[query][each] * params.scale : NEGATIVE_INFINITY;
    }
  }
}

// `part = sum over tokens of weight * value` of this warp's chunk of half floats.
template <u32 Q>
DEVICE void gather_halves(const RingAttentionParams &params, const Queries &queries, u32 start, const float *weights,
                          float *part) {
  u32 width = params.value_width, matrix = params.shape.matrices[1].by_token ? 1 : 0;
  const u16 *values = halves_of(params.shape, params.halves, start, matrix, queries.kv_head);
  u32 last = seen_by(params, queries, queries.count - 1, start).to, pair = width % 2 == 0 ? 2 : 1;
  for (u32 column = pair * (threadIdx.x % WARP); column < width; column += pair * WARP) {
    float sums[Q][2];
    UNROLL for (u32 query = 0; query < Q; query++) sums[query][0] = sums[query][1] = 0.0f;
    _Pragma("unroll 4") for (u32 token = 0; token < last; token++) {
      const u16 *at = values + token * width + column;
      u32 both = pair == 2 ? *(const u32 *)at : *at;
      float low = half_to_float((u16)both), high = half_to_float((u16)(both >> 16));
      UNROLL for (u32 query = 0; query < Q; query++) {
        float weight = weights[query * SPAN_TOKENS + token];
        // What a query does not see must not touch its result, whatever it is.
        sums[query][0] = fmaf(weight, weight == 0.0f ? 0.0f : low, sums[query][0]);
        sums[query][1] = fmaf(weight, weight == 0.0f ? 0.0f : high, sums[query][1]);
      }
    }
    UNROLL for (u32 query = 0; query < Q; query++) {
      part[query * width + column] = sums[query][0];
      if (pair == 2) part[query * width + column + 1] = sums[query][1];
    }
  }
}

// The same of a sealed chunk's codes, whose tokens' ranges are folded into the weights.
template <u32 Q>
DEVICE void gather_tokens(const RingAttentionParams &params, const Queries &queries, const u32 *place, const float *weights,
                          float *part) {
  u32 own = 2 * (threadIdx.x % WARP), width = params.value_width;
  Nested codes = nested_of(params.shape, params.units, place, 1, queries.kv_head);
  const u16 *scales = params.scales + scales_of(params.shape, entry_of(place), 1, queries.kv_head);
  float2 lowest = scale_pair(scales, own, CHUNK_TOKENS), ranges = scale_pair(scales + CHUNK_TOKENS, own, CHUNK_TOKENS);
  float step = 1.0f / (float)(1u << codes.bits);
  u32 pairs[Q];
  float offsets[Q], factors[Q];
  UNROLL for (u32 query = 0; query < Q; query++) {
    float a = weights[query * SPAN_TOKENS + own], b = weights[query * SPAN_TOKENS + own + 1];
    float low = a * ranges.x, high = b * ranges.y;
    offsets[query] = warp_sum(a * lowest.x + b * lowest.y + 0.5f * step * (low + high));
    pairs[query] = fold_pair(low, high, factors[query]);
    factors[query] *= step;
  }
  for (u32 column = 0; column < codes.columns; column += 2 * NESTED_TILE_COLUMNS) {
    int products[Q][2];
    code_rows<Q>(codes, NestedGroup{0, CHUNK_TOKENS, column}, pairs, products);
    u32 to = column + lane_column();
    UNROLL for (u32 query = 0; query < Q; query++) {
      UNROLL for (u32 each = 0; each < 2; each++) {
        if (to + each < width) part[query * width + to + each] = offsets[query] + (float)products[query][each] * factors[query];
      }
    }
  }
}

// The same where channels have ranges, which are applied to the sums.
template <u32 Q>
DEVICE void gather_channels(const RingAttentionParams &params, const Queries &queries, const u32 *place, const float *weights,
                            float *part) {
  u32 own = 2 * (threadIdx.x % WARP), width = params.value_width, rows = params.shape.matrices[0].rows;
  Nested codes = nested_of(params.shape, params.units, place, 0, queries.kv_head);
  const u16 *scales = params.scales + scales_of(params.shape, entry_of(place), 0, queries.kv_head);
  float step = 1.0f / (float)(1u << codes.bits);
  u32 pairs[Q];
  float sums[Q], factors[Q];
  UNROLL for (u32 query = 0; query < Q; query++) {
    float a = weights[query * SPAN_TOKENS + own], b = weights[query * SPAN_TOKENS + own + 1];
    sums[query] = warp_sum(a + b);
    pairs[query] = fold_pair(a, b, factors[query]);
  }
  for (u32 first = 0; first < rows; first += NESTED_ROWS) {
    NestedGroup group{first, rows - first < NESTED_ROWS ? rows - first : NESTED_ROWS, 0};
    int products[Q][2];
    code_columns<Q>(codes, group, pairs, products);
    u32 row = lane_row();
    float2 lowest = scale_pair(scales + first, row, group.rows), ranges = scale_pair(scales + rows + first, row, group.rows);
    const float low[2] = {lowest.x, lowest.y}, range[2] = {ranges.x, ranges.y};
    UNROLL for (u32 query = 0; query < Q; query++) {
      UNROLL for (u32 each = 0; each < 2; each++) {
        float inside = step * ((float)products[query][each] * factors[query] + 0.5f * sums[query]);
        if (first + row + each >= width) continue;
        part[query * width + first + row + each] = low[each] * sums[query] + range[each] * inside;
      }
    }
  }
}

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

template <u32 Q>
DEVICE void load_queries(const RingAttentionParams &params, const Queries &queries, const RingWork &work) {
  u32 width = params.first_width + params.second_width;
  for (u32 index = threadIdx.x; index < Q * width; index += blockDim.x) {
    u32 query = index / width, at = index % width;
    float value = 0.0f;
    if (query < queries.count) {
      u64 row = row_of(params, queries, query);
      value = at < params.first_width ? params.first_query[row * params.first_width + at]
                                      : params.second_query[row * params.second_width + at - params.first_width];
    }
    work.queries[index] = value;
  }
  for (u32 index = threadIdx.x; index < Q * params.value_width; index += blockDim.x) work.totals[index] = 0.0f;
}

// Turns a query's scores of a span into weights, by one warp.
DEVICE Softmax weigh_span(float *scores) {
  float maximum = NEGATIVE_INFINITY, sum = 0.0f;
  for (u32 index = threadIdx.x % WARP; index < SPAN_TOKENS; index += WARP) maximum = fmaxf(maximum, scores[index]);
  maximum = warp_max(maximum);
  for (u32 index = threadIdx.x % WARP; index < SPAN_TOKENS; index += WARP) {
    // A query that sees nothing of a span has no largest score.
    float weight = scores[index] > NEGATIVE_INFINITY ? exp_exact(scores[index] - maximum) : 0.0f;
    scores[index] = weight;
    sum += weight;
  }
  return Softmax{maximum, warp_sum(sum)};
}

template <u32 Q>
DEVICE void attend_ring(const RingAttentionParams &params) {
  SHARED u32 starts[SLOTS];
  SHARED float2 factors[Q];
  SHARED float sums[Q];
  DYNAMIC_SHARED(workspace);
  u32 width = params.value_width, key_width = params.first_width + params.second_width, warp = threadIdx.x / WARP;
  u32 open = params.state[0] / CHUNK_TOKENS, shift = params.state[3], span = 0, last_span = spans_of(params.table) - 1;
  if (!params.out) {
    if (blockIdx.z > last_span) return;
    span = last_span = blockIdx.z;
  }
  u32 all = params.state[1] * params.group, first = blockIdx.y * Q;
  Queries queries{blockIdx.x, first, all - first < Q ? all - first : Q, params.state[0]};
  RingWork work;
  work.queries = workspace;
  work.scores = work.queries + Q * key_width;
  work.parts = work.scores + Q * SPAN_TOKENS;
  work.totals = work.parts + SLOTS * Q * width;
  work.moved = work.totals + Q * width;
  load_queries<Q>(params, queries, work);
  // The softmax of query `warp`.
  Softmax softmax = begin_softmax(warp < queries.count ? params.sinks : 0, (u32)(row_of(params, queries, warp) % params.heads));
  float *own_part = work.parts + warp * Q * width, *own_scores = work.scores + warp * CHUNK_TOKENS;
  for (; span <= last_span; span++) {
    __syncthreads();
    u32 slot = span * SLOTS + warp, start = start_of(params, slot, open);
    bool seen = false, sealed = slot > 0 && slot <= params.table[0];
    for (u32 query = 0; query < queries.count; query++) {
      Seen own = start == NO_START ? Seen{0, 0} : seen_by(params, queries, query, start);
      seen = seen || own.from < own.to;
    }
    if (threadIdx.x % WARP == 0) starts[warp] = seen ? start : NO_START;
    const u32 *place = sealed ? place_at(params.table, slot - 1) : 0;
    if (!seen) {
      for (u32 index = threadIdx.x % WARP; index < Q * CHUNK_TOKENS; index += WARP) {
        own_scores[index / CHUNK_TOKENS * SPAN_TOKENS + index % CHUNK_TOKENS] = NEGATIVE_INFINITY;
      }
    } else if (sealed) {
      score_codes<Q>(params, queries, work, place, own_scores);
    } else {
      bool moved = slot == 0 && shift > 0;
      if (moved) move_queries<Q>(params, work);
      score_halves<Q>(params, queries, work, start, moved, own_scores);
    }
    __syncthreads();
    for (u32 query = warp; query < Q; query += SLOTS) {
      Softmax own = weigh_span(work.scores + query * SPAN_TOKENS);
      if (threadIdx.x % WARP != 0) continue;
      factors[query] = make_float2(1.0f, own.sum > 0.0f ? 1.0f : 0.0f);
      if (params.out && own.sum > 0.0f) factors[query] = merge(softmax, own.maximum, own.sum);
      sums[query] = own.sum;
      if (!params.out && query < queries.count) {
        params.states[row_of(params, queries, query) * params.spans + span] = make_float2(own.maximum, own.sum);
      }
    }
    __syncthreads();
    if (seen && !sealed) gather_halves<Q>(params, queries, start, own_scores, own_part);
    if (seen && sealed && params.shape.matrices[1].by_token) gather_tokens<Q>(params, queries, place, own_scores, own_part);
    if (seen && sealed && !params.shape.matrices[1].by_token) gather_channels<Q>(params, queries, place, own_scores, own_part);
    __syncthreads();
    for (u32 index = threadIdx.x; index < queries.count * width; index += blockDim.x) {
      u32 query = index / width;
      float value = 0.0f;
      UNROLL for (u32 other = 0; other < SLOTS; other++) {
        if (starts[other] == NO_START) continue;
        Seen own = seen_by(params, queries, query, starts[other]);
        if (own.from < own.to) value += work.parts[other * Q * width + index];
      }
      if (params.out) {
        work.totals[index] = work.totals[index] * factors[query].x + value * factors[query].y;
      } else if (sums[query] > 0.0f) {
        params.parts[(row_of(params, queries, query) * params.spans + span) * width + index % width] = value;
      }
    }
  }
  if (!params.out) return;
  if (threadIdx.x % WARP == 0 && warp < Q) sums[warp] = 1.0f / softmax.sum;
  __syncthreads();
  for (u32 index = threadIdx.x; index < queries.count * width; index += blockDim.x) work.totals[index] *= sums[index / width];
  for (u32 query = 0; query < queries.count; query++) {
    float *total = work.totals + query * width;
    __syncthreads();
    if (params.shape.matrices[1].by_token) hadamard(total, width);
    float *out = params.out + row_of(params, queries, query) * width;
    for (u32 index = threadIdx.x; index < width; index += blockDim.x) out[index] = total[index];
  }
}

// Grid: [cached heads, blocks of queries, spans], or [cached heads, blocks of queries] with `out`.
KERNEL attention_ring_1(RingAttentionParams params) { attend_ring<1>(params); }
KERNEL attention_ring_2(RingAttentionParams params) { attend_ring<2>(params); }
KERNEL attention_ring_4(RingAttentionParams params) { attend_ring<4>(params); }

struct RingCombineParams {
  const float2 *states;
  const float *parts;
  const float *sinks;
  const u32 *table;
  // `[tokens, heads, value_width]`; codes too if no group of them reaches into another head.
  Inputs out;
  u32 heads;
  u32 value_width;
  u32 spans;
  u32 rotated;
  u32 quantized;
  u32 unused;
};

// Grid: [heads, tokens]; dynamic shared memory: a head's result. Joins the spans' parts in order and rotates them back.
KERNEL combine_ring(RingCombineParams params) {
  DYNAMIC_SHARED(total);
  u32 head = blockIdx.x, width = params.value_width, spans = spans_of(params.table);
  u64 at = (u64)blockIdx.y * params.heads + head;
  for (u32 index = threadIdx.x; index < width; index += blockDim.x) {
    Softmax softmax = begin_softmax(params.sinks, head);
    float value = 0.0f;
    for (u32 span = 0; span < spans; span++) {
      float2 state = params.states[at * params.spans + span];
      // Nothing of it is seen.
      if (!(state.y > 0.0f)) continue;
      float2 factors = merge(softmax, state.x, state.y);
      value = value * factors.x + params.parts[(at * params.spans + span) * width + index] * factors.y;
    }
    total[index] = value * (1.0f / softmax.sum);
  }
  if (params.rotated) hadamard(total, width);
  __syncthreads();
  for (u32 index = threadIdx.x; index < width; index += blockDim.x) params.out.floats[at * width + index] = total[index];
  if (!params.quantized) return;
  u32 groups = ceil_div(width, GROUP);
  for (u32 group = threadIdx.x / WARP; group < groups; group += blockDim.x / WARP) {
    u32 column = group * GROUP + 2 * (threadIdx.x % WARP);
    float first = column < width ? total[column] : 0.0f, second = column + 1 < width ? total[column + 1] : 0.0f;
    u64 to = at * groups + group;
    quantize_group(first, second, params.out.codes + to * GROUP, params.out.scales + to, params.out.sums + to);
  }
}
