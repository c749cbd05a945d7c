// The experts of a prompt, its tokens grouped by expert, so that every weight is read once for all
// who chose it.
#include "activation.cuh"
#include "fragment.cuh"

// Which choices an expert serves. Without `starts` there is one expert, and it serves every token.
struct Grouping {
  const u32 *starts;
  const u32 *rows;
  const u32 *tokens;
};

// The choices of one expert: `first .. end` of the sorted ones.
struct Served {
  u32 first;
  u32 end;
};

DEVICE Served served(const Grouping &grouping, u32 expert) {
  if (!grouping.starts) return Served{0, *grouping.tokens};
  return Served{grouping.starts[expert], grouping.starts[expert + 1]};
}

DEVICE u32 choice_of(const Grouping &grouping, u32 index) {
  return grouping.rows ? grouping.rows[index] : index;
}

struct GatedPromptParams {
  const Expert *experts;
  Grouping grouping;
  Inputs inputs;
  // By choice, `[tokens * chosen, inner]`.
  Inputs out;
  u32 chosen;
  u32 columns;
  u32 inner;
  u32 unused;
  Activation activation;
};

// Grid: [ceil(inner / 64), experts], 8 warps: a warp for each panel of both projections, a warp for
// each token after them.
KERNEL experts_gated_prompt(GatedPromptParams params) {
  SHARED float projected[2][WARP_TOKENS][GROUP];
  const Expert &expert = params.experts[blockIdx.y];
  Served all = served(params.grouping, blockIdx.y);
  u32 warp = threadIdx.x / WARP, panel = blockIdx.x * (GROUP / ROWS) + warp / 2;
  const Matrix &matrix = warp % 2 == 0 ? expert.gated : expert.up;
  const u8 *start = matrix.panels + panel * panel_bytes(matrix.encoding, params.columns);
  for (u32 first = all.first; first < all.end; first += WARP_TOKENS) {
    u32 tokens = all.end - first < WARP_TOKENS ? all.end - first : WARP_TOKENS;
    if (panel * ROWS < params.inner) {
      Fragment results = multiply_panel(
          matrix.encoding, start, params.columns, params.inputs, tokens, [&](u32 token) {
            return (u64)(choice_of(params.grouping, first + (token < tokens ? token : 0)) /
                         params.chosen);
          });
      UNROLL
      for (u32 eight = 0; eight < EIGHTS; eight++) {
        UNROLL
        for (u32 which = 0; which < 4; which++) {
          projected[warp % 2][eight * EIGHT + fragment_token(which)]
                   [warp / 2 * ROWS + fragment_row(which)] = results.values[eight][which];
        }
      }
    }
    __syncthreads();
    for (u32 token = warp; token < tokens; token += blockDim.x / WARP) {
      activate_group(expert, params.activation, projected[0][token], projected[1][token],
                     params.inner, blockIdx.x, params.out,
                     choice_of(params.grouping, first + token));
    }
    __syncthreads();
  }
}

struct DownPromptParams {
  const Expert *experts;
  Grouping grouping;
  // By choice, `[tokens * chosen, inner]`.
  Inputs inputs;
  // By choice, `[tokens * chosen, rows]`.
  float *out;
  u32 rows;
  u32 inner;
};

// Grid: [ceil(panels / 8), experts].
KERNEL experts_down_prompt(DownPromptParams params) {
  const Expert &expert = params.experts[blockIdx.y];
  Served all = served(params.grouping, blockIdx.y);
  u32 panel = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
  if (panel * ROWS >= params.rows) return;
  const u8 *start = expert.down.panels + panel * panel_bytes(expert.down.encoding, params.inner);
  for (u32 first = all.first; first < all.end; first += WARP_TOKENS) {
    u32 tokens = all.end - first < WARP_TOKENS ? all.end - first : WARP_TOKENS;
    auto row_of = [&](u32 token) {
      return (u64)choice_of(params.grouping, first + (token < tokens ? token : 0));
    };
    Fragment results =
        multiply_panel(expert.down.encoding, start, params.inner, params.inputs, tokens, row_of);
    UNROLL
    for (u32 eight = 0; eight < EIGHTS; eight++) {
      UNROLL
      for (u32 which = 0; which < 4; which++) {
        u32 token = eight * EIGHT + fragment_token(which), row = panel * ROWS + fragment_row(which);
        if (token >= tokens || row >= params.rows) continue;
        float value = results.values[eight][which];
        if (expert.down_bias) value += expert.down_bias[row];
        params.out[row_of(token) * params.rows + row] = value;
      }
    }
  }
}

struct SumParams {
  const Choice *choices;
  // By choice, `[tokens * chosen, rows]`.
  const float *outputs;
  // What the sum is added to, or none for zero: `[tokens, rows]`.
  const float *before;
  // Where the sum goes, or none, and `residual` grows by `scale` times it.
  float *out;
  float *residual;
  u32 chosen;
  u32 rows;
  float scale;
  u32 unused;
};

// Grid: [tokens]. Weighs and adds up what the experts of each token gave, in the order they were
// chosen.
KERNEL experts_sum(SumParams params) {
  for (u32 row = threadIdx.x; row < params.rows; row += blockDim.x) {
    u64 at = (u64)blockIdx.x * params.rows + row;
    float sum = params.before ? params.before[at] : 0.0f;
    for (u32 index = 0; index < params.chosen; index++) {
      u64 choice = (u64)blockIdx.x * params.chosen + index;
      sum += params.choices[choice].weight * params.outputs[choice * params.rows + row];
    }
    if (params.residual) {
      params.residual[at] += params.scale * sum;
    } else {
      params.out[at] = sum;
    }
  }
}
