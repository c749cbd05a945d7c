// The likeliest token: the first of the largest logits. What is no number is never the largest.
#include "device.cuh"

struct BestParams {
  const float *logits;
  // `[parts]`: the best of each part.
  float *values;
  u32 *tokens;
  // Where the best of all goes; the next step may read it there.
  u32 *token;
  u32 count;
  u32 parts;
};

struct Best {
  float value;
  u32 token;
};

DEVICE Best better(Best a, Best b) {
  return b.value > a.value || (b.value == a.value && b.token < a.token) ? b : a;
}

// The best of a block, known to thread 0.
DEVICE Best best_of_block(Best own) {
  SHARED Best shared[WARP];
  UNROLL
  for (u32 mask = WARP / 2; mask > 0; mask /= 2) {
    Best other = {__shfl_xor_sync(ALL_LANES, own.value, mask),
                  __shfl_xor_sync(ALL_LANES, own.token, mask)};
    own = better(own, other);
  }
  if (threadIdx.x % WARP == 0) shared[threadIdx.x / WARP] = own;
  __syncthreads();
  own = shared[0];
  for (u32 warp = 1; warp < blockDim.x / WARP; warp++) own = better(own, shared[warp]);
  return own;
}

// Without a single number the answer is token 0.
DEVICE Best nothing() { return Best{NEGATIVE_INFINITY, 0}; }

// Grid: [parts].
KERNEL best_of_parts(BestParams params) {
  Best own = nothing();
  for (u32 token = blockIdx.x * blockDim.x + threadIdx.x; token < params.count;
       token += gridDim.x * blockDim.x) {
    if (params.logits[token] > own.value) own = Best{params.logits[token], token};
  }
  own = best_of_block(own);
  if (threadIdx.x > 0) return;
  params.values[blockIdx.x] = own.value;
  params.tokens[blockIdx.x] = own.token;
}

// Grid: [1].
KERNEL best_of_all(BestParams params) {
  Best own = nothing();
  for (u32 part = threadIdx.x; part < params.parts; part += blockDim.x) {
    Best other = {params.values[part], params.tokens[part]};
    own = better(own, other);
  }
  own = best_of_block(own);
  if (threadIdx.x == 0) *params.token = own.token;
}
