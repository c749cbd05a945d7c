// Panels times one row of inputs, shared out over the warps of a block.
//
// A block of 8 warps is cut into teams. Each lane of a team takes four rows of one group, so that
// its loads are 16 bytes and its sums need no other lane. The groups' terms come together in shared
// memory. There one thread for each row adds them up in the order that every tier keeps. A result
// therefore depends neither on the size of the teams nor on the kernel that uses them.
#pragma once
#include "tile.cuh"

#define BLOCK_THREADS 256u
#define BLOCK_WARPS (BLOCK_THREADS / WARP)
// Groups that a warp takes at once: four lanes each.
#define WARP_GROUPS 8u

// One panel to be multiplied with one row of inputs. Teams without work have no panel.
struct Work {
  const u8 *panel;
  u32 encoding;
  Inputs inputs;
  u32 row;
};

// Terms of a round, by group and row; two of them, so that one is summed while the next one is
// filled.
struct Terms {
  float4 values[2][BLOCK_WARPS * WARP_GROUPS][4];
};

// Calls `work(item)` for what to do and `finish(item, row, value)` with each of its 16 results, for
// all items below `items`. Every thread of the block must call this with the same numbers.
template <class MakeWork, class Finish>
DEVICE void run_teams(u32 items, u32 columns, u32 team_warps, Terms &terms, MakeWork make_work,
                      Finish finish) {
  u32 team_threads = team_warps * WARP, team = threadIdx.x / team_threads,
      member = threadIdx.x % team_threads;
  u32 teams = BLOCK_WARPS / team_warps, groups = ceil_div(columns, GROUP);
  u32 round_groups = team_warps * WARP_GROUPS, rounds = ceil_div(groups, round_groups);
  u32 own = member / 4, quarter = member % 4, side = 0;
  for (u32 first = 0; first < items; first += teams) {
    u32 item = first + team;
    Work work;
    work.panel = 0;
    if (item < items) work = make_work(item);
    float sum = 0.0f;
    for (u32 round = 0; round < rounds; round++) {
      u32 start = round * round_groups, group = start + own;
      if (work.panel && group < groups) {
        terms.values[side][team * round_groups + own][quarter] =
            group_terms(work.encoding, work.panel, columns, group, quarter, work.inputs, work.row);
      }
      __syncthreads();
      if (work.panel && member < ROWS) {
        u32 count = groups - start < round_groups ? groups - start : round_groups;
        const float *own_terms = (const float *)terms.values[side][team * round_groups];
        _Pragma("unroll 8") for (u32 index = 0; index < count; index++) sum +=
            own_terms[index * ROWS + member];
      }
      side ^= 1;
    }
    if (work.panel && member < ROWS) finish(item, member, sum);
  }
}
