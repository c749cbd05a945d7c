// A softmax that takes in its scores part by part (arXiv 2205.14135, algorithm 1).
#pragma once
#include "device.cuh"

// A softmax that is not finished: what was largest, and the sum of the exponentials below it.
struct Softmax {
  float maximum;
  float sum;
};

// How a softmax takes in the next span's: factors for the values so far and for the new ones.
DEVICE float2 merge(Softmax &all, float maximum, float sum) {
  float2 factors = make_float2(1.0f, 1.0f);
  if (maximum > all.maximum) {
    factors.x = exp_exact(all.maximum - maximum);
    all.maximum = maximum;
  } else {
    factors.y = exp_exact(maximum - all.maximum);
  }
  all.sum = all.sum * factors.x + sum * factors.y;
  return factors;
}

DEVICE Softmax begin_softmax(const float *sinks, u32 head) {
  // The sink takes part in the softmax and has no value.
  return sinks ? Softmax{sinks[head], 1.0f} : Softmax{NEGATIVE_INFINITY, 0.0f};
}

// One number of what spans `first .. end` give together: their states, and the number of each in
// rows of `width`.
DEVICE float join(Softmax softmax, const float2 *states, const float *numbers, u32 width, u32 first,
                  u32 end) {
  float total = 0.0f;
  for (u32 span = first; span < end; span++) {
    float2 state = states[span];
    // Nothing of it is seen.
    if (!(state.y > 0.0f)) continue;
    float2 factors = merge(softmax, state.x, state.y);
    total = total * factors.x + numbers[(u64)span * width] * factors.y;
  }
  return total * (1.0f / softmax.sum);
}
