// The Hadamard transform of a vector in shared memory, by the steps of
// `hardtack_kernels::hadamard`, to the bit.
#pragma once
#include "device.cuh"

// Turns `values` in blocks of the largest power of two that divides their number. Every thread of
// the block calls this; what they wrote before is seen, and so is the result afterwards.
DEVICE void hadamard(float *values, u32 width) {
  u32 stages = 0;
  while (width >> stages != 0 && (width >> stages & 1) == 0) stages++;
  for (u32 stage = 0; stage < stages; stage++) {
    u32 half = 1u << stage;
    __syncthreads();
    for (u32 pair = threadIdx.x; pair < width / 2; pair += blockDim.x) {
      u32 first = pair / half * 2 * half + pair % half;
      float a = values[first], b = values[first + half];
      values[first] = a + b;
      values[first + half] = a - b;
    }
  }
  __syncthreads();
  if (stages == 0) return;
  float whole = 1.0f / (float)(1u << stages / 2),
        scale = stages % 2 == 0 ? whole : whole * 0.70710678118654752440f;
  for (u32 index = threadIdx.x; index < width; index += blockDim.x) values[index] *= scale;
  __syncthreads();
}
