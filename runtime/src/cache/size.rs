//! How much a cache holds; of a ring, how many units of codes every layer gets.

use half::f16;
use hardtack_format::KvPolicy;
use hardtack_format::spec::AttentionSpec;

use super::ladder::Ladder;
use super::sealed::Sealed;
use super::shape::{CHUNK, RingShape};
use crate::error::Error;
use crate::options::{KvPrecision, RingBits, RingOptions};

/// Most units of a layer, so that they can be numbered.
const UNITS_MAX: usize = 1 << 24;

/// How much a cache holds.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum KvSize {
    /// As f16, of this many tokens.
    F16(usize),
    /// As f32, of this many tokens.
    F32(usize),
    /// A ring.
    Ring(RingSize),
}

impl KvSize {
    /// Decides the size of a cache for `context` tokens.
    ///
    /// # Errors
    /// A ring that cannot be as small or as large as asked for, or learned bits of a model that has
    /// none.
    pub fn of(
        precision: KvPrecision,
        policy: Option<&KvPolicy>,
        layers: &[AttentionSpec],
        context: usize,
    ) -> Result<Self, Error> {
        Ok(match precision {
            KvPrecision::F16 => Self::F16(context),
            KvPrecision::F32 => Self::F32(context),
            KvPrecision::Ring(options) => {
                Self::Ring(RingSize::of(&options, policy, layers, context)?)
            }
        })
    }

    /// Whether it is a ring.
    pub const fn is_ring(&self) -> bool {
        matches!(self, Self::Ring(_))
    }

    /// Bytes that such a cache allocates.
    pub fn bytes(&self, layers: &[AttentionSpec]) -> u64 {
        let exact = |element_bytes: u64, tokens: usize| {
            let cached = layers.iter().map(AttentionSpec::cached);
            let elements: u64 =
                cached.map(|(keys, values)| u64::from(keys) + u64::from(values)).sum();
            (elements * element_bytes).saturating_mul(tokens as u64)
        };
        match self {
            Self::F16(tokens) => exact(2, *tokens),
            Self::F32(tokens) => exact(4, *tokens),
            Self::Ring(size) => size.bytes(layers),
        }
    }

    /// Bytes of a ring's lists, which are the host's wherever keys and values are.
    #[cfg(feature = "cuda")]
    pub(crate) fn list_bytes<'a>(&self, layers: impl Iterator<Item = &'a AttentionSpec>) -> u64 {
        match self {
            Self::F16(_) | Self::F32(_) => 0,
            Self::Ring(size) => {
                layers.map(|layer| size.layer(&RingShape::of(layer)).list_bytes()).sum()
            }
        }
    }
}

/// The size of a ring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RingSize {
    /// The policy.
    pub ladder: Ladder,
    /// Tokens over which the ring reaches at most, first chunk and open chunk included: the
    /// distances that the model was trained for. A multiple of a chunk.
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

impl LayerSize {
    /// Bytes of the lists of units, entries and chunks.
    pub const fn list_bytes(self) -> u64 {
        (self.units * size_of::<u32>() + self.chunks * (size_of::<u32>() + size_of::<Sealed>()))
            as u64
    }
}

impl RingSize {
    /// The largest ring of `options.bytes` over at most `context` tokens; one that never loses bits
    /// if no bytes are given.
    ///
    /// # Errors
    /// Fewer bytes than one chunk of codes takes beside the first chunk and the open one, too short
    /// a context, or learned bits of a model that has none.
    pub fn of(
        options: &RingOptions,
        policy: Option<&KvPolicy>,
        layers: &[AttentionSpec],
        context: usize,
    ) -> Result<Self, Error> {
        let reach = context / CHUNK * CHUNK;
        // The first chunk, a sealed one and the open one.
        if reach < 3 * CHUNK {
            let expected = format!("at least {} for a ring", 3 * CHUNK);
            return Err(Error::Setting {
                setting: "context",
                expected,
                found: context.to_string(),
            });
        }
        let wanted = match options.bits {
            RingBits::Ladder(_) | RingBits::Auto => None,
            RingBits::Learned(bits) => bits,
        };
        let ladder = match (options.bits, policy) {
            (RingBits::Ladder(ladder), _) => ladder,
            (RingBits::Auto, None) => Ladder::default(),
            (RingBits::Learned(_), None) => {
                let expected = "a number: the model has no policy of its own".to_owned();
                return Err(Error::Setting {
                    setting: "kv bits",
                    expected,
                    found: "learned".to_owned(),
                });
            }
            (_, Some(policy)) => {
                let bits =
                    wanted.unwrap_or_else(|| affordable(policy, options.bytes, layers, reach));
                Ladder::learned(policy, bits)?
            }
        };
        let with = |units| Self { ladder, reach, units };
        let first = with(0).first_units_max(layers);
        // More than a reach of the most precise codes is never used.
        let most = ((reach / CHUNK - 2) * first).min(UNITS_MAX);
        let Some(bytes) = options.bytes else { return Ok(with(most)) };
        let least = with(first).bytes(layers);
        if bytes < least {
            let expected = format!("at least {least} bytes");
            return Err(Error::Setting { setting: "kv", expected, found: bytes.to_string() });
        }
        let (mut fits, mut over) = (first, most + 1);
        while over - fits > 1 {
            let middle = fits + (over - fits) / 2;
            if with(middle).bytes(layers) <= bytes { fits = middle } else { over = middle }
        }
        Ok(with(fits))
    }

    /// Units of codes of a layer without a window.
    pub const fn units(&self) -> usize {
        self.units
    }

    fn first_units_max(&self, layers: &[AttentionSpec]) -> usize {
        layers
            .iter()
            .map(|layer| self.ladder.first_units_max(RingShape::of(layer).parts()))
            .max()
            .unwrap_or(0)
    }

    /// What a layer gets.
    pub fn layer(&self, shape: &RingShape) -> LayerSize {
        let chunks_max = match shape.window {
            0 => self.reach / CHUNK - 2,
            // A window may begin and end within a chunk; the open one is not sealed.
            window => (window.div_ceil(CHUNK) + 1).min(self.reach / CHUNK - 1),
        };
        let units = self.units.min(chunks_max * self.ladder.first_units_max(shape.parts()));
        LayerSize { units, chunks: self.ladder.chunks(units, shape.parts()).min(chunks_max) }
    }

    /// Bytes of all layers.
    pub fn bytes(&self, layers: &[AttentionSpec]) -> u64 {
        let layer = |attention| {
            let shape = RingShape::of(attention);
            let size = self.layer(&shape);
            let elements =
                shape.f16_slots() * shape.chunk_elements() + size.chunks * shape.scale_elements();
            (elements * size_of::<f16>() + size.units * shape.unit_bytes()) as u64
                + size.list_bytes()
        };
        layers.iter().map(layer).sum()
    }
}

/// The most bits on average at which a ring of `bytes` holds a whole reach, or else the fewest
/// there are.
fn affordable(
    policy: &KvPolicy,
    bytes: Option<u64>,
    layers: &[AttentionSpec],
    reach: usize,
) -> f32 {
    let parts = layers.iter().map(|layer| RingShape::of(layer).parts()).max().unwrap_or(1);
    let fits = |bits: f32| {
        let units = ((reach / CHUNK - 2) as f32 * bits * parts as f32) as usize;
        let ladder = Ladder::learned(policy, bits);
        bytes.is_none_or(|bytes| {
            ladder.is_ok_and(|ladder| RingSize { ladder, reach, units }.bytes(layers) <= bytes)
        })
    };
    let averages = || policy.prices.iter().map(|price| price.bits);
    averages().find(|&bits| fits(bits)).or(averages().next_back()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use hardtack_format::kv_policy::{LayerPolicy, Price};
    use hardtack_format::spec::{AttentionKind, HeadNorm};

    use super::*;
    use crate::cache::ladder::Rung;
    use crate::cache::ring::RingLayer;

    fn grouped(kv_heads: u32, head_dim: u32, window: u32) -> AttentionSpec {
        let kind = AttentionKind::Grouped { kv_heads, head_dim, norm: HeadNorm::None };
        AttentionSpec {
            heads: 2 * kv_heads,
            score_scale: 1.0,
            window,
            rope_dim: head_dim,
            rope_scale: 1.0,
            kind,
        }
    }

    #[test]
    fn what_is_counted_is_what_is_allocated() {
        let latent =
            AttentionKind::Latent { query_rank: 0, kv_rank: 100, nope_dim: 16, value_dim: 16 };
        let latent = AttentionSpec { rope_dim: 24, kind: latent, ..grouped(1, 24, 0) };
        let layers = [grouped(2, 80, 0), grouped(3, 64, 130), latent];
        let price = |bits, byte| Price { bits, byte };
        let prices = vec![price(6.0, 0.0), price(4.0, 1.0), price(2.5, 2.0)];
        let policy = KvPolicy { prices, layers: vec![LayerPolicy::default(); layers.len()] };
        let fixed = [&[[4, 4]][..], &[[8, 8], [4, 3], [2, 2]], &[[6, 2]]];
        let fixed = fixed.map(|rungs| RingBits::Ladder(Ladder::new(rungs).unwrap()));
        let learned = [None, Some(4.0)].map(RingBits::Learned);
        for bits in fixed.into_iter().chain(learned) {
            let of = |bytes| {
                let options = RingOptions { bytes, bits };
                RingSize::of(&options, Some(&policy), &layers, 2000)
            };
            let all = of(None).unwrap();
            assert_eq!(all.reach, 1984);
            let refusal = of(Some(1)).unwrap_err().to_string();
            let least =
                refusal.split("at least ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
            let (least, most): (u64, u64) = (least.parse().unwrap(), all.bytes(&layers));
            for bytes in [least, least + (most - least) / 3, most - 1, most] {
                let size = of(Some(bytes)).unwrap();
                let counted = size.bytes(&layers);
                assert!(
                    counted <= bytes && counted + (16 << 10) > bytes,
                    "{bits:?}: {counted} of {bytes}"
                );
                let ring: Vec<_> =
                    layers.iter().map(|layer| RingLayer::new(&size, layer).unwrap()).collect();
                assert_eq!(
                    ring.iter().map(|layer| layer.allocated_bytes()).sum::<usize>() as u64,
                    counted
                );
            }
        }
    }

    #[test]
    fn a_window_needs_no_more_than_itself() {
        let bits = RingBits::Ladder(Ladder::new(&[[4, 4]]).unwrap());
        let size = RingSize::of(&RingOptions::new().bits(bits), None, &[grouped(1, 64, 130)], 4096)
            .unwrap();
        let layer = size.layer(&RingShape::of(&grouped(1, 64, 130)));
        assert_eq!(layer, LayerSize { units: 32, chunks: 4 });
    }

    #[test]
    fn the_dearest_price_that_lets_a_reach_fit_is_taken() {
        let price = |bits, byte| Price { bits, byte };
        let layers = [grouped(2, 64, 0)];
        let prices = vec![price(6.0, 0.0), price(4.0, 1.0), price(2.5, 2.0)];
        let policy = KvPolicy { prices, layers: vec![LayerPolicy::default()] };
        let bits = RingBits::Learned(None);
        let first = |bytes| {
            let size = RingSize::of(
                &RingOptions::new().bytes(bytes).bits(bits),
                Some(&policy),
                &layers,
                2048,
            )
            .unwrap();
            let Rung::Learned(price) = size.ladder.rungs()[0] else { panic!("{size:?}") };
            price.bits
        };
        // 30 chunks of 2 x 2 x 64 x 64 codes, half a bit more of scales, and two exact chunks.
        let around =
            |bits: f64| (30.0 * 16384.0 * (bits + 0.5) / 8.0 + 2.0 * 32768.0 + 8192.0) as u64;
        assert_eq!(
            [around(6.0), around(4.5), around(3.0), around(1.0)].map(first),
            [6.0, 4.0, 2.5, 2.5]
        );
        let none = RingSize::of(&RingOptions::new().bits(bits), None, &layers, 2048)
            .unwrap_err()
            .to_string();
        assert!(none.contains("no policy"), "{none}");
    }
}
