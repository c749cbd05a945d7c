// Queries, keys and values after their projections: normalization, RoPE (arXiv 2104.09864), and
// into the cache.
#include "hadamard.cuh"

#define NORM_NONE 0u
#define NORM_HEAD 1u
#define NORM_WHOLE 2u

// Rows of one kind: what is done to them, and where they go.
struct HeadRows {
  // `[tokens, stride]`; the vectors begin at `first` of each row.
  const float *from;
  // `[tokens, heads, width]` of floats, or none.
  float *to;
  // `[heads, capacity, width]` of the cache, in a ring of its first chunk in f16, or none.
  void *cache;
  const float *gain;
  u32 stride;
  u32 first;
  u32 heads;
  // Elements between the vectors of two heads.
  u32 spacing;
  u32 width;
  u32 norm;
  // How many of the first elements RoPE turns.
  u32 turned;
  // Whether they are kept rotated by the Hadamard transform.
  u32 rotated;
};

struct HeadsParams {
  HeadRows rows[4];
  // `[tokens, frequencies]`: sines and cosines.
  const float2 *turns;
  const u32 *position;
  u32 count;
  u32 frequencies;
  u32 capacity;
  u32 cache_is_half;
  float epsilon;
  float turn_scale;
  // Of a ring, whose tokens lie in the first chunk in f16, or this many f16 after it.
  u32 ring;
  u32 open_start;
};

// Grid: [heads of all rows together, tokens]; dynamic shared memory: the widest head's floats.
KERNEL heads(HeadsParams params) {
  SHARED float partial[WARP];
  DYNAMIC_SHARED(head_values);
  u32 head = blockIdx.x, which = 0;
  while (which + 1 < params.count && head >= params.rows[which].heads)
    head -= params.rows[which++].heads;
  const HeadRows &rows = params.rows[which];
  const float *row = rows.from + (u64)blockIdx.y * rows.stride + rows.first;
  const float *from = row + (u64)head * rows.spacing;

  float scale = 1.0f;
  if (rows.norm != NORM_NONE) {
    const float *first = rows.norm == NORM_WHOLE ? row : from;
    u32 count = rows.norm == NORM_WHOLE ? rows.heads * rows.width : rows.width;
    float sum = 0.0f;
    for (u32 index = threadIdx.x; index < count; index += blockDim.x)
      sum += first[index] * first[index];
    scale = 1.0f / sqrtf(block_sum(sum, partial) / (float)count + params.epsilon);
  }
  for (u32 index = threadIdx.x; index < rows.width; index += blockDim.x) {
    float value = from[index];
    if (rows.norm != NORM_NONE) {
      value =
          value * scale * rows.gain[rows.norm == NORM_WHOLE ? head * rows.width + index : index];
    }
    head_values[index] = value;
  }
  __syncthreads();
  u32 half = rows.turned / 2;
  for (u32 index = threadIdx.x; index < half; index += blockDim.x) {
    float2 turn = params.turns[(u64)blockIdx.y * params.frequencies + index];
    float sine = turn.x * params.turn_scale, cosine = turn.y * params.turn_scale;
    float a = head_values[index], b = head_values[index + half];
    head_values[index] = a * cosine - b * sine;
    head_values[index + half] = b * cosine + a * sine;
  }
  __syncthreads();
  if (rows.rotated) hadamard(head_values, rows.width);
  u64 to = ((u64)blockIdx.y * rows.heads + head) * rows.width;
  u32 position = *params.position,
      chunk_start = params.ring ? position - position % params.capacity : 0;
  u64 kept = ((u64)head * params.capacity + position - chunk_start + blockIdx.y) * rows.width;
  if (chunk_start > 0) kept += params.open_start;
  for (u32 index = threadIdx.x; index < rows.width; index += blockDim.x) {
    float value = head_values[index];
    if (rows.to) rows.to[to + index] = value;
    if (!rows.cache) continue;
    if (params.cache_is_half) {
      ((u16 *)rows.cache)[kept + index] = float_to_half(value);
    } else {
      ((float *)rows.cache)[kept + index] = value;
    }
  }
}
