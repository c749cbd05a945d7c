// A layer's ring of keys and values: where its bytes are (`src/ring.rs`), and which of its chunks
// there are.
#pragma once
#include "nested.cuh"

// Tokens of a chunk.
#define CHUNK_TOKENS 64u
// Slots of a span, and warps of a block of attention.
#define SLOTS 4u
// Words of a table before its chunks, and words of a chunk.
#define TABLE_HEAD 4u
#define PLACE_WORDS 20u

struct RingMatrix {
  u32 width;
  u32 rows;
  u32 columns;
  // Whether a token has a scale, not a channel. Then it is kept rotated.
  u32 by_token;
  u32 part;
  // Bytes of a head in a unit, and where in them this matrix begins.
  u32 head_bytes;
  u32 start;
  // Where its lowest values begin in a head's scales, and it in a chunk's f16.
  u32 scales;
  u32 halves;
  u32 unused;
};

struct RingShape {
  RingMatrix matrices[2];
  u32 unit_bytes;
  u32 scale_elements;
  // Of one head.
  u32 head_scales;
  // Where the open chunk's f16 begin, when it is not the first of the text.
  u32 open_start;
};

// A sealed chunk's words in a table: number, entry, bits of both parts, units of both parts.
DEVICE const u32 *place_at(const u32 *table, u32 index) {
  return table + TABLE_HEAD + index * PLACE_WORDS;
}
DEVICE u32 chunk_of(const u32 *place) { return place[0]; }
DEVICE u32 entry_of(const u32 *place) { return place[1]; }
DEVICE u32 bits_of(const u32 *place, u32 part) { return place[2 + part]; }
DEVICE const u32 *numbers_of(const u32 *place, u32 part) { return place + 4 + part * NESTED_UNITS; }

// Spans of a table, by the number of its sealed chunks.
DEVICE u32 spans_of(const u32 *table) { return ceil_div(table[0] + 2, SLOTS); }

// One head's f16 `[tokens, width]` of a matrix, in the chunk that begins at `start`.
DEVICE const u16 *halves_of(const RingShape &shape, const u16 *halves, u32 start, u32 matrix,
                            u32 head) {
  const RingMatrix &own = shape.matrices[matrix];
  return halves + (start == 0 ? 0 : shape.open_start) + own.halves +
         (u64)head * own.width * CHUNK_TOKENS;
}

// One head's codes of a matrix of a sealed chunk.
DEVICE Nested nested_of(const RingShape &shape, const u8 *units, const u32 *place, u32 matrix,
                        u32 head) {
  const RingMatrix &own = shape.matrices[matrix];
  const u8 *base = units + (u64)head * own.head_bytes + own.start;
  return Nested{base, numbers_of(place, own.part), shape.unit_bytes, bits_of(place, own.part),
                own.columns};
}

// Its lowest values; the ranges come `rows` after them.
DEVICE u64 scales_of(const RingShape &shape, u32 entry, u32 matrix, u32 head) {
  return (u64)entry * shape.scale_elements + (u64)head * shape.head_scales +
         shape.matrices[matrix].scales;
}
