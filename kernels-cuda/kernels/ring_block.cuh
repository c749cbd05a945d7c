// What a block of attention over a ring gets, and what its queries see.
#pragma once
#include "ring.cuh"

// Tokens of a span, which a block takes at once.
#define SPAN_TOKENS (SLOTS * CHUNK_TOKENS)
// Where nothing begins.
#define NO_START 0xffffffffu

struct RingAttentionParams {
  // Queries `[tokens, heads, width]`, for the first and the second part of the keys.
  const float *first_query;
  const float *second_query;
  const u16 *halves;
  const u8 *units;
  const u16 *scales;
  const u32 *table;
  // A logit for attending to nothing, one a head; or none.
  const float *sinks;
  // First position, tokens, a row, and how far the first chunk is moved.
  const u32 *state;
  // `[frequencies]`: the turns that bring queries back by as much.
  const float2 *turns_back;
  // `[tokens, heads, value_width]`, or none: then every span leaves its part.
  float *out;
  // `[tokens, heads, spans]`: largest score and sum of each span's exponentials.
  float2 *states;
  // `[tokens, heads, spans, value_width]`
  float *parts;
  RingShape shape;
  u32 heads;
  u32 group;
  u32 first_width;
  u32 second_width;
  u32 value_width;
  // How many tokens a token sees, itself included; 0 for all.
  u32 window;
  u32 spans;
  // Elements that RoPE turns.
  u32 turned;
  float scale;
  u32 unused;
};

// The queries of a block: `count` of those of a cached head, which lie token by token.
struct Queries {
  u32 kv_head;
  u32 first;
  u32 count;
  u32 position;
};

// Tokens of a chunk, from and to.
struct Seen {
  u32 from;
  u32 to;
};

// Dynamic shared memory of a block, each for `Q` queries.
struct RingWork {
  // `[first_width + second_width]`
  float *queries;
  // The last part of the queries, turned back for keys that were moved.
  float *moved;
  // `[SPAN_TOKENS]`
  float *scores;
  // `[SLOTS, Q, value_width]`
  float *parts;
  // `[value_width]`
  float *totals;
};

DEVICE u64 row_of(const RingAttentionParams &params, const Queries &queries, u32 query) {
  u32 index = queries.first + query;
  return (u64)(index / params.group) * params.heads + queries.kv_head * params.group +
         index % params.group;
}

// What a query sees of the chunk that begins at `start`.
DEVICE Seen seen_by(const RingAttentionParams &params, const Queries &queries, u32 query,
                    u32 start) {
  u32 end = queries.position + (queries.first + query) / params.group + 1;
  if (query >= queries.count || start >= end) return Seen{0, 0};
  u32 to = end - start < CHUNK_TOKENS ? end - start : CHUNK_TOKENS;
  u32 oldest = params.window > 0 && end > params.window ? end - params.window : 0;
  u32 from = oldest > start ? oldest - start : 0;
  return Seen{from < to ? from : to, to};
}

// Where a slot's chunk begins; nowhere if it has none.
DEVICE u32 start_of(const RingAttentionParams &params, u32 slot, u32 open) {
  u32 sealed = params.table[0];
  if (slot == 0) return params.window == 0 && open > 0 ? 0 : NO_START;
  if (slot <= sealed) return chunk_of(place_at(params.table, slot - 1)) * CHUNK_TOKENS;
  return slot == sealed + 1 ? open * CHUNK_TOKENS : NO_START;
}

// Two of a group's lowest values or ranges, zero after its last row.
DEVICE float2 scale_pair(const u16 *scales, u32 row, u32 rows) {
  if (row >= rows) return make_float2(0.0f, 0.0f);
  u32 both = *(const u32 *)(scales + row);
  return make_float2(half_to_float((u16)both), half_to_float((u16)(both >> 16)));
}
