//! A ring on a device: the host's bookkeeping of chunks, and what it tells the device when one
//! begins.

use bytemuck::cast_slice_mut;
use half::f16;
use half::slice::HalfFloatSliceExt;
use hardtack_format::Network;
use hardtack_kernels::kv_router::costs;
use hardtack_kernels_cuda::{CachePart, ChunkPlace, RingLayout, Session};

use super::SharedDevice;
use super::session::pass_bytes;
use crate::cache::chunks::{self, Chunks, Sealed, Span};
use crate::cache::shape::{CHUNK, PARTS_MAX, RingShape};
use crate::cache::size::{LayerSize, RingSize};
use crate::error::Error;
use crate::memory::{list, zeros};
use crate::saved::Pipe;

/// The rings of all layers, as the host knows them.
pub struct DeviceRing {
    layers: Vec<Chunks>,
    /// Whether the device was told of a layer's chunks since something else than a beginning
    /// changed them.
    told: bool,
    /// Whether the device failed while a chunk began.
    failed: bool,
    /// `[heads, CHUNK, width]`: the keys of one layer's open chunk, where a policy chooses bits
    /// from them.
    keys: Vec<f16>,
    places: Vec<ChunkPlace>,
}

/// What the device keeps for each layer.
pub fn layouts(size: &RingSize, network: &Network) -> Vec<RingLayout> {
    let attention = network.spec.layers.iter().map(|layer| &layer.attention);
    let layout = |attention| {
        let shape = RingShape::of(attention);
        let LayerSize { units, chunks } = size.layer(&shape);
        RingLayout { shape, units, chunks }
    };
    attention.map(layout).collect()
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
        // What a file is given of an open chunk is nobody's forgotten memory.
        for index in 0..layers.len() {
            let halves = session.cache_bytes(index, CachePart::F16) as usize;
            session.write_cache(index, CachePart::F16, 0, &zeros(halves)?)?;
        }
        let keys = zeros(key_elements(size, network))?;
        Ok(Self { layers, told: false, failed: false, keys, places: list(chunks_max)? })
    }

    /// Begins the chunk that the next pass lies in, if it has not begun.
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
        (self.told, self.failed) = (begun.is_ok(), begun.is_err());
        begun
    }

    fn begin_layer(
        &mut self,
        index: usize,
        chunk: usize,
        session: &mut Session<SharedDevice>,
    ) -> Result<(), Error> {
        let layer = &mut self.layers[index];
        if layer.begun() == chunk && self.told {
            return Ok(());
        }
        let told = if layer.wants_costs(chunk) {
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
        if let Some(sealed) = layer.begin(chunk, told.as_ref()) {
            session.seal(index, &place(&sealed))?;
        }
        self.places.clear();
        self.places.extend(layer.sealed().iter().map(place));
        Ok(session.set_chunks(index, &self.places)?)
    }

    /// As [`chunks::truncate`].
    pub fn truncate(&mut self, held: usize, position: usize) -> usize {
        self.told = false;
        if std::mem::take(&mut self.failed) {
            // Nobody knows what the layers have by now.
            return chunks::truncate(&mut self.layers, usize::MAX, 0);
        }
        chunks::truncate(&mut self.layers, held, position)
    }

    /// As [`chunks::levels`].
    pub fn levels(&self) -> impl Iterator<Item = (usize, usize, [u32; PARTS_MAX])> {
        chunks::levels(&self.layers)
    }

    /// Passes everything after `position` tokens, as a ring of the CPU does.
    ///
    /// # Errors
    /// What the pipe says, or the device fails.
    pub fn pass<P: Pipe>(
        &mut self,
        session: &mut Session<SharedDevice>,
        pipe: &mut P,
        position: usize,
    ) -> Result<(), Error> {
        self.told = false;
        chunks::pass_all(pipe, position, &mut self.layers, |pipe, index, layer, begun| {
            let (unit, scales) =
                (layer.shape().unit_bytes(), layer.shape().scale_elements() * size_of::<f16>());
            layer.pass(pipe, begun, |pipe, span| {
                let (part, start, bytes) = match span {
                    Span::Halves => {
                        (CachePart::F16, 0, session.cache_bytes(index, CachePart::F16) as usize)
                    }
                    Span::Scales(entry) => (CachePart::Scales, entry * scales, scales),
                    Span::Unit(number) => (CachePart::Units, number * unit, unit),
                };
                pass_bytes(session, pipe, (index, part), start, bytes)
            })
        })
    }
}

/// Keys of the widest layer's chunk, where a policy chooses from them.
pub fn key_elements(size: &RingSize, network: &Network) -> usize {
    if !size.ladder.is_learned() {
        return 0;
    }
    let shapes = network.spec.layers.iter().map(|layer| RingShape::of(&layer.attention));
    shapes.map(|shape| shape.heads * CHUNK * shape.matrices[0].width).max().unwrap_or(0)
}

fn place(sealed: &Sealed) -> ChunkPlace {
    ChunkPlace {
        chunk: sealed.chunk,
        entry: sealed.entry,
        bits: sealed.level().0,
        units: sealed.units,
    }
}
