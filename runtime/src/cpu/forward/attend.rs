//! Attention over what a layer keeps, in one pass over its chunks.
//!
//! Queries that see the same keys are taken in blocks, so that keys and values are read, and codes
//! unpacked, once for several. What one query gets does not depend on those beside it: kernels
//! promise as much. Chunks are at fixed positions, so the pieces a prompt came in change no result,
//! and neither does the number of threads that share a token's lanes.

use hardtack_format::limits::HEAD_DIM_MAX;
use hardtack_format::spec::AttentionSpec;
use hardtack_kernels::attention::Scores;

use super::cached::{Cached, QUERIES_MAX, queries_max, staged_width};
use super::codes::Query;
use super::softmax::Running;
use crate::cache::sealed::Chunk;
use crate::cache::shape::{CHUNK, RingShape};
use crate::cpu::multiply::Cpu;
use crate::cpu::rows::Rows;

const _: () = assert!(size_of::<Scores>() == CHUNK * size_of::<f32>());

/// Consecutive chunks of the text that a lane takes before the next one does.
const LANE_CHUNKS: usize = 8;
/// Lanes, each of which sums up a query's results over its own chunks, by their index in the text.
/// Those of a token are pieces of work, as cached heads may be fewer than threads.
const LANES: usize = 8;
/// Results of a query's lane are followed by its running maximum and sum.
const RUNNING: usize = 2;
/// Numbers of a lane that a block of several tokens keeps beside its own.
const LANE_ROOM: usize = 16 * 1024;
const NARROW_ROOM: usize = 2 * 1024;
const _: () = assert!(HEAD_DIM_MAX as usize + RUNNING <= LANE_ROOM, "one query's results");

/// Queries of a block, out of `queries` whose results are `width` wide.
fn block_queries(most: usize, queries: usize, width: usize) -> usize {
    most.min(queries).min(LANE_ROOM / (width + RUNNING)).max(1)
}

/// Numbers that the results of a layer's queries are staged in, for any number of tokens up to this
/// one.
pub fn staged(spec: &AttentionSpec, tokens: usize, ring: bool) -> usize {
    let shape = RingShape::of(spec);
    let (most, width) = (queries_max(ring), staged_width(&shape, ring));
    let (tokens, group) =
        (if ring { tokens.min(CHUNK) } else { tokens }, spec.heads as usize / shape.heads);
    let rows = |queries: usize| queries.next_multiple_of(block_queries(most, queries, width));
    shape.heads * (width + RUNNING) * rows(tokens * group).max(LANES * rows(group))
}

/// Queries of consecutive tokens, the last of which are the newest that are kept.
pub struct Attend<'a, Q> {
    pub cpu: Cpu<'a>,
    /// What the tokens see.
    pub cached: Cached<'a>,
    /// Position of the first token.
    pub position: usize,
    pub tokens: usize,
    /// Queries of a token for every cached head.
    pub group: usize,
    /// Scores are multiplied by this.
    pub scale: f32,
    /// A logit of every query head for attending to no token.
    pub sinks: Option<&'a [f32]>,
    /// `query(token, head, moved)`: what is multiplied with the two matrices of a cached head,
    /// `moved` for keys of the first chunk that were moved.
    pub query: Q,
}

/// Queries `first` to `first + count` of those of a cached head, and how wide their results are.
#[derive(Clone, Copy)]
struct Block {
    kv_head: usize,
    first: usize,
    count: usize,
    width: usize,
}

impl<'a, Q> Attend<'a, Q>
where
    Q: Fn(usize, usize, bool) -> Query<'a> + Sync,
{
    /// Calls `collect(token, head, result)` with the result of every query. `staging` has room for
    /// what is [`staged`].
    pub fn run(&self, staging: &mut [f32], mut collect: impl FnMut(usize, usize, &[f32])) {
        let ((width, used), heads) = (self.cached.widths(), self.cached.shape().heads);
        let queries = self.tokens * self.group;
        let most = block_queries(self.cached.queries_max(), queries, width);
        let blocks = queries.div_ceil(most);
        let block = |index: usize| {
            let first = index % blocks * most;
            Block { kv_head: index / blocks, first, count: most.min(queries - first), width }
        };
        let newest = self.cached.chunks().last();
        let lanes = newest.map_or(1, |newest| LANES.min(newest.index() / LANE_CHUNKS + 1));
        let cut = if self.tokens == 1 { lanes } else { 1 };
        let piece = most * (width + RUNNING);
        let (count, staging) = (heads * blocks * cut, &mut staging[..heads * blocks * cut * piece]);
        // About a byte for each number that is read.
        let cost = self.cached.chunks().count() * CHUNK * 2 * width / cut;
        self.cpu.for_rows(count, cost, Rows::new(staging, piece), |range, mut pieces| {
            for (index, piece) in range.zip(pieces.iter_mut()) {
                let block = block(index / cut);
                self.lane(block, index % cut, piece);
                if cut == 1 {
                    self.other_lanes(block, lanes, piece);
                    self.finish(block, piece);
                }
            }
        });
        for (index, pieces) in staging.chunks_exact_mut(cut * piece).enumerate() {
            let (block, (results, others)) = (block(index), pieces.split_at_mut(piece));
            if cut > 1 {
                others.chunks_exact_mut(piece).for_each(|other| add_lane(block, results, other));
                self.finish(block, results);
            }
            for (index, result) in results.chunks_exact(width).enumerate().take(block.count) {
                let (token, head) = self.place(block, index);
                collect(token, head, &result[..used]);
            }
        }
    }

    /// Token and head of a query.
    fn place(&self, block: Block, index: usize) -> (usize, usize) {
        let query = block.first + index;
        (query / self.group, block.kv_head * self.group + query % self.group)
    }

    /// The queries' results over the chunks of one lane.
    fn lane(&self, block: Block, lane: usize, piece: &mut [f32]) {
        let (kernels, Block { kv_head, count, width, .. }) = (self.cpu.kernels, block);
        let (out, states) = rows_and_states(block, piece);
        out.fill(0.0);
        let mut running = [Running::NONE; QUERIES_MAX];
        let queries = |moved: bool| -> [Query<'_>; QUERIES_MAX] {
            std::array::from_fn(|index| {
                let (token, head) = self.place(block, index);
                if index < count { (self.query)(token, head, moved) } else { [&[][..], &[][..]] }
            })
        };
        let usual = queries(false);
        let mut scores: [Scores; QUERIES_MAX] = [[0.0; CHUNK]; QUERIES_MAX];
        let scores = &mut scores[..count];
        // The many queries of a prompt take longer than memory does.
        let prefetches = self.tokens == 1;
        let own = |chunk: &Chunk<'_>| chunk.index() / LANE_CHUNKS % LANES == lane;
        let mut chunks = self.cached.chunks().filter(own).peekable();
        while let Some(chunk) = chunks.next() {
            let visible = |index: usize| self.visible(self.place(block, index).0, chunk.index());
            // Later tokens see more; one that sees none of these is followed by others, or all are
            // past it.
            let seen =
                (0..count).map(visible).filter(|(from, to)| from < to).map(|(_, to)| to).max();
            let Some(seen) = seen else { continue };
            scores.as_flattened_mut().fill(0.0);
            if prefetches {
                self.cached.prefetch(kernels, chunk, kv_head, true);
            }
            let queries = if self.cached.is_moved(chunk) { queries(true) } else { usual };
            self.cached.score(kernels, chunk, kv_head, seen, &queries[..count], scores);
            for (index, (scores, out)) in
                scores.iter_mut().zip(out.chunks_exact_mut(width)).enumerate()
            {
                running[index].weigh(kernels, self.scale, scores, visible(index), out);
            }
            if prefetches && let Some(&next) = chunks.peek() {
                self.cached.prefetch(kernels, next, kv_head, false);
            }
            // Together where they have seen as much: what a query has not seen must not touch its
            // result.
            let mut first = 0;
            while first < count {
                let seen = visible(first).1;
                let end = (first..count).find(|&index| visible(index).1 != seen).unwrap_or(count);
                let out = &mut out[first * width..end * width];
                self.cached.gather(kernels, chunk, kv_head, seen, &scores[first..end], out);
                first = end;
            }
        }
        states.iter_mut().zip(running).for_each(|(kept, state)| *kept = state.into());
    }

    /// Adds the results of the lanes after the first.
    fn other_lanes(&self, block: Block, lanes: usize, piece: &mut [f32]) {
        if lanes == 1 {
            return;
        }
        // Most results are as narrow as this, and filling much more with zeros would empty the
        // first cache.
        match piece.len() {
            0..=NARROW_ROOM => self.add_lanes(block, lanes, &mut [0.0; NARROW_ROOM], piece),
            _ => self.add_lanes(block, lanes, &mut [0.0; LANE_ROOM], piece),
        }
    }

    fn add_lanes(&self, block: Block, lanes: usize, other: &mut [f32], piece: &mut [f32]) {
        let other = &mut other[..piece.len()];
        for lane in 1..lanes {
            self.lane(block, lane, other);
            add_lane(block, piece, other);
        }
    }

    /// Divides results by the sums of their weights.
    fn finish(&self, block: Block, piece: &mut [f32]) {
        let (out, states) = rows_and_states(block, piece);
        for (index, (out, state)) in out.chunks_exact_mut(block.width).zip(states).enumerate() {
            let sink = self.sinks.map(|sinks| sinks[self.place(block, index).1]);
            Running::from(*state).finish(out, sink);
        }
    }

    /// Which tokens of a chunk, from and to, a token sees.
    fn visible(&self, token: usize, chunk: usize) -> (usize, usize) {
        let (position, start) = (self.position + token, chunk * CHUNK);
        let to = (position + 1).saturating_sub(start).min(CHUNK);
        let from = match self.cached.shape().window {
            0 => 0,
            window => (position + 1).saturating_sub(window).saturating_sub(start).min(to),
        };
        (from, to)
    }
}

/// A piece's results `[queries, width]`, and the maximum and sum of each query.
fn rows_and_states(block: Block, piece: &mut [f32]) -> (&mut [f32], &mut [[f32; RUNNING]]) {
    let (rows, states) = piece.split_at_mut(piece.len() / (block.width + RUNNING) * block.width);
    (&mut rows[..block.count * block.width], &mut states.as_chunks_mut().0[..block.count])
}

/// Adds the same queries' results over another lane.
fn add_lane(block: Block, piece: &mut [f32], other: &mut [f32]) {
    let ((out, states), (other_out, others)) =
        (rows_and_states(block, piece), rows_and_states(block, other));
    let rows = out.chunks_exact_mut(block.width).zip(other_out.chunks_exact(block.width));
    for ((out, other_out), (state, other)) in rows.zip(states.iter_mut().zip(others)) {
        let mut total = Running::from(*state);
        total.add(out, Running::from(*other), other_out);
        *state = total.into();
    }
}
