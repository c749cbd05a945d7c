//! What a session takes on a device, and on the host beside it.

use half::f16;
use hardtack_format::Network;
use hardtack_kernels_cuda::{KvElement, KvStore, RingLayout, SessionSizes};

use crate::cache::shape::{CHUNK, RingShape};
use crate::cache::size::{KvSize, LayerSize, RingSize};
use crate::error::Error;

/// Bytes of a session.
#[derive(Clone, Copy, Debug)]
pub struct SessionBytes {
    /// Tokens that are processed at once.
    pub batch: usize,
    /// Keys and values on the device.
    pub kv: u64,
    /// The device's scratch, a ring's tables of chunks among it.
    pub scratch: u64,
    /// What belongs to it on the host: logits, staging, and the keys that a policy
    /// chooses bits from.
    pub host: u64,
}

/// What a session takes.
///
/// # Errors
/// A layer that the kernels cannot run.
pub fn session_bytes(network: &Network, kv: KvSize, batch: usize) -> Result<SessionBytes, Error> {
    let sizes = session_sizes(network, kv, batch)?;
    let layers = network.spec.layers.iter().map(|layer| layer.attention).collect::<Vec<_>>();
    let device_kv = kv.bytes(&layers) - kv.list_bytes(layers.iter());
    let keys = match kv {
        KvSize::F16(_) | KvSize::F32(_) => 0,
        KvSize::Ring(size) => key_elements(&size, network) * size_of::<f16>(),
    };
    Ok(SessionBytes {
        batch: sizes.batch,
        kv: device_kv,
        scratch: sizes.scratch_bytes() + sizes.kv_bytes() - device_kv,
        host: (sizes.staging_bytes() + sizes.vocabulary() * size_of::<f32>() + keys) as u64,
    })
}

/// What a session's cache and scratch are on a device.
///
/// # Errors
/// A layer that the kernels cannot run.
pub fn session_sizes(network: &Network, kv: KvSize, batch: usize) -> Result<SessionSizes, Error> {
    let (context, batch, store) = match kv {
        KvSize::F16(tokens) => (tokens, batch, KvStore::Exact(KvElement::F16)),
        KvSize::F32(tokens) => (tokens, batch, KvStore::Exact(KvElement::F32)),
        // A batch lies within one chunk.
        KvSize::Ring(size) => {
            (size.reach, batch.min(CHUNK), KvStore::Ring(layouts(&size, network)))
        }
    };
    Ok(SessionSizes::of(&network.spec, context, batch, store)?)
}

/// What the device keeps for each layer.
fn layouts(size: &RingSize, network: &Network) -> Vec<RingLayout> {
    let attention = network.spec.layers.iter().map(|layer| &layer.attention);
    let layout = |attention| {
        let shape = RingShape::of(attention);
        let LayerSize { units, chunks } = size.layer(&shape);
        RingLayout { shape, units, chunks }
    };
    attention.map(layout).collect()
}

/// Keys of the widest layer's chunk, where a policy chooses from them.
pub fn key_elements(size: &RingSize, network: &Network) -> usize {
    if !size.ladder.is_learned() {
        return 0;
    }
    let shapes = network.spec.layers.iter().map(|layer| RingShape::of(&layer.attention));
    shapes.map(|shape| shape.heads * CHUNK * shape.matrices[0].width).max().unwrap_or(0)
}
