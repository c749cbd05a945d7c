// The chosen experts of one token in two launches: gate and up projections with the activation
// between, then the down projections, weighed and added up. A dense block or a shared expert is the
// same with one expert.
#include "activation.cuh"
#include "teams.cuh"

struct GatedParams {
  const Expert *experts;
  // `[tokens, chosen]`
  const Choice *choices;
  Inputs inputs;
  // `[tokens * chosen, inner]`
  Inputs out;
  u32 chosen;
  u32 columns;
  u32 inner;
  u32 team_warps;
  Activation activation;
};

// Grid: [ceil(inner / 64), chosen, tokens]. A block makes 64 elements, so that it can quantize
// them.
KERNEL experts_gated(GatedParams params) {
  SHARED Terms terms;
  SHARED float projected[2][GROUP];
  u32 token = blockIdx.z, slot = token * params.chosen + blockIdx.y, first = blockIdx.x * GROUP;
  const Expert &expert = params.experts[params.choices[slot].expert];
  u32 rows = params.inner - first < GROUP ? params.inner - first : GROUP,
      panels = ceil_div(rows, ROWS);
  run_teams(
      2 * panels, params.columns, params.team_warps, terms,
      [&](u32 item) {
        const Matrix &matrix = item % 2 == 0 ? expert.gated : expert.up;
        u64 panel = first / ROWS + item / 2;
        const u8 *start = matrix.panels + panel * panel_bytes(matrix.encoding, params.columns);
        return Work{start, matrix.encoding, params.inputs, token};
      },
      [&](u32 item, u32 row, float value) { projected[item % 2][item / 2 * ROWS + row] = value; });
  __syncthreads();
  if (threadIdx.x >= WARP) return;
  activate_group(expert, params.activation, projected[0], projected[1], params.inner, blockIdx.x,
                 params.out, slot);
}

struct DownParams {
  const Expert *experts;
  const Choice *choices;
  // `[tokens * chosen, inner]`
  Inputs inputs;
  // What the experts' sum is added to, or none for zero: `[tokens, rows]`.
  const float *before;
  // Where the sum goes, or none, and `residual` grows by `scale` times it: `[tokens, rows]`.
  float *out;
  float *residual;
  u32 chosen;
  u32 rows;
  u32 inner;
  u32 team_warps;
  float scale;
  u32 unused;
};

// Most experts that a token may have.
#define CHOSEN_MAX 64u

// Grid: [panels of the output, tokens].
KERNEL experts_down(DownParams params) {
  SHARED Terms terms;
  SHARED float outputs[CHOSEN_MAX][ROWS];
  u32 token = blockIdx.y, first = token * params.chosen;
  run_teams(
      params.chosen, params.inner, params.team_warps, terms,
      [&](u32 item) {
        const Matrix &matrix = params.experts[params.choices[first + item].expert].down;
        const u8 *start = matrix.panels + blockIdx.x * panel_bytes(matrix.encoding, params.inner);
        return Work{start, matrix.encoding, params.inputs, first + item};
      },
      [&](u32 item, u32 row, float value) { outputs[item][row] = value; });
  __syncthreads();
  u32 row = blockIdx.x * ROWS + threadIdx.x;
  if (threadIdx.x >= ROWS || row >= params.rows) return;
  u64 at = (u64)token * params.rows + row;
  float sum = params.before ? params.before[at] : 0.0f;
  for (u32 item = 0; item < params.chosen; item++) {
    Choice choice = params.choices[first + item];
    const float *bias = params.experts[choice.expert].down_bias;
    float value = outputs[item][threadIdx.x];
    if (bias) value += bias[row];
    sum += choice.weight * value;
  }
  if (params.residual) {
    params.residual[at] += params.scale * sum;
  } else {
    params.out[at] = sum;
  }
}
