// Matrices times a few rows of inputs, a row at a time: what decoding does outside of the experts.
#include "teams.cuh"

// One matrix, or a stack of them of which input row `r` takes number `r % stack`.
struct Job {
  Matrix matrix;
  // `[rows]`, or none.
  const float *bias;
  // `[input rows, rows]`, written; or none, and `residual` grows.
  float *out;
  float *residual;
  u32 rows;
  u32 stack;
  // Multiplies the results.
  float scale;
  // Panels of the jobs before this one.
  u32 first_panel;
};

struct MultiplyParams {
  Job jobs[3];
  Inputs inputs;
  // Which row of the inputs is the first one, or none for 0.
  const u32 *first_row;
  u32 count;
  u32 panels;
  u32 columns;
  u32 team_warps;
};

// Grid: [ceil(panels / teams), input rows].
KERNEL multiply(MultiplyParams params) {
  SHARED Terms terms;
  u32 teams = BLOCK_WARPS / params.team_warps,
      row = blockIdx.y + (params.first_row ? *params.first_row : 0);
  u32 first = blockIdx.x * teams, left = params.panels - first;
  u32 which = 0, panel = 0;
  run_teams(
      left < teams ? left : teams, params.columns, params.team_warps, terms,
      [&](u32 item) {
        u32 at = first + item;
        which = params.count > 2 && at >= params.jobs[2].first_panel   ? 2
                : params.count > 1 && at >= params.jobs[1].first_panel ? 1
                                                                       : 0;
        const Job &job = params.jobs[which];
        panel = at - job.first_panel;
        u64 index = (u64)(row % job.stack) * ceil_div(job.rows, ROWS) + panel;
        const u8 *start =
            job.matrix.panels + index * panel_bytes(job.matrix.encoding, params.columns);
        return Work{start, job.matrix.encoding, params.inputs, row};
      },
      [&](u32, u32 panel_row, float value) {
        const Job &job = params.jobs[which];
        u32 at = panel * ROWS + panel_row;
        if (at >= job.rows) return;
        if (job.bias) value += job.bias[at];
        u64 index = (u64)blockIdx.y * job.rows + at;
        if (job.residual) {
          job.residual[index] += job.scale * value;
        } else {
          job.out[index] = value * job.scale;
        }
      });
}
