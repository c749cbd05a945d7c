// RMS normalization (arXiv 1910.07467, equation 4) into the inputs of the next matrices, and
// quantization alone.
#include "quantize.cuh"

struct NormalizeParams {
  // `[tokens, columns]`
  const float *stream;
  const float *gain;
  Inputs out;
  // Which row of the stream is the first one, or none for 0.
  const u32 *first_row;
  u32 columns;
  float epsilon;
};

// Grid: [tokens].
KERNEL normalize(NormalizeParams params) {
  SHARED float partial[WARP];
  u32 row = blockIdx.x + (params.first_row ? *params.first_row : 0);
  const float *stream = params.stream + (u64)row * params.columns;
  float sum = 0.0f;
  for (u32 column = threadIdx.x; column < params.columns; column += blockDim.x) {
    sum += stream[column] * stream[column];
  }
  float mean_square = block_sum(sum, partial) / (float)params.columns;
  float scale = 1.0f / sqrtf(mean_square + params.epsilon);
  float *out = params.out.floats + (u64)blockIdx.x * params.columns;
  for (u32 column = threadIdx.x; column < params.columns; column += blockDim.x) {
    out[column] = stream[column] * scale * params.gain[column];
  }
  __syncthreads();
  quantize_row(params.out, blockIdx.x, params.columns);
}

struct QuantizeParams {
  Inputs inputs;
  u32 columns;
  u32 unused;
};

// Grid: [rows].
KERNEL quantize(QuantizeParams params) { quantize_row(params.inputs, blockIdx.x, params.columns); }
