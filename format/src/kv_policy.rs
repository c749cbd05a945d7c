//! The KV policy section: what each bit-width of a cached chunk would cost in each layer, constant
//! or predicted by a small router from the chunk's keys, and the prices of a byte at which a ring
//! weighs that against room.

use alloc::vec::Vec;

use crate::cursor::{Cursor, Put};
use crate::error::FormatError;
use crate::limits::{KV_PRICES_MAX, KV_ROUTER_WIDTH_MAX};
use crate::spec::{AttentionKind, AttentionSpec};

/// Bits that a code of the ring may have.
pub const BITS: [u32; 5] = [2, 3, 4, 6, 8];
/// Parts of a chunk that have bits of their own: keys, or latents; and values.
pub const PARTS: usize = 2;

/// What a router says of a chunk: the natural logarithm of the cost of each bit-width,
/// `[part][bits]`.
pub type Costs = [[f32; BITS.len()]; PARTS];

/// The policy of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KvPolicy {
    /// Falling in bits, rising in price.
    pub prices: Vec<Price>,
    /// One for each layer of the network.
    pub layers: Vec<LayerPolicy>,
}

/// A price and what it leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Price {
    /// Bits of a code on average over the text that the policy was made on.
    pub bits: f32,
    /// Cost that one byte is worth.
    pub byte: f32,
}

/// The policy of one layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerPolicy {
    /// Costs of every chunk, or what the router adds to.
    pub costs: Costs,
    /// What distinguishes chunks, if anything does.
    pub router: Option<KvRouter>,
}

/// A kv_router: `costs + mean over tokens and heads of W3 (silu(W1 x) * W2 x)`, where `x` has the
/// length of each pair that RoPE turns and the elements that it leaves alone, so that it does not
/// depend on positions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KvRouter {
    /// Its units.
    pub width: u32,
    /// W1, `[inputs, width]`.
    pub gate: Vec<f32>,
    /// W2, `[inputs, width]`.
    pub up: Vec<f32>,
    /// W3, `[parts * bits, width]`.
    pub out: Vec<f32>,
}

/// Inputs of a layer's router: its keys' pairs and single elements, or its latents.
pub const fn router_inputs(attention: &AttentionSpec) -> u32 {
    match attention.kind {
        AttentionKind::Grouped { head_dim, .. } => head_dim - attention.rope_dim / 2,
        AttentionKind::Latent { kv_rank, .. } => kv_rank,
    }
}

impl KvPolicy {
    /// The bytes of the section.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u32(self.prices.len() as u32);
        out.put_u32(self.layers.len() as u32);
        for price in &self.prices {
            out.put_f32(price.bits);
            out.put_f32(price.byte);
        }
        for layer in &self.layers {
            out.put_u32(layer.router.as_ref().map_or(0, |router| router.width));
            layer.costs.as_flattened().iter().for_each(|&cost| out.put_f32(cost));
            for weights in
                layer.router.iter().flat_map(|router| [&router.gate, &router.up, &router.out])
            {
                weights.iter().for_each(|&weight| out.put_f32(weight));
            }
        }
        out
    }

    /// Reads the section of a network with these layers. `base` is its offset in the file, for
    /// messages.
    pub fn from_bytes<'a>(
        bytes: &[u8],
        base: u64,
        layers: impl ExactSizeIterator<Item = &'a AttentionSpec>,
    ) -> Result<Self, FormatError> {
        let mut cursor = Cursor::new(bytes, base);
        let count = cursor.take_positive("kv policy prices", KV_PRICES_MAX)?;
        cursor.expect("kv policy layers", layers.len() as u32)?;
        let mut prices: Vec<Price> = Vec::with_capacity(count as usize);
        for index in 0..count {
            let offset = cursor.offset();
            let price = Price {
                bits: cursor.take_not_negative("kv policy bits")?,
                byte: cursor.take_not_negative("kv policy price")?,
            };
            let within = price.bits >= BITS[0] as f32 && price.bits <= BITS[BITS.len() - 1] as f32;
            let falling =
                prices.last().is_none_or(|last| price.bits < last.bits && price.byte > last.byte);
            if !within {
                return Err(FormatError::BadNumber { field: "kv policy bits", offset });
            }
            if !falling {
                return Err(FormatError::Order { table: "kv policy prices", index });
            }
            prices.push(price);
        }
        let layers =
            layers.map(|attention| take_layer(&mut cursor, attention)).collect::<Result<_, _>>()?;
        cursor.expect_end("kv policy end")?;
        Ok(Self { prices, layers })
    }
}

fn take_layer(
    cursor: &mut Cursor<'_>,
    attention: &AttentionSpec,
) -> Result<LayerPolicy, FormatError> {
    let width = cursor.take_count("kv_router width", KV_ROUTER_WIDTH_MAX)?;
    let mut costs = Costs::default();
    for cost in costs.as_flattened_mut() {
        *cost = cursor.take_finite("kv policy cost")?;
    }
    let mut take = |count: u32| -> Result<Vec<f32>, FormatError> {
        // Nothing is allocated before the bytes are known to be there.
        let offset = cursor.offset();
        let bytes = cursor.take_bytes(count as usize * 4)?;
        let weights: Vec<f32> =
            bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        match weights.iter().position(|weight| !weight.is_finite()) {
            None => Ok(weights),
            Some(at) => Err(FormatError::BadNumber {
                field: "kv_router weight",
                offset: offset + at as u64 * 4,
            }),
        }
    };
    let router = match width {
        0 => None,
        _ => {
            let inputs = router_inputs(attention) * width;
            let (gate, up, out) =
                (take(inputs)?, take(inputs)?, take((PARTS * BITS.len()) as u32 * width)?);
            Some(KvRouter { width, gate, up, out })
        }
    };
    Ok(LayerPolicy { costs, router })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::spec::HeadNorm;
    use std::string::ToString;
    use std::vec;

    fn attention() -> AttentionSpec {
        let kind = AttentionKind::Grouped { kv_heads: 1, head_dim: 16, norm: HeadNorm::None };
        AttentionSpec { heads: 2, score_scale: 1.0, window: 0, rope_dim: 8, rope_scale: 1.0, kind }
    }

    fn policy() -> KvPolicy {
        let prices = vec![Price { bits: 6.0, byte: 0.0 }, Price { bits: 3.5, byte: 0.25 }];
        let weights = |count: usize| (0..count).map(|at| at as f32 - 3.5).collect::<Vec<f32>>();
        let router = KvRouter { width: 3, gate: weights(36), up: weights(36), out: weights(30) };
        let costs = [[-1.0, -2.0, -3.0, -4.0, -5.0]; 2];
        KvPolicy {
            prices,
            layers: vec![
                LayerPolicy { costs, router: Some(router) },
                LayerPolicy { costs, router: None },
            ],
        }
    }

    #[test]
    fn what_is_written_is_read_and_no_byte_is_left_out() {
        let layers = [attention(), attention()];
        let bytes = policy().to_bytes();
        assert_eq!(KvPolicy::from_bytes(&bytes, 0, layers.iter()).unwrap(), policy());
        for length in 0..bytes.len() {
            assert!(KvPolicy::from_bytes(&bytes[..length], 0, layers.iter()).is_err(), "{length}");
        }
        assert!(KvPolicy::from_bytes(&[&bytes[..], &[0]].concat(), 0, layers.iter()).is_err());
        assert!(KvPolicy::from_bytes(&bytes, 0, layers[..1].iter()).is_err());
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        let layers = [attention(), attention()];
        let refused = |change: &dyn Fn(&mut KvPolicy), words: &str| {
            let mut bad = policy();
            change(&mut bad);
            let line =
                KvPolicy::from_bytes(&bad.to_bytes(), 1000, layers.iter()).unwrap_err().to_string();
            assert!(line.contains(words), "{line}");
        };
        refused(&|bad| bad.prices[1].bits = 7.0, "kv policy prices");
        refused(&|bad| bad.prices[1].byte = 0.0, "kv policy prices");
        refused(&|bad| bad.prices[1].bits = 1.0, "kv policy bits");
        refused(&|bad| bad.prices.clear(), "kv policy prices");
        refused(&|bad| bad.prices = vec![Price::default(); 9], "kv policy prices");
        refused(&|bad| bad.layers[1].costs[1][4] = f32::NAN, "kv policy cost");
        refused(
            &|bad| bad.layers[0].router.as_mut().unwrap().out[29] = f32::INFINITY,
            "kv_router weight",
        );
        refused(&|bad| bad.layers[0].router.as_mut().unwrap().width = 17, "kv_router width");
    }
}
