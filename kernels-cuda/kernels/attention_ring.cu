// Softmax attention over a quantized ring: products with codes where they lie. A block takes
// queries that share keys, so that codes are unpacked once for several. Spans of four slots lie at
// fixed places, a slot a warp: the first chunk of the text, every sealed one, the open one. So
// neither the pieces that a prompt came in nor the queries of a block change a result, and neither
// does whether the spans are computed side by side or in turn.
#include "hadamard.cuh"
#include "ring_scores.cuh"
#include "ring_values.cuh"
#include "softmax.cuh"

template <u32 Q>
DEVICE void load_queries(const RingAttentionParams &params, const Queries &queries,
                         const RingWork &work) {
  u32 width = params.first_width + params.second_width;
  for (u32 index = threadIdx.x; index < Q * width; index += blockDim.x) {
    u32 query = index / width, at = index % width;
    float value = 0.0f;
    if (query < queries.count) {
      u64 row = row_of(params, queries, query);
      value = at < params.first_width
                  ? params.first_query[row * params.first_width + at]
                  : params.second_query[row * params.second_width + at - params.first_width];
    }
    work.queries[index] = value;
  }
  for (u32 index = threadIdx.x; index < Q * params.value_width; index += blockDim.x)
    work.totals[index] = 0.0f;
}

// Turns a query's scores of a span into weights, by one warp.
DEVICE Softmax weigh_span(float *scores) {
  float maximum = NEGATIVE_INFINITY, sum = 0.0f;
  for (u32 index = threadIdx.x % WARP; index < SPAN_TOKENS; index += WARP)
    maximum = fmaxf(maximum, scores[index]);
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
  u32 width = params.value_width, key_width = params.first_width + params.second_width,
      warp = threadIdx.x / WARP;
  u32 open = params.state[0] / CHUNK_TOKENS, shift = params.state[3], span = 0,
      last_span = spans_of(params.table) - 1;
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
  Softmax softmax = begin_softmax(warp < queries.count ? params.sinks : 0,
                                  (u32)(row_of(params, queries, warp) % params.heads));
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
        params.states[row_of(params, queries, query) * params.spans + span] =
            make_float2(own.maximum, own.sum);
      }
    }
    __syncthreads();
    if (seen && !sealed) gather_halves<Q>(params, queries, start, own_scores, own_part);
    if (seen && sealed && params.shape.matrices[1].by_token)
      gather_tokens<Q>(params, queries, place, own_scores, own_part);
    if (seen && sealed && !params.shape.matrices[1].by_token)
      gather_channels<Q>(params, queries, place, own_scores, own_part);
    __syncthreads();
    for (u32 index = threadIdx.x; index < queries.count * width; index += blockDim.x) {
      u32 query = index / width;
      float value = 0.0f;
      UNROLL
      for (u32 other = 0; other < SLOTS; other++) {
        if (starts[other] == NO_START) continue;
        Seen own = seen_by(params, queries, query, starts[other]);
        if (own.from < own.to) value += work.parts[other * Q * width + index];
      }
      if (params.out) {
        work.totals[index] = work.totals[index] * factors[query].x + value * factors[query].y;
      } else if (sums[query] > 0.0f) {
        params
            .parts[(row_of(params, queries, query) * params.spans + span) * width + index % width] =
            value;
      }
    }
  }
  if (!params.out) return;
  if (threadIdx.x % WARP == 0 && warp < Q) sums[warp] = 1.0f / softmax.sum;
  __syncthreads();
  for (u32 index = threadIdx.x; index < queries.count * width; index += blockDim.x)
    work.totals[index] *= sums[index / width];
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
