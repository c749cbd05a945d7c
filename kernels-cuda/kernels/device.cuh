// What every kernel is built on: names of types, the few instructions that C++ has no word for, and
// exp as all tiers compute it.
//
// No header but the project's own is included, so that a device without the toolkit's headers can
// compile this at start. Everything is compiled with fused multiply-add switched off: where one is
// wanted it is written `fmaf`. So a kernel does the same roundings on every architecture, and on a
// host under the emulation.
#pragma once

#ifdef HARDTACK_HOST
#include "emulate.h"
#else
typedef unsigned char u8;
typedef signed char i8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define DEVICE static __device__ __forceinline__
#define KERNEL extern "C" __global__ void
#define SHARED __shared__
// Aligned for loads of 16 bytes, whatever a kernel declares besides.
#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) float name[]
#define UNROLL _Pragma("unroll")

// 16 bytes that nobody writes while the kernel runs.
DEVICE uint4 load_constant(const void *at) { return __ldg((const uint4 *)at); }

DEVICE float half_to_float(u16 half) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half));
  return value;
}

DEVICE u16 float_to_half(float value) {
  u16 half;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
  return half;
}

// sum + four unsigned codes times four signed activations.
DEVICE int dot4(u32 codes, int activations, int sum) {
  int result;
  asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(result) : "r"(codes), "r"(activations), "r"(sum));
  return result;
}

// sum + two signed 16-bit inputs times the lower, or the upper, two of four unsigned codes.
DEVICE int dot2_low(u32 inputs, u32 codes, int sum) {
  int result;
  asm("dp2a.lo.s32.u32 %0, %1, %2, %3;" : "=r"(result) : "r"(inputs), "r"(codes), "r"(sum));
  return result;
}

DEVICE int dot2_high(u32 inputs, u32 codes, int sum) {
  int result;
  asm("dp2a.hi.s32.u32 %0, %1, %2, %3;" : "=r"(result) : "r"(inputs), "r"(codes), "r"(sum));
  return result;
}

#if __CUDA_ARCH__ >= 800
#define TENSOR_CORES 1
// sum[16][8] += codes[16][32] * activations[32][8], spread over a warp as the PTX manual's figures
// for m16n8k32 show it.
DEVICE void multiply_16_8_32(int (&sum)[4], const u32 (&codes)[4], u32 first, u32 second) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, "
      "%9}, {%0, %1, %2, %3};"
      : "+r"(sum[0]), "+r"(sum[1]), "+r"(sum[2]), "+r"(sum[3])
      : "r"(codes[0]), "r"(codes[1]), "r"(codes[2]), "r"(codes[3]), "r"(first), "r"(second));
}
#else
#define TENSOR_CORES 0
#endif
#endif

// Lanes of a warp.
#define WARP 32u
#define ALL_LANES 0xffffffffu
#define NEGATIVE_INFINITY __int_as_float((int)0xff800000)
// The largest finite float.
#define FLOAT_MAX 3.402823466e38f

// How many of `size` it takes to hold `count`.
DEVICE u32 ceil_div(u32 count, u32 size) { return (count + size - 1) / size; }

// The nearest integer, ties to even, for |x| < 2^22.
DEVICE float round_even(float x) { return (x + 12582912.0f) - 12582912.0f; }

// e^x by the steps of `hardtack_kernels::math::exp`, to the bit.
DEVICE float exp_exact(float x) {
  if (x < -87.0f) return 0.0f;
  x = x > 88.0f ? 88.0f : x;
  float exponent = round_even(x * 1.44269504088896341f);
  float r = (x - exponent * 0.6933594f) - exponent * -2.1219444e-4f;
  float polynomial = 1.9875692e-4f;
  polynomial = polynomial * r + 1.3981999e-3f;
  polynomial = polynomial * r + 8.333452e-3f;
  polynomial = polynomial * r + 4.1665796e-2f;
  polynomial = polynomial * r + 1.6666665e-1f;
  polynomial = polynomial * r + 5e-1f;
  float mantissa = (polynomial * (r * r) + r) + 1.0f;
  return mantissa * __int_as_float(((int)exponent + 127) << 23);
}

DEVICE float sigmoid(float x) { return 1.0f / (1.0f + exp_exact(-x)); }

DEVICE float warp_sum(float value) {
  UNROLL
  for (u32 mask = WARP / 2; mask > 0; mask /= 2) value += __shfl_xor_sync(ALL_LANES, value, mask);
  return value;
}

DEVICE int warp_sum(int value) {
  UNROLL
  for (u32 mask = WARP / 2; mask > 0; mask /= 2) value += __shfl_xor_sync(ALL_LANES, value, mask);
  return value;
}

DEVICE float warp_max(float value) {
  UNROLL
  for (u32 mask = WARP / 2; mask > 0; mask /= 2)
    value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, mask));
  return value;
}

// The sum over a block of 1 to 32 warps, known to every thread of it. `shared` has a float for each
// warp.
DEVICE float block_sum(float value, float *shared) {
  value = warp_sum(value);
  __syncthreads();
  if (threadIdx.x % WARP == 0) shared[threadIdx.x / WARP] = value;
  __syncthreads();
  float sum = 0.0f;
  for (u32 warp = 0; warp < blockDim.x / WARP; warp++) sum += shared[warp];
  return sum;
}
