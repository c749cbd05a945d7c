//! Attention over what a layer keeps: softmax in one pass over its chunks (arXiv 2205.14135, algorithm 1), a running maximum and
//! sum, results rescaled when the maximum grows.
//!
//! Queries that see the same keys are taken in blocks, so that keys and values are read, and codes unpacked, once for several.
//! What one query gets does not depend on those beside it: kernels promise as much. Chunks stand at fixed positions, so the
//! pieces a prompt came in change nothing.

use hardtack_kernels::KernelTable;
use hardtack_kernels::halves::Scores;

use crate::backend::cpu::Cpu;
use crate::kv::shape::CHUNK;

const _: () = assert!(size_of::<Scores>() == CHUNK * size_of::<f32>());

/// Most queries of a block.
pub const QUERIES_MAX: usize = 16;

/// What one query asks of the two matrices of a cached head; nothing of the second where that holds values.
pub type Query<'a> = [&'a [f32]; 2];

/// Keys and values of one layer, kept chunk by chunk of 64 tokens.
pub trait Cached: Sync {
    /// A chunk that is kept.
    type Part<'p>: Copy
    where
        Self: 'p;

    /// Queries of a block, at most [`QUERIES_MAX`].
    const QUERIES: usize;

    /// Heads that are cached.
    fn heads(&self) -> usize;

    /// How many positions back a token sees, itself included; 0 for all.
    fn window(&self) -> usize;

    /// Numbers of one query's result as it is staged, and how many of them count.
    fn widths(&self) -> (usize, usize);

    /// The chunks, oldest first.
    fn parts(&self) -> impl Iterator<Item = Self::Part<'_>>;

    /// Which chunk of the text it is.
    fn chunk(part: Self::Part<'_>) -> usize;

    /// Whether its keys were moved, seen from the chunk that is open.
    fn moved(&self, part: Self::Part<'_>) -> bool;

    /// Adds the scores of the first `seen` tokens of a chunk; what it says of tokens behind them is of no meaning.
    fn score(
        &self,
        kernels: &KernelTable,
        part: Self::Part<'_>,
        head: usize,
        seen: usize,
        queries: &[Query<'_>],
        scores: &mut [Scores],
    );

    /// Adds the first `seen` tokens' values by their weights to the results `[queries, staged width]`.
    fn gather(
        &self,
        kernels: &KernelTable,
        part: Self::Part<'_>,
        head: usize,
        seen: usize,
        weights: &[Scores],
        out: &mut [f32],
    );
}

/// Blocks of so many queries that all queries of some tokens make.
const fn blocks(heads: usize, tokens: usize, group: usize, queries: usize) -> usize {
    heads * (tokens * group).div_ceil(queries)
}

/// Numbers that results are staged in, by blocks of [`Cached::QUERIES`].
pub const fn staged(heads: usize, tokens: usize, group: usize, queries: usize, width: usize) -> usize {
    blocks(heads, tokens, group, queries) * queries * width
}

/// Consecutive tokens, the last of which are the newest that are kept.
pub struct Segment<'a, C, Q> {
    pub cpu: Cpu<'a>,
    pub cache: &'a C,
    /// Position of the first token.
    pub position: usize,
    pub tokens: usize,
    /// Queries of a token for every cached head.
    pub group: usize,
    /// Scores are multiplied by this.
    pub scale: f32,
    /// A logit of every query head for attending to nothing.
    pub sinks: Option<&'a [f32]>,
    /// `query(token, head, moved)`: what meets the two matrices of a cached head, `moved` for keys of the first chunk that
    /// were moved.
    pub query: Q,
}

/// The softmax of one query so far.
#[derive(Clone, Copy)]
struct Running {
    maximum: f32,
    sum: f32,
}

impl<'a, C: Cached, Q> Segment<'a, C, Q>
where
    Q: Fn(usize, usize, bool) -> Query<'a> + Sync,
{
    /// Attends with every query, and calls `collect(token, head, result)` with what each gives. `staging` has room
    /// for what is [`staged`].
    pub fn attend(&self, staging: &mut [f32], mut collect: impl FnMut(usize, usize, &[f32])) {
        let ((width, used), heads, queries) = (self.cache.widths(), self.cache.heads(), self.tokens * self.group);
        let staging = &mut staging[..staged(heads, self.tokens, self.group, C::QUERIES, width)];
        let blocks_of_head = queries.div_ceil(C::QUERIES);
        let place = |block: usize| (block / blocks_of_head, block % blocks_of_head * C::QUERIES);
        // About a byte for each number that is read.
        let cost = self.cache.parts().count() * CHUNK * 2 * width;
        self.cpu.for_each_chunk(staging, C::QUERIES * width, cost, |block, out| {
            let (kv_head, first) = place(block);
            self.block(kv_head, first, (queries - first).min(C::QUERIES), width, out);
        });
        for (block, out) in staging.chunks_exact(C::QUERIES * width).enumerate() {
            let (kv_head, first) = place(block);
            for (index, out) in out.chunks_exact(width).enumerate().take(queries - first) {
                let query = first + index;
                collect(query / self.group, kv_head * self.group + query % self.group, &out[..used]);
            }
        }
    }

    /// One block: queries `first` to `first + count` of those of a cached head.
    fn block(&self, kv_head: usize, first: usize, count: usize, width: usize, out: &mut [f32]) {
        let kernels = self.cpu.kernels;
        let place = |index: usize| ((first + index) / self.group, kv_head * self.group + (first + index) % self.group);
        let out = &mut out[..count * width];
        out.fill(0.0);
        let mut running = [Running { maximum: f32::NEG_INFINITY, sum: 0.0 }; QUERIES_MAX];
        if let Some(sinks) = self.sinks {
            // The sink takes part in the softmax and has no value.
            let states = running.iter_mut().take(count).enumerate();
            states.for_each(|(index, state)| *state = Running { maximum: sinks[place(index).1], sum: 1.0 });
        }
        let queries = |moved: bool| -> [Query<'_>; QUERIES_MAX] {
            std::array::from_fn(|index| {
                let (token, head) = place(index);
                if index < count { (self.query)(token, head, moved) } else { [&[][..], &[][..]] }
            })
        };
        let usual = queries(false);
        let mut scores: [Scores; QUERIES_MAX] = [[0.0; CHUNK]; QUERIES_MAX];
        let scores = &mut scores[..count];
        for part in self.cache.parts() {
            let chunk = C::chunk(part);
            let visible = |index: usize| self.visible(place(index).0, chunk);
            // Later tokens see more; one that sees nothing here is followed by others, or all are past it.
            let seen = (0..count).map(visible).filter(|(from, to)| from < to).map(|(_, to)| to).max();
            let Some(seen) = seen else { continue };
            scores.as_flattened_mut().fill(0.0);
            let queries = if self.cache.moved(part) { queries(true) } else { usual };
            self.cache.score(kernels, part, kv_head, seen, &queries[..count], scores);
            for (index, (scores, out)) in scores.iter_mut().zip(out.chunks_exact_mut(width)).enumerate() {
                weigh(kernels, self.scale, scores, visible(index), &mut running[index], out);
            }
            // Together where they have seen as much: what a query has not seen must not touch its result.
            let mut first = 0;
            while first < count {
                let seen = visible(first).1;
                let end = (first..count).find(|&index| visible(index).1 != seen).unwrap_or(count);
                let out = &mut out[first * width..end * width];
                self.cache.gather(kernels, part, kv_head, seen, &scores[first..end], out);
                first = end;
            }
        }
        for (out, state) in out.chunks_exact_mut(width).zip(running) {
            let inverse = 1.0 / state.sum;
            out.iter_mut().for_each(|value| *value *= inverse);
        }
    }

    /// Which tokens of a chunk, from and to, a token of the segment sees.
    fn visible(&self, token: usize, chunk: usize) -> (usize, usize) {
        let (position, start) = (self.position + token, chunk * CHUNK);
        let to = (position + 1).saturating_sub(start).min(CHUNK);
        let from = match self.cache.window() {
            0 => 0,
            window => (position + 1).saturating_sub(window).saturating_sub(start).min(to),
        };
        (from, to)
    }
}

/// Turns scores of the visible tokens into weights, and what is summed already to the new maximum. Tokens that are not seen
/// get no weight.
fn weigh(
    kernels: &KernelTable,
    scale: f32,
    scores: &mut Scores,
    (from, to): (usize, usize),
    running: &mut Running,
    out: &mut [f32],
) {
    scores[..from].fill(0.0);
    scores[to..].fill(0.0);
    let scores = &mut scores[from..to];
    if scores.is_empty() {
        return;
    }
    scores.iter_mut().for_each(|score| *score *= scale);
    let largest = (kernels.maximum)(scores);
    if largest > running.maximum {
        let shrink = hardtack_kernels::math::exp(running.maximum - largest);
        out.iter_mut().for_each(|value| *value *= shrink);
        *running = Running { maximum: largest, sum: running.sum * shrink };
    }
    running.sum += (kernels.exp_sum)(scores, running.maximum);
}
