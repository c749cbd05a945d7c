// Softmax attention over the cache (arXiv 2205.14135, algorithm 1), in spans of positions that lie
// at fixed places. So it makes no difference in which pieces a prompt came, nor whether spans are
// computed side by side or in turn.
#include "quantize.cuh"
#include "softmax.cuh"

#define ATTENTION_THREADS 128u
#define ATTENTION_WARPS (ATTENTION_THREADS / WARP)
// Positions of a span.
#define SPAN 256u
// Elements that a thread reads at once where the widths allow it.
#define CHUNK 8u

struct AttentionParams {
  // Queries `[tokens, heads, width]`, for the first and the second part of the keys.
  const float *first_query;
  const float *second_query;
  // Keys in two parts, `[kv_heads, capacity, width]`; the second part may have no width.
  const void *first_keys;
  const void *second_keys;
  // `[kv_heads, capacity, value_width]`
  const void *values;
  // A logit for attending to nothing, one a head; or none.
  const float *sinks;
  const u32 *position;
  // `[tokens, heads, value_width]`, or none: then every span leaves its part.
  float *out;
  // `[tokens, heads, spans]`: largest score and sum of each span's exponentials.
  float2 *states;
  // `[tokens, heads, spans, value_width]`
  float *parts;
  u32 heads;
  u32 group;
  u32 capacity;
  u32 first_width;
  u32 second_width;
  u32 value_width;
  // How many tokens a token sees, itself included; 0 for all.
  u32 window;
  u32 spans;
  float scale;
  u32 unused;
};

DEVICE float element(const u16 *at) { return half_to_float(*at); }
DEVICE float element(const float *at) { return *at; }

DEVICE void load_chunk(const u16 *at, float (&out)[CHUNK]) {
  uint4 words = *(const uint4 *)at;
  const u32 each[4] = {words.x, words.y, words.z, words.w};
  UNROLL
  for (u32 index = 0; index < 4; index++) {
    out[2 * index] = half_to_float((u16)each[index]);
    out[2 * index + 1] = half_to_float((u16)(each[index] >> 16));
  }
}

DEVICE void load_chunk(const float *at, float (&out)[CHUNK]) {
  float4 low = ((const float4 *)at)[0], high = ((const float4 *)at)[1];
  out[0] = low.x, out[1] = low.y, out[2] = low.z, out[3] = low.w;
  out[4] = high.x, out[5] = high.y, out[6] = high.z, out[7] = high.w;
}

// This lane's share of `query * row`: every `lanes`th chunk from `lane` on.
template <class E>
DEVICE float dot_share(const float *query, const E *row, u32 width, u32 lane, u32 lanes) {
  float sum = 0.0f;
  if (width % CHUNK != 0) {
    for (u32 index = lane; index < width; index += lanes)
      sum = fmaf(query[index], element(row + index), sum);
    return sum;
  }
  for (u32 index = lane * CHUNK; index < width; index += lanes * CHUNK) {
    float keys[CHUNK];
    load_chunk(row + index, keys);
    UNROLL
    for (u32 each = 0; each < CHUNK; each++) sum = fmaf(query[index + each], keys[each], sum);
  }
  return sum;
}

// Scores of the positions `first .. end`. As many lanes share a position as its keys have chunks.
template <class E>
DEVICE void score(const AttentionParams &params, const float *query, u32 kv_head, u32 first,
                  u32 end, float *scores) {
  u32 lanes = 1;
  while (lanes < WARP && lanes * CHUNK < params.first_width) lanes *= 2;
  u32 lane = threadIdx.x % lanes, step = ATTENTION_THREADS / lanes,
      count = ceil_div(end - first, step) * step;
  const E *first_keys =
      (const E *)params.first_keys + (u64)kv_head * params.capacity * params.first_width;
  const E *second_keys =
      (const E *)params.second_keys + (u64)kv_head * params.capacity * params.second_width;
  // All lanes go round equally often, since they exchange their sums.
  for (u32 index = threadIdx.x / lanes; index < count; index += step) {
    u32 position = first + index;
    float sum = 0.0f;
    if (position < end) {
      sum = dot_share(query, first_keys + (u64)position * params.first_width, params.first_width,
                      lane, lanes);
      if (params.second_width > 0) {
        sum +=
            dot_share(query + params.first_width, second_keys + (u64)position * params.second_width,
                      params.second_width, lane, lanes);
      }
    }
    for (u32 mask = lanes / 2; mask > 0; mask /= 2) sum += __shfl_xor_sync(ALL_LANES, sum, mask);
    if (lane == 0 && position < end) scores[index] = sum * params.scale;
  }
}

// Weighs the values of `count` positions: `parts[set][value_width]`, set by set. Returns the
// number of sets.
template <class E>
DEVICE u32 gather(const AttentionParams &params, u32 kv_head, u32 first, u32 count,
                  const float *weights, float *parts) {
  u32 width = params.value_width, chunk = width % CHUNK == 0 ? CHUNK : 1, chunks = width / chunk;
  u32 sets = chunks < ATTENTION_THREADS ? ATTENTION_THREADS / chunks : 1,
      set = threadIdx.x / chunks;
  const E *values = (const E *)params.values + ((u64)kv_head * params.capacity + first) * width;
  if (chunks > ATTENTION_THREADS) set = 0;
  if (set >= sets) return sets;
  for (u32 own = threadIdx.x - set * chunks; own < chunks; own += ATTENTION_THREADS) {
    float sums[CHUNK] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    _Pragma("unroll 4") for (u32 index = set; index < count; index += sets) {
      const E *row = values + (u64)index * width + own * chunk;
      float weight = weights[index];
      if (chunk == 1) {
        sums[0] = fmaf(weight, element(row), sums[0]);
      } else {
        float loaded[CHUNK];
        load_chunk(row, loaded);
        UNROLL
        for (u32 each = 0; each < CHUNK; each++)
          sums[each] = fmaf(weight, loaded[each], sums[each]);
      }
    }
    UNROLL
    for (u32 each = 0; each < CHUNK; each++) {
      if (each < chunk) parts[set * width + own * chunk + each] = sums[each];
    }
  }
  return sets;
}

// Dynamic shared memory: the query, the sum so far, and the sets' parts, of which there are at most
// `max(1024, value_width)`.
template <class E>
DEVICE void attend(const AttentionParams &params) {
  SHARED float scores[SPAN];
  SHARED float partial[WARP];
  DYNAMIC_SHARED(workspace);
  u32 head = blockIdx.x, token = blockIdx.y, kv_head = head / params.group,
      width = params.value_width;
  u32 end = *params.position + token + 1,
      start = params.window > 0 && end > params.window ? end - params.window : 0;
  float *query = workspace, *total = query + params.first_width + params.second_width,
        *parts = total + width;
  u32 span = start / SPAN, last_span = (end - 1) / SPAN;
  if (!params.out) {
    if (blockIdx.z < span || blockIdx.z > last_span) return;
    span = last_span = blockIdx.z;
  }
  u64 at = (u64)token * params.heads + head;
  for (u32 index = threadIdx.x; index < params.first_width; index += blockDim.x) {
    query[index] = params.first_query[at * params.first_width + index];
  }
  for (u32 index = threadIdx.x; index < params.second_width; index += blockDim.x) {
    query[params.first_width + index] = params.second_query[at * params.second_width + index];
  }
  for (u32 index = threadIdx.x; index < width; index += blockDim.x) total[index] = 0.0f;
  Softmax softmax = begin_softmax(params.sinks, head);
  for (; span <= last_span; span++) {
    u32 first = span * SPAN > start ? span * SPAN : start,
        stop = (span + 1) * SPAN < end ? (span + 1) * SPAN : end;
    u32 count = stop - first;
    __syncthreads();
    score<E>(params, query, kv_head, first, stop, scores);
    __syncthreads();
    // Every warp works out the largest by itself, which costs less than telling it.
    float maximum = NEGATIVE_INFINITY, sum = 0.0f;
    for (u32 index = threadIdx.x % WARP; index < count; index += WARP)
      maximum = fmaxf(maximum, scores[index]);
    maximum = warp_max(maximum);
    __syncthreads();
    for (u32 index = threadIdx.x; index < count; index += blockDim.x) {
      float weight = exp_exact(scores[index] - maximum);
      scores[index] = weight;
      sum += weight;
    }
    sum = block_sum(sum, partial);
    u32 sets = gather<E>(params, kv_head, first, count, scores, parts);
    __syncthreads();
    float2 factors = make_float2(1.0f, 1.0f);
    if (params.out) factors = merge(softmax, maximum, sum);
    for (u32 index = threadIdx.x; index < width; index += blockDim.x) {
      float value = 0.0f;
      for (u32 set = 0; set < sets; set++) value += parts[set * width + index];
      if (params.out) {
        total[index] = total[index] * factors.x + value * factors.y;
      } else {
        params.parts[(at * params.spans + span) * width + index] = value;
      }
    }
    if (!params.out && threadIdx.x == 0)
      params.states[at * params.spans + span] = make_float2(maximum, sum);
  }
  if (!params.out) return;
  float inverse = 1.0f / softmax.sum;
  for (u32 index = threadIdx.x; index < width; index += blockDim.x)
    params.out[at * width + index] = total[index] * inverse;
}

// Grid: [heads, tokens, spans], or [heads, tokens] with `out`.
KERNEL attention_half(AttentionParams params) { attend<u16>(params); }
KERNEL attention_float(AttentionParams params) { attend<float>(params); }

struct CombineParams {
  const float2 *states;
  const float *parts;
  const float *sinks;
  const u32 *position;
  // `[tokens * heads * value_width / columns, columns]`
  Inputs out;
  u32 heads;
  u32 value_width;
  u32 columns;
  u32 window;
  u32 spans;
  u32 unused;
};

// Grid: [groups of 64 columns, rows], one warp: joins the spans' parts in order and quantizes them.
KERNEL combine(CombineParams params) {
  float values[2] = {0.0f, 0.0f};
  UNROLL
  for (u32 each = 0; each < 2; each++) {
    u32 column = blockIdx.x * GROUP + 2 * threadIdx.x + each;
    if (column >= params.columns) continue;
    u64 flat = (u64)blockIdx.y * params.columns + column, at = flat / params.value_width;
    u32 element = (u32)(flat % params.value_width), head = (u32)(at % params.heads);
    u32 end = *params.position + (u32)(at / params.heads) + 1;
    u32 start = params.window > 0 && end > params.window ? end - params.window : 0;
    const float *numbers = params.parts + at * params.spans * params.value_width + element;
    values[each] = join(begin_softmax(params.sinks, head), params.states + at * params.spans,
                        numbers, params.value_width, start / SPAN, (end - 1) / SPAN + 1);
    params.out.floats[flat] = values[each];
  }
  u64 group = (u64)blockIdx.y * ceil_div(params.columns, GROUP) + blockIdx.x;
  quantize_group(values[0], values[1], params.out.codes + group * GROUP, params.out.scales + group,
                 params.out.sums + group);
}
