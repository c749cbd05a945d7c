//! What some tokens see of a layer's cache, chunk by chunk of 64 tokens.

use std::ops::Range;

use hardtack_kernels::KernelTable;
use hardtack_kernels::attention::{Scores, gather_each, score_each};

use super::codes::{self, Query};
use crate::cache::ring::RingLayer;
use crate::cache::sealed::Chunk;
use crate::cache::shape::{CHUNK, RingShape};
use crate::cache::{ExactRows, LayerCache};

/// Most queries that read a chunk of any cache together.
pub const QUERIES_MAX: usize = codes::QUERIES;
/// Most queries that read a chunk of an exact cache together.
const EXACT_QUERIES: usize = 16;

/// Most queries that read a chunk together.
pub const fn queries_max(ring: bool) -> usize {
    if ring { codes::QUERIES } else { EXACT_QUERIES }
}

/// Numbers of one query's result as it is staged.
pub fn staged_width(shape: &RingShape, ring: bool) -> usize {
    if ring { codes::staged_width(shape) } else { shape.matrices[shape.value_matrix()].width }
}

/// A layer's cache, seen from consecutive tokens.
#[derive(Clone)]
pub struct Cached<'a> {
    layer: &'a LayerCache,
    /// The chunks of an exact cache that the first of the tokens or a later one sees.
    exact: Range<usize>,
}

impl<'a> Cached<'a> {
    /// For tokens from `position` to `end`, the last of which are the newest that are kept.
    pub fn new(layer: &'a LayerCache, position: usize, end: usize) -> Self {
        let first = match layer.shape().window {
            0 => 0,
            window => (position + 1).saturating_sub(window),
        };
        Self { layer, exact: first / CHUNK..end.div_ceil(CHUNK) }
    }

    /// What is kept of a token.
    pub const fn shape(&self) -> &'a RingShape {
        self.layer.shape()
    }

    /// Most queries that read a chunk together.
    pub fn queries_max(&self) -> usize {
        queries_max(self.ring().is_some())
    }

    /// Numbers of one query's result as it is staged, and how many of them count.
    pub fn widths(&self) -> (usize, usize) {
        let shape = self.shape();
        let used = shape.matrices[shape.value_matrix()].width;
        (staged_width(shape, self.ring().is_some()), used)
    }

    /// The chunks, oldest first.
    pub fn chunks(&self) -> impl Iterator<Item = Chunk<'a>> + use<'a> {
        let exact = if self.ring().is_some() { 0..0 } else { self.exact.clone() };
        self.ring().into_iter().flat_map(RingLayer::chunks_seen).chain(exact.map(Chunk::Exact))
    }

    /// Whether a chunk's keys were moved, seen from the chunk that is open.
    pub fn is_moved(&self, chunk: Chunk<'_>) -> bool {
        let moved = |ring: &RingLayer| ring.shift(ring.begun()) > 0;
        matches!(chunk, Chunk::Exact(0)) && self.ring().is_some_and(moved)
    }

    /// Prefetches a head's keys of a chunk, or its values. Kernels of exact chunks do so
    /// themselves: tokens lie one after another.
    pub fn prefetch(&self, kernels: &KernelTable, chunk: Chunk<'_>, head: usize, values: bool) {
        if let (Some(ring), Chunk::Sealed(sealed)) = (self.ring(), chunk) {
            codes::prefetch(ring, kernels, sealed, head, values);
        }
    }

    /// Adds the scores of the first `seen` tokens of a chunk; those of later tokens are undefined.
    pub fn score(
        &self,
        kernels: &KernelTable,
        chunk: Chunk<'_>,
        head: usize,
        seen: usize,
        queries: &[Query<'_>],
        scores: &mut [Scores],
    ) {
        if let (Some(ring), Chunk::Sealed(sealed)) = (self.ring(), chunk) {
            return codes::score(ring, kernels, sealed, head, queries, scores);
        }
        for matrix in 0..self.shape().matrices.len() {
            let mut rows = [&[][..]; QUERIES_MAX];
            rows.iter_mut().zip(queries).for_each(|(row, query)| *row = query[matrix]);
            let rows = &rows[..queries.len()];
            if rows.first().is_none_or(|row| row.is_empty()) {
                continue;
            }
            match self.layer.exact(chunk.index(), matrix, head, seen) {
                ExactRows::F16(keys) => (kernels.score_f16)(rows, keys, scores),
                ExactRows::F32(keys) => score_each(rows, keys, scores, kernels.dot),
            }
        }
    }

    /// Adds the first `seen` tokens' values by their weights to the results `[queries, staged
    /// width]`.
    pub fn gather(
        &self,
        kernels: &KernelTable,
        chunk: Chunk<'_>,
        head: usize,
        seen: usize,
        weights: &[Scores],
        out: &mut [f32],
    ) {
        if let (Some(ring), Chunk::Sealed(sealed)) = (self.ring(), chunk) {
            return codes::gather(ring, kernels, sealed, head, weights, out);
        }
        let matrix = self.shape().value_matrix();
        let width = self.shape().matrices[matrix].width;
        match self.layer.exact(chunk.index(), matrix, head, seen) {
            ExactRows::F16(values) => (kernels.gather_f16)(weights, values, width, out),
            ExactRows::F32(values) => gather_each(weights, values, width, out, kernels.add_scaled),
        }
    }

    const fn ring(&self) -> Option<&'a RingLayer> {
        match self.layer {
            LayerCache::Ring(ring) => Some(ring),
            LayerCache::F16(_) | LayerCache::F32(_) => None,
        }
    }
}
