//! The exact bytes of a ring: how many units of codes every layer gets.

use half::f16;
use hardtack_format::spec::AttentionSpec;

use super::RingOptions;
use super::ladder::Ladder;
use super::ring::Sealed;
use super::shape::{CHUNK, RingShape};
use crate::error::Error;

/// Most units of a layer, so that they can be numbered.
const UNITS_MAX: usize = 1 << 24;

/// The size of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSize {
    /// The policy.
    pub ladder: Ladder,
    /// Tokens over which the ring reaches at most, first chunk and open chunk included: the distances that the model was
    /// trained for. A multiple of [`CHUNK`].
    pub reach: usize,
    /// Units of codes of every layer, fewer where its window needs fewer.
    units: usize,
}

/// What one layer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerSize {
    /// One bit each of every code of a chunk.
    pub units: usize,
    /// Most sealed chunks.
    pub chunks: usize,
}

impl RingSize {
    /// The largest ring of so many bytes over at most `context` tokens.
    ///
    /// # Errors
    /// Fewer bytes than one chunk of codes takes beside the first chunk and the open one, or too short a context.
    pub fn of(options: &RingOptions, layers: &[AttentionSpec], context: usize) -> Result<Self, Error> {
        let reach = context / CHUNK * CHUNK;
        // The first chunk, a sealed one and the open one.
        if reach < 3 * CHUNK {
            let expected = format!("at least {} for a ring", 3 * CHUNK);
            return Err(Error::Setting { setting: "context", expected, found: context.to_string() });
        }
        let with = |units| Self { ladder: options.ladder, reach, units };
        let first = options.ladder.first() as usize;
        // More than a reach of the most precise codes is never used.
        let most = ((reach / CHUNK - 2) * first).min(UNITS_MAX);
        if options.bytes == 0 {
            return Ok(with(most));
        }
        let least = Self::least_bytes(options.ladder, layers, context);
        if options.bytes < least {
            let expected = format!("at least {least} bytes");
            return Err(Error::Setting { setting: "kv", expected, found: options.bytes.to_string() });
        }
        let (mut fits, mut over) = (first, most + 1);
        while over - fits > 1 {
            let middle = fits + (over - fits) / 2;
            if with(middle).bytes(layers) <= options.bytes { fits = middle } else { over = middle }
        }
        Ok(with(fits))
    }

    /// The fewest bytes of a ring: with one chunk of codes in every layer.
    pub fn least_bytes(ladder: Ladder, layers: &[AttentionSpec], context: usize) -> u64 {
        Self { ladder, reach: context / CHUNK * CHUNK, units: ladder.first() as usize }.bytes(layers)
    }

    /// Units of codes of a layer without a window.
    pub const fn units(&self) -> usize {
        self.units
    }

    /// What a layer gets.
    pub fn layer(&self, shape: &RingShape) -> LayerSize {
        let chunks_max = match shape.window {
            0 => self.reach / CHUNK - 2,
            // A window may begin and end within a chunk; the open one is not sealed.
            window => (window.div_ceil(CHUNK) + 1).min(self.reach / CHUNK - 1),
        };
        let units = self.units.min(chunks_max * self.ladder.first() as usize);
        let steps = self.ladder.steps();
        let within_shares: usize = steps.iter().map(|&bits| (units / steps.len()).div_ceil(bits as usize) + 1).sum();
        LayerSize { units, chunks: within_shares.min(chunks_max) }
    }

    /// Bytes of all layers.
    pub fn bytes(&self, layers: &[AttentionSpec]) -> u64 {
        let layer = |attention| {
            let shape = RingShape::of(attention);
            let LayerSize { units, chunks } = self.layer(&shape);
            let halves = shape.half_slots() * shape.chunk_elements() + chunks * shape.scale_elements();
            let lists = units * size_of::<u32>() + chunks * (size_of::<u32>() + size_of::<Sealed>());
            (halves * size_of::<f16>() + units * shape.unit_bytes() + lists) as u64
        };
        layers.iter().map(layer).sum()
    }
}

#[cfg(test)]
mod tests {
    use hardtack_format::spec::{AttentionKind, HeadNorm};

    use super::*;
    use crate::kv::ring::Ring;

    fn grouped(kv_heads: u32, head_dim: u32, window: u32) -> AttentionSpec {
        let kind = AttentionKind::Grouped { kv_heads, head_dim, norm: HeadNorm::None };
        AttentionSpec { heads: 2 * kv_heads, score_scale: 1.0, window, rope_dim: head_dim, rope_scale: 1.0, kind }
    }

    #[test]
    fn what_is_counted_is_what_is_allocated() {
        let latent = AttentionKind::Latent { query_rank: 0, kv_rank: 100, nope_dim: 16, value_dim: 16 };
        let latent = AttentionSpec { rope_dim: 24, kind: latent, ..grouped(1, 24, 0) };
        let layers = [grouped(2, 80, 0), grouped(3, 64, 130), latent];
        for steps in [&[4][..], &[8, 4, 2], &[6, 3]] {
            let ladder = Ladder::new(steps).unwrap();
            let all = RingSize::of(&RingOptions { bytes: 0, ladder }, &layers, 2000).unwrap();
            assert_eq!(all.reach, 1984);
            let (least, most) = (RingSize::least_bytes(ladder, &layers, 2000), all.bytes(&layers));
            for bytes in [least, least + (most - least) / 3, most - 1, most] {
                let size = RingSize::of(&RingOptions { bytes, ladder }, &layers, 2000).unwrap();
                let counted = size.bytes(&layers);
                assert!(counted <= bytes && counted + (16 << 10) > bytes, "{steps:?}: {counted} of {bytes}");
                let ring = Ring::new(&size, layers.iter()).unwrap();
                assert_eq!(ring.layers.iter().map(|layer| layer.allocated_bytes()).sum::<usize>() as u64, counted);
            }
        }
    }

    #[test]
    fn a_window_needs_no_more_than_itself() {
        let ladder = Ladder::new(&[4]).unwrap();
        let size = RingSize::of(&RingOptions { bytes: 0, ladder }, &[grouped(1, 64, 130)], 4096).unwrap();
        let layer = size.layer(&RingShape::of(&grouped(1, 64, 130)));
        assert_eq!(layer, LayerSize { units: 16, chunks: 4 });
    }
}
