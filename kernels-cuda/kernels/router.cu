// The router: which experts each token goes to and with what weight, without leaving the device.
#include "activation.cuh"

#define SOFTMAX_ALL 1u

struct ChooseParams {
  // `[tokens, experts]`
  const float *logits;
  // `[tokens, chosen]`
  Choice *choices;
  u32 experts;
  u32 chosen;
  u32 kind;
  float routed_scale;
};

// Most experts of a layer.
#define EXPERTS_MAX 4096u

// Grid: [tokens], one warp. The largest logits, the first of equals; what is no number comes last.
KERNEL choose(ChooseParams params) {
  SHARED float logits[EXPERTS_MAX];
  u32 lane = threadIdx.x;
  const float *row = params.logits + (u64)blockIdx.x * params.experts;
  float maximum = NEGATIVE_INFINITY;
  for (u32 expert = lane; expert < params.experts; expert += WARP) {
    float logit = row[expert];
    logit = logit != logit ? -FLOAT_MAX : fmaxf(fminf(logit, FLOAT_MAX), -FLOAT_MAX);
    logits[expert] = logit;
    maximum = fmaxf(maximum, logit);
  }
  maximum = warp_max(maximum);
  __syncwarp();
  float sum = 0.0f;
  if (params.kind == SOFTMAX_ALL) {
    // One after another, as every tier adds them.
    for (u32 expert = 0; expert < params.experts; expert++)
      sum += exp_exact(logits[expert] - maximum);
  }
  __syncwarp();
  Choice *choices = params.choices + (u64)blockIdx.x * params.chosen;
  for (u32 index = 0; index < params.chosen; index++) {
    u32 best = EXPERTS_MAX;
    float largest = NEGATIVE_INFINITY;
    for (u32 expert = lane; expert < params.experts; expert += WARP) {
      if (logits[expert] > largest) {
        largest = logits[expert];
        best = expert;
      }
    }
    UNROLL
    for (u32 mask = WARP / 2; mask > 0; mask /= 2) {
      float other = __shfl_xor_sync(ALL_LANES, largest, mask);
      u32 other_best = __shfl_xor_sync(ALL_LANES, best, mask);
      if (other > largest || (other == largest && other_best < best)) {
        largest = other;
        best = other_best;
      }
    }
    float weight = exp_exact(largest - maximum);
    if (params.kind != SOFTMAX_ALL) sum += weight;
    __syncwarp();
    if (lane == 0) {
      choices[index] = Choice{best, weight};
      // Smaller than every logit that is left.
      logits[best] = NEGATIVE_INFINITY;
    }
    __syncwarp();
  }
  for (u32 index = lane; index < params.chosen; index += WARP) {
    choices[index].weight = choices[index].weight / sum * params.routed_scale;
  }
}

struct SharedWeightParams {
  // `[tokens, columns]`
  const float *inputs;
  // `[columns]`, or none: then every weight is 1.
  const float *gate;
  // `[tokens]`
  Choice *choices;
  u32 columns;
  u32 unused;
};

// Grid: [tokens]. The shared expert's weight, `sigmoid(input * gate)`.
KERNEL shared_weight(SharedWeightParams params) {
  SHARED float partial[WARP];
  float sum = 0.0f;
  const float *inputs = params.inputs + (u64)blockIdx.x * params.columns;
  if (params.gate) {
    for (u32 column = threadIdx.x; column < params.columns; column += blockDim.x) {
      sum = fmaf(inputs[column], params.gate[column], sum);
    }
  }
  sum = block_sum(sum, partial);
  if (threadIdx.x == 0) params.choices[blockIdx.x] = Choice{0, params.gate ? sigmoid(sum) : 1.0f};
}

struct GroupParams {
  const Choice *choices;
  // `[experts + 1]`: where each expert's rows begin in `rows`.
  u32 *starts;
  // `[tokens * chosen]`: numbers of choices, by expert.
  u32 *rows;
  // How many tokens there are.
  const u32 *tokens;
  u32 experts;
  u32 chosen;
};

// Grid: [1]. Sorts the choices of a prompt by expert.
KERNEL group_by_expert(GroupParams params) {
  SHARED u32 counts[EXPERTS_MAX];
  u32 choices = *params.tokens * params.chosen;
  for (u32 expert = threadIdx.x; expert < params.experts; expert += blockDim.x) {
    u32 count = 0;
    for (u32 index = 0; index < choices; index++) count += params.choices[index].expert == expert;
    counts[expert] = count;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    u32 start = 0;
    for (u32 expert = 0; expert < params.experts; expert++) {
      params.starts[expert] = start;
      start += counts[expert];
      counts[expert] = start - counts[expert];
    }
    params.starts[params.experts] = start;
  }
  __syncthreads();
  for (u32 expert = threadIdx.x; expert < params.experts; expert += blockDim.x) {
    u32 at = counts[expert];
    for (u32 index = 0; index < choices; index++) {
      if (params.choices[index].expert == expert) params.rows[at++] = index;
    }
  }
}
