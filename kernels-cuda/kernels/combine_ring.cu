// The spans of attention over a ring joined, rotated back, and quantized for the next matrix.
#include "hadamard.cuh"
#include "quantize.cuh"
#include "ring.cuh"
#include "softmax.cuh"

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

// Grid: [heads, tokens]; dynamic shared memory: a head's result. Joins the spans' parts in order
// and rotates them back.
KERNEL combine_ring(RingCombineParams params) {
  DYNAMIC_SHARED(total);
  u32 head = blockIdx.x, width = params.value_width, spans = spans_of(params.table);
  u64 at = (u64)blockIdx.y * params.heads + head;
  for (u32 index = threadIdx.x; index < width; index += blockDim.x) {
    const float *numbers = params.parts + at * params.spans * width + index;
    total[index] = join(begin_softmax(params.sinks, head), params.states + at * params.spans,
                        numbers, width, 0, spans);
  }
  if (params.rotated) hadamard(total, width);
  __syncthreads();
  for (u32 index = threadIdx.x; index < width; index += blockDim.x)
    params.out.floats[at * width + index] = total[index];
  if (!params.quantized) return;
  u32 groups = ceil_div(width, GROUP);
  for (u32 group = threadIdx.x / WARP; group < groups; group += blockDim.x / WARP) {
    u32 column = group * GROUP + 2 * (threadIdx.x % WARP);
    float first = column < width ? total[column] : 0.0f,
          second = column + 1 < width ? total[column + 1] : 0.0f;
    u64 to = at * groups + group;
    quantize_group(first, second, params.out.codes + to * GROUP, params.out.scales + to,
                   params.out.sums + to);
  }
}
