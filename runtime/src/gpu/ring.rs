//! A ring on a device: the host's bookkeeping of chunks, and what the device has to know of them
//! when one begins.

use bytemuck::cast_slice_mut;
use half::f16;
use half::slice::HalfFloatSliceExt;
use hardtack_format::Network;
use hardtack_kernels::kv_router::costs;
use hardtack_kernels_cuda::{CachePart, ChunkPlace, Session};

use super::bytes::serialize_bytes;
use super::device::SharedDevice;
use super::sizes::key_elements;
use crate::cache::chunks::serialize::{Span, serialize_all};
use crate::cache::chunks::{self, ChunkBits, Chunks};
use crate::cache::sealed::Sealed;
use crate::cache::shape::{CHUNK, RingShape};
use crate::cache::size::RingSize;
use crate::error::Error;
use crate::memory::{list, zeros};
use crate::pipe::Pipe;

/// The rings of all layers, as the host knows them.
pub struct DeviceRing {
    layers: Vec<Chunks>,
    /// Whether the device knows the chunks of all layers: only a beginning has changed them.
    known: bool,
    /// Whether the device failed while a chunk began.
    failed: bool,
    /// `[heads, CHUNK, width]`: the keys of one layer's open chunk, where a policy chooses bits
    /// from them.
    keys: Vec<f16>,
    places: Vec<ChunkPlace>,
}

impl DeviceRing {
    /// An empty ring. All its memory is allocated here.
    ///
    /// # Errors
    /// The host has no such room, or the device fails.
    pub fn new(
        size: &RingSize,
        network: &Network,
        session: &mut Session<SharedDevice>,
    ) -> Result<Self, Error> {
        let shapes = network.spec.layers.iter().map(|layer| RingShape::of(&layer.attention));
        let layers: Vec<Chunks> =
            shapes.map(|shape| Chunks::new(size, shape)).collect::<Result<_, _>>()?;
        let chunks_max = layers.iter().map(|layer| layer.size().chunks).max().unwrap_or(0);
        // No forgotten memory of others gets into a file by way of an open chunk.
        for index in 0..layers.len() {
            let bytes = session.cache_bytes(index, CachePart::F16) as usize;
            session.write_cache(index, CachePart::F16, 0, &zeros(bytes)?)?;
        }
        let keys = zeros(key_elements(size, network))?;
        Ok(Self { layers, known: false, failed: false, keys, places: list(chunks_max)? })
    }

    /// Begins the chunk that the next batch lies in, if it has not begun.
    ///
    /// # Errors
    /// The device fails. The ring is empty after the next [`DeviceRing::truncate`] then.
    pub fn begin(
        &mut self,
        chunk: usize,
        session: &mut Session<SharedDevice>,
    ) -> Result<(), Error> {
        let begun =
            (0..self.layers.len()).try_for_each(|layer| self.begin_layer(layer, chunk, session));
        (self.known, self.failed) = (begun.is_ok(), begun.is_err());
        begun
    }

    fn begin_layer(
        &mut self,
        index: usize,
        chunk: usize,
        session: &mut Session<SharedDevice>,
    ) -> Result<(), Error> {
        let layer = &mut self.layers[index];
        if layer.begun() == chunk && self.known {
            return Ok(());
        }
        let costs = if layer.wants_costs(chunk) {
            let (width, turned) = (layer.shape().matrices[0].width, layer.shape().turned);
            let keys = &mut self.keys[..layer.shape().heads * CHUNK * width];
            session.open_keys(index, cast_slice_mut(keys.reinterpret_cast_mut()))?;
            let policies = session.model().network().kv_policy.as_ref();
            let policy = policies.and_then(|policy| policy.layers.get(index));
            Some(costs(
                policy.expect("a ladder of prices comes from a policy"),
                keys,
                width,
                turned,
            ))
        } else {
            None
        };
        if let Some(sealed) = layer.begin(chunk, costs.as_ref()) {
            session.seal(index, &place(&sealed))?;
        }
        self.places.clear();
        self.places.extend(layer.sealed().iter().map(place));
        Ok(session.set_chunks(index, &self.places)?)
    }

    /// As [`chunks::truncate`].
    pub fn truncate(&mut self, held: usize, position: usize) -> usize {
        self.known = false;
        if std::mem::take(&mut self.failed) {
            // What the layers have by now is unknown.
            return chunks::truncate(&mut self.layers, usize::MAX, 0);
        }
        chunks::truncate(&mut self.layers, held, position)
    }

    /// As [`chunks::levels`].
    pub fn levels(&self) -> impl Iterator<Item = ChunkBits> {
        chunks::levels(&self.layers)
    }

    /// Writes everything after `position` tokens, or reads it, as a ring of the CPU does.
    ///
    /// # Errors
    /// What the pipe says, or the device fails.
    pub fn serialize(
        &mut self,
        session: &mut Session<SharedDevice>,
        pipe: &mut dyn Pipe,
        position: usize,
    ) -> Result<(), Error> {
        self.known = false;
        serialize_all(pipe, position, &mut self.layers, |pipe, index, layer, open| {
            let (unit, scales) =
                (layer.shape().unit_bytes(), layer.shape().scale_elements() * size_of::<f16>());
            layer.serialize(pipe, open, |pipe, span| {
                let (part, start, bytes) = match span {
                    Span::Exact => {
                        (CachePart::F16, 0, session.cache_bytes(index, CachePart::F16) as usize)
                    }
                    Span::Scales(entry) => (CachePart::Scales, entry * scales, scales),
                    Span::Unit(number) => (CachePart::Units, number * unit, unit),
                };
                serialize_bytes(session, pipe, (index, part), start, bytes)
            })
        })
    }
}

fn place(sealed: &Sealed) -> ChunkPlace {
    ChunkPlace {
        chunk: sealed.chunk,
        entry: sealed.entry,
        bits: sealed.level().0,
        units: sealed.units,
    }
}
