// The part of CUDA that the kernels use, on a host: blocks one after another, a block's threads as
// fibers that switch where they wait for each other.
//
// What it finds: wrong arithmetic, wrong indices (every buffer ends at a page that cannot be
// touched), shared memory read before it was written (it is poisoned for every block), missing
// barriers (fibers run forwards or backwards on request, and the results must be equal), barriers
// that not all threads reach (reported with the thread). What it cannot find: races between blocks,
// and races inside a warp.
#pragma once
#include <csetjmp>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ucontext.h>

typedef uint8_t u8;
typedef int8_t i8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef unsigned long long u64;

struct float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  u32 x, y;
};
struct alignas(16) uint4 {
  u32 x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint4 make_uint4(u32 x, u32 y, u32 z, u32 w) { return {x, y, z, w}; }

#define DEVICE static inline
#define KERNEL static void
// One block at a time, so what is static is shared by its threads; the section is poisoned before
// every block.
#define SHARED static __attribute__((section("block_shared")))
#define DYNAMIC_SHARED(name) float *name = (float *)emulate::dynamic
#define UNROLL

namespace emulate {

constexpr u32 THREADS_MAX = 1024, STACK_BYTES = 64 << 10, DYNAMIC_BYTES = 96 << 10;

struct Index {
  u32 x, y, z;
};
inline Index thread, block, block_size, grid_size;
alignas(16) inline char dynamic[DYNAMIC_BYTES];

enum class State { Ready, Block, Warp, Done };

struct Fiber {
  ucontext_t first;
  jmp_buf place;
  bool started;
  State state;
  u64 slots[6];
};

inline Fiber fibers[THREADS_MAX];
inline char *stacks;
inline jmp_buf scheduler;
inline void (*body)();
inline bool backwards;

[[noreturn]] inline void fail(const char *what) {
  fprintf(stderr, "emulation: %s in block (%u, %u, %u) of %u threads\n", what, block.x, block.y,
          block.z, block_size.x);
  for (u32 index = 0; index < block_size.x; index++) {
    const char *names[] = {"ready", "at a barrier of the block", "at a barrier of its warp",
                           "done"};
    if (index % 32 == 0)
      fprintf(stderr, "  thread %u is %s\n", index, names[(int)fibers[index].state]);
  }
  abort();
}

inline void wait_for(State what) {
  Fiber &own = fibers[thread.x];
  own.state = what;
  // A plain jump: `swapcontext` would ask the system for the signal mask at every switch.
  if (!_setjmp(own.place)) _longjmp(scheduler, 1);
}

inline void enter() {
  body();
  fibers[thread.x].state = State::Done;
  _longjmp(scheduler, 1);
}

inline void resume(u32 index) {
  Fiber &fiber = fibers[index];
  thread.x = index;
  if (_setjmp(scheduler)) return;
  if (fiber.started) _longjmp(fiber.place, 1);
  fiber.started = true;
  setcontext(&fiber.first);
}

// Runs one warp until all of its threads wait for the block or are done.
inline void run_warp(u32 first, u32 end) {
  for (;;) {
    u32 alive = 0, waiting = 0;
    for (u32 step = 0; step < end - first; step++) {
      u32 index = backwards ? end - 1 - step : first + step;
      if (fibers[index].state == State::Ready) resume(index);
    }
    for (u32 index = first; index < end; index++) {
      alive += fibers[index].state != State::Done;
      waiting += fibers[index].state == State::Warp;
    }
    if (waiting == 0) return;
    if (waiting != alive) fail("a warp's threads part at a shuffle");
    for (u32 index = first; index < end; index++) {
      if (fibers[index].state == State::Warp) fibers[index].state = State::Ready;
    }
  }
}

inline void run_block() {
  u32 threads = block_size.x, warps = (threads + 31) / 32;
  for (u32 index = 0; index < threads; index++) {
    Fiber &fiber = fibers[index];
    fiber.started = false;
    fiber.state = State::Ready;
    getcontext(&fiber.first);
    fiber.first.uc_stack.ss_sp = stacks + (u64)index * STACK_BYTES;
    fiber.first.uc_stack.ss_size = STACK_BYTES;
    fiber.first.uc_link = nullptr;
    makecontext(&fiber.first, enter, 0);
  }
  for (;;) {
    for (u32 step = 0; step < warps; step++) {
      u32 warp = backwards ? warps - 1 - step : step, end = warp * 32 + 32;
      run_warp(warp * 32, end < threads ? end : threads);
    }
    u32 waiting = 0, done = 0;
    for (u32 index = 0; index < threads; index++) {
      waiting += fibers[index].state == State::Block;
      done += fibers[index].state == State::Done;
    }
    if (done == threads) return;
    if (waiting != threads) fail("a barrier that not all threads reach");
    for (u32 index = 0; index < threads; index++) fibers[index].state = State::Ready;
  }
}

template <class T>
T exchange(T value, u32 lane) {
  static_assert(sizeof(T) <= sizeof(u64), "one slot");
  T result;
  memcpy(fibers[thread.x].slots, &value, sizeof(T));
  wait_for(State::Warp);
  memcpy(&result, fibers[thread.x / 32 * 32 + lane % 32].slots, sizeof(T));
  wait_for(State::Warp);
  return result;
}

}  // namespace emulate

#define threadIdx emulate::thread
#define blockIdx emulate::block
#define blockDim emulate::block_size
#define gridDim emulate::grid_size

inline void __syncthreads() { emulate::wait_for(emulate::State::Block); }
inline void __syncwarp() { emulate::wait_for(emulate::State::Warp); }
template <class T>
T __shfl_xor_sync(u32, T value, u32 mask) {
  return emulate::exchange(value, threadIdx.x % 32 ^ mask);
}

template <class T>
T __shfl_sync(u32, T value, u32 lane) {
  return emulate::exchange(value, lane);
}

template <class T>
T __ldg(const T *at) {
  return *at;
}
inline uint4 load_constant(const void *at) { return *(const uint4 *)at; }
inline float __int_as_float(int bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

inline float half_to_float(u16 half) {
  u32 sign = (u32)(half & 0x8000) << 16, exponent = half >> 10 & 31, mantissa = half & 0x3ff;
  if (exponent == 0) {
    float value = ldexpf((float)mantissa, -24);
    return sign ? -value : value;
  }
  exponent = exponent == 31 ? 255 : exponent + 112;
  return __int_as_float((int)(sign | exponent << 23 | mantissa << 13));
}

inline u16 float_to_half(float value) {
  u32 bits;
  memcpy(&bits, &value, 4);
  u16 sign = bits >> 16 & 0x8000;
  float size = fabsf(value);
  if (size != size) return 0x7fff;
  if (size == 0.0f) return sign;
  if (size >= 65520.0f) return sign | 0x7c00;
  int exponent;
  frexpf(size, &exponent);
  // f16 keep 11 bits, and none below 2^-24.
  int unit = exponent - 11 < -24 ? -24 : exponent - 11;
  float units = nearbyintf(ldexpf(size, -unit));
  // Adding lets a mantissa that was rounded up to the next power of two carry into the exponent.
  return sign | (u16)((unit == -24 ? 0 : (unit + 24) << 10) + (u32)units);
}

inline int dot4(u32 codes, int activations, int sum) {
  for (int index = 0; index < 4; index++)
    sum += (u8)(codes >> 8 * index) * (i8)(activations >> 8 * index);
  return sum;
}

inline int dot2_low(u32 inputs, u32 codes, int sum) {
  return sum + (int16_t)inputs * (u8)codes + (int16_t)(inputs >> 16) * (u8)(codes >> 8);
}

inline int dot2_high(u32 inputs, u32 codes, int sum) { return dot2_low(inputs, codes >> 16, sum); }

inline u32 __byte_perm(u32 low, u32 high, u32 selector) {
  u64 bytes = (u64)high << 32 | low;
  u32 result = 0;
  for (u32 index = 0; index < 4; index++)
    result |= (u32)(u8)(bytes >> 8 * (selector >> 4 * index & 7)) << 8 * index;
  return result;
}

#if TENSOR_CORES
inline void multiply_16_8_32(int (&sum)[4], const u32 (&codes)[4], u32 first, u32 second) {
  const u64 own[6] = {codes[0], codes[1], codes[2], codes[3], first, second};
  memcpy(emulate::fibers[threadIdx.x].slots, own, sizeof own);
  emulate::wait_for(emulate::State::Warp);
  u32 warp = threadIdx.x / 32 * 32, lane = threadIdx.x % 32;
  for (u32 which = 0; which < 4; which++) {
    u32 row = lane / 4, column = lane % 4 * 2 + which % 2;
    for (u32 part = 0; part < 4; part++) {
      const u64 *a = emulate::fibers[warp + row * 4 + part].slots,
                *b = emulate::fibers[warp + column * 4 + part].slots;
      sum[which] = dot4((u32)a[which / 2], (int)b[4], sum[which]);
      sum[which] = dot4((u32)a[which / 2 + 2], (int)b[5], sum[which]);
    }
  }
  emulate::wait_for(emulate::State::Warp);
}
#endif
