// The rows of the embedding table that the tokens name.
#include "tile.cuh"

struct EmbedParams {
  Matrix table;
  const u32 *tokens;
  // `[tokens, columns]`
  float *stream;
  u32 columns;
  float scale;
};

// Grid: [tokens].
KERNEL embed(EmbedParams params) {
  u32 token = params.tokens[blockIdx.x], row = token % ROWS, encoding = params.table.encoding;
  const u8 *panel =
      params.table.panels + (u64)(token / ROWS) * panel_bytes(encoding, params.columns);
  for (u32 column = threadIdx.x; column < params.columns; column += blockDim.x) {
    float value;
    if (encoding > CODES) {
      const u8 *tile = panel + (u64)(column / GROUP) * group_bytes(encoding);
      float code = (float)code_at(tile, encoding - CODES, row, column % GROUP);
      value = scale_of(tile, row) * code + minimum_of(tile, row);
    } else {
      value = float_at(panel, encoding, (u64)column * ROWS + row);
    }
    params.stream[(u64)blockIdx.x * params.columns + column] = value * params.scale;
  }
}
