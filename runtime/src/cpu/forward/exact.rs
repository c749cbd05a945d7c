//! Attention over an exact cache.

use std::ops::Range;

use hardtack_kernels::KernelTable;
use hardtack_kernels::attention::Scores;

use super::attend::{Cached, Query};
use crate::cache::exact::{KvElement, LayerKv};
use crate::cache::shape::{CHUNK, RingShape, Scaled};

/// Queries of a block.
pub const QUERIES: usize = 16;

/// What some tokens of a pass see of a layer.
pub struct Exact<'a, E> {
    cache: &'a LayerKv<E>,
    shape: RingShape,
    chunks: Range<usize>,
}

impl<'a, E: KvElement> Exact<'a, E> {
    /// For tokens from `position` to `end`, the last of which are the newest.
    pub fn new(cache: &'a LayerKv<E>, shape: RingShape, position: usize, end: usize) -> Self {
        let first = match shape.window {
            0 => 0,
            window => (position + 1).saturating_sub(window),
        };
        Self { cache, shape, chunks: first / CHUNK..end.div_ceil(CHUNK) }
    }
}

/// Numbers of one query's result.
pub const fn value_width(shape: &RingShape) -> usize {
    let [keys, values] = shape.matrices;
    match values.scaled {
        Scaled::Token => values.width,
        Scaled::Channel => keys.width,
    }
}

impl<E: KvElement> Cached for Exact<'_, E> {
    type Part<'p>
        = usize
    where
        Self: 'p;

    const QUERIES: usize = QUERIES;

    fn heads(&self) -> usize {
        self.shape.heads
    }

    fn window(&self) -> usize {
        self.shape.window
    }

    fn widths(&self) -> (usize, usize) {
        (value_width(&self.shape), value_width(&self.shape))
    }

    fn parts(&self) -> impl Iterator<Item = usize> {
        self.chunks.clone()
    }

    fn chunk(part: usize) -> usize {
        part
    }

    fn moved(&self, _part: usize) -> bool {
        false
    }

    /// The kernels prefetch by themselves: tokens lie one after another.
    fn prefetch(&self, _kernels: &KernelTable, _chunk: usize, _head: usize, _values: bool) {}

    fn score(
        &self,
        kernels: &KernelTable,
        chunk: usize,
        head: usize,
        seen: usize,
        queries: &[Query<'_>],
        scores: &mut [Scores],
    ) {
        for (matrix, rows) in [&self.cache.first, &self.cache.second].into_iter().enumerate() {
            let mut asked = [&[][..]; QUERIES];
            asked.iter_mut().zip(queries).for_each(|(asked, query)| *asked = query[matrix]);
            let asked = &asked[..queries.len()];
            if !asked[0].is_empty() {
                E::score(kernels, asked, rows.span(head, chunk * CHUNK, seen), scores);
            }
        }
    }

    fn gather(
        &self,
        kernels: &KernelTable,
        chunk: usize,
        head: usize,
        seen: usize,
        weights: &[Scores],
        out: &mut [f32],
    ) {
        let values = match self.shape.matrices[1].scaled {
            Scaled::Token => &self.cache.second,
            Scaled::Channel => &self.cache.first,
        };
        E::gather(
            kernels,
            weights,
            values.span(head, chunk * CHUNK, seen),
            value_width(&self.shape),
            out,
        );
    }
}
