// Matrices times the rows of a prompt, a warp for each panel and up to 32 rows.
#include "fragment.cuh"

struct MultiplyPromptParams {
  Matrix matrix;
  const float *bias;
  Inputs inputs;
  // `[tokens, rows]`, written; or none, and `residual` grows by `scale` times the result.
  float *out;
  float *residual;
  const u32 *tokens;
  u32 rows;
  u32 columns;
  float scale;
  u32 unused;
};

// Grid: [ceil(panels / 8), ceil(tokens / 32)].
KERNEL multiply_prompt(MultiplyPromptParams params) {
  u32 panel = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP,
      first = blockIdx.y * WARP_TOKENS;
  if (panel * ROWS >= params.rows || first >= *params.tokens) return;
  u32 tokens = *params.tokens - first < WARP_TOKENS ? *params.tokens - first : WARP_TOKENS;
  const u8 *start =
      params.matrix.panels + panel * panel_bytes(params.matrix.encoding, params.columns);
  Fragment results =
      multiply_panel(params.matrix.encoding, start, params.columns, params.inputs, tokens,
                     [&](u32 token) { return (u64)(first + (token < tokens ? token : 0)); });
  UNROLL
  for (u32 eight = 0; eight < EIGHTS; eight++) {
    UNROLL
    for (u32 which = 0; which < 4; which++) {
      u32 token = eight * EIGHT + fragment_token(which), row = panel * ROWS + fragment_row(which);
      if (token >= tokens || row >= params.rows) continue;
      float value = results.values[eight][which];
      if (params.bias) value += params.bias[row];
      u64 at = (u64)(first + token) * params.rows + row;
      if (params.residual) {
        params.residual[at] += params.scale * value;
      } else {
        params.out[at] = value * params.scale;
      }
    }
  }
}
