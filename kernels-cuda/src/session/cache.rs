//! What the host does to a session's cache between passes: sealing, saying which chunks there are,
//! and copying bytes for files.

use hardtack_kernels::ring_shape::CHUNK;

use super::Session;
use crate::buffers::{Slot, buffer};
use crate::cache::{Cache, CachePart};
use crate::device::Device;
use crate::error::CudaError;
use crate::kernel::Kernel;
use crate::launch::{Extent, Launch};
use crate::params::Params;
use crate::ring::{ChunkPlace, RingBuffers, RingLayout};

impl<D: Device> Session<D> {
    /// Enqueues sealing of a layer's open chunk: its f16 are quantized into the units and
    /// the entry of `place`. The f16 stay until tokens of the next chunk
    /// overwrite them. The first chunk of a layer that keeps it is never sealed.
    ///
    /// To demote a chunk is to set fewer of its bits in [`Session::set_chunks`]; the device does
    /// nothing for it.
    ///
    /// # Panics
    /// If the layer has no ring, or `place` is not in it.
    ///
    /// # Errors
    /// The device fails.
    pub fn seal(&mut self, layer: usize, place: &ChunkPlace) -> Result<(), CudaError> {
        let (layout, slots) = self.ring(layer);
        layout.check(place);
        let mut params = Params::new()
            .address(buffer(slots.f16))
            .address(buffer(slots.units))
            .address(buffer(slots.scales))
            .inner(layout.params());
        for number in [place.entry, 0]
            .into_iter()
            .chain(place.bits)
            .chain(place.units.as_flattened().iter().copied())
        {
            params = params.u32(number);
        }
        let rows = layout.shape.matrices.iter().map(|matrix| matrix.rows()).max().unwrap_or(0);
        let grid = [layout.shape.heads, layout.shape.matrices.len(), rows.div_ceil(CHUNK)];
        let launch =
            Launch::new(Kernel::Seal, grid.map(|blocks| Extent::Fixed(blocks as u32)), params);
        self.model.raw().run(&[launch], 1)
    }

    /// Sets which sealed chunks a layer has, in the order of the text: the next pass attends
    /// to the first chunk (where it is kept), to these, and to the open one.
    ///
    /// # Panics
    /// If the layer has no ring, or a chunk is not in it.
    ///
    /// # Errors
    /// The device fails.
    pub fn set_chunks(&mut self, layer: usize, chunks: &[ChunkPlace]) -> Result<(), CudaError> {
        let (layout, slots) = self.ring(layer);
        self.model.raw().write(buffer(slots.table), &layout.table(chunks))
    }

    /// Reads the keys of a layer's open chunk, which is not the first: f16 `[heads, CHUNK,
    /// width]`, little-endian. It is what a policy's routers choose bits from.
    ///
    /// # Panics
    /// If the layer has no ring, or `keys` is of another length.
    ///
    /// # Errors
    /// The device fails.
    pub fn open_keys(&self, layer: usize, keys: &mut [u8]) -> Result<(), CudaError> {
        let (layout, slots) = self.ring(layer);
        assert_eq!(keys.len(), layout.shape.matrix_elements(0) * 2, "keys of a chunk");
        let start = layout.open_start() * 2;
        self.model.raw().read(buffer(slots.f16).plus(start as u64), keys)
    }

    /// Bytes of a part of a layer's cache; 0 of a part that it does not have.
    pub fn cache_bytes(&self, layer: usize, part: CachePart) -> u64 {
        self.sizes.caches[layer].part(part).unwrap_or(0) as u64
    }

    /// Reads bytes of a part of a layer's cache from `offset` on, when all that was enqueued is
    /// done.
    ///
    /// # Panics
    /// If the part has no such bytes.
    ///
    /// # Errors
    /// The device fails.
    pub fn read_cache(
        &self,
        layer: usize,
        part: CachePart,
        offset: u64,
        bytes: &mut [u8],
    ) -> Result<(), CudaError> {
        match self.place(layer, part, offset, bytes.len()) {
            Some(address) => self.model.raw().read(address, bytes),
            None => Ok(()),
        }
    }

    /// Writes bytes of a part of a layer's cache from `offset` on.
    ///
    /// # Panics
    /// If the part has no such bytes.
    ///
    /// # Errors
    /// The device fails.
    pub fn write_cache(
        &mut self,
        layer: usize,
        part: CachePart,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), CudaError> {
        match self.place(layer, part, offset, bytes.len()) {
            Some(address) => self.model.raw().write(address, bytes),
            None => Ok(()),
        }
    }

    fn ring(&self, layer: usize) -> (&RingLayout, RingBuffers<Slot>) {
        match (self.sizes.ring(layer), self.memory.caches[layer]) {
            (Some(layout), Cache::Ring(slots)) => (layout, slots),
            _ => panic!("a session over rings"),
        }
    }

    /// Where bytes of a part are; none if there are none.
    fn place(&self, layer: usize, part: CachePart, offset: u64, bytes: usize) -> Slot {
        assert!(
            offset.saturating_add(bytes as u64) <= self.cache_bytes(layer, part),
            "bytes of the cache"
        );
        self.memory.caches[layer].part(part).flatten().map(|address| address.plus(offset))
    }
}
