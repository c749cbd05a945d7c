//! A session's cache on the device: its memory, and what the host does to it between passes:
//! sealing, telling which chunks are there, and copying bytes for files.

use hardtack_format::spec::AttentionSpec;
use hardtack_kernels::ring_shape::CHUNK;

use crate::device::{Address, Device, Extent, Launch, Raw};
use crate::error::CudaError;
use crate::kernel::Kernel;
use crate::params::Params;
use crate::ring::{CachePart, ChunkPlace, RingLayout};
use crate::session::{Session, Slot, buffer};
use crate::sizes::{KvStore, SessionSizes};

/// Where a layer's cache is.
#[derive(Clone, Copy, Debug)]
pub enum Cache {
    /// Both matrices as they are.
    Exact([Slot; 2]),
    /// A ring.
    Ring(RingSlots),
}

/// Where the parts of a layer's ring are.
#[derive(Clone, Copy, Debug)]
pub struct RingSlots {
    /// Chunks of half floats.
    pub halves: Slot,
    /// Units of codes.
    pub units: Slot,
    /// Lowest values and ranges.
    pub scales: Slot,
    /// Which sealed chunks there are.
    pub table: Slot,
}

impl Cache {
    /// Takes the memory of one layer.
    pub(crate) fn allocate(
        sizes: &SessionSizes,
        layer: usize,
        attention: &AttentionSpec,
        mut bytes: impl FnMut(usize, &'static str) -> Result<Slot, CudaError>,
    ) -> Result<Self, CudaError> {
        match &sizes.kv {
            KvStore::Exact(element) => {
                let (first, second) = attention.cached();
                let token = element.bytes() * sizes.context;
                Ok(Self::Exact([
                    bytes(first as usize * token, "keys")?,
                    bytes(second as usize * token, "values")?,
                ]))
            }
            KvStore::Ring(layers) => {
                let layout = &layers[layer];
                Ok(Self::Ring(RingSlots {
                    halves: bytes(layout.part_bytes(CachePart::Halves), "open chunks")?,
                    units: bytes(layout.part_bytes(CachePart::Units), "sealed chunks")?,
                    scales: bytes(layout.part_bytes(CachePart::Scales), "ranges of sealed chunks")?,
                    table: bytes(layout.table_bytes(), "tables of sealed chunks")?,
                }))
            }
        }
    }

    /// Makes a new ring empty.
    pub(crate) fn begin(
        &self,
        device: &dyn Raw,
        layout: Option<&RingLayout>,
    ) -> Result<(), CudaError> {
        match (self, layout) {
            (Self::Ring(slots), Some(layout)) => {
                device.write(buffer(slots.table), &layout.table(&[]))
            }
            _ => Ok(()),
        }
    }
}

impl<D: Device> Session<D> {
    /// Enqueues sealing of a layer's open chunk: its half floats are quantized into the units and
    /// the entry of `place`. Half floats stay as they are until tokens of the next chunk overwrite
    /// them. The first chunk of a layer that keeps it is never sealed.
    ///
    /// To demote a chunk is to tell fewer of its bits in [`Session::set_chunks`]; the device does
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
            .address(buffer(slots.halves))
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

    /// Tells a layer which sealed chunks there are, in the order of the text: the next pass attends
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

    /// Reads the keys of a layer's open chunk, which is not the first: half floats `[heads, CHUNK,
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
        self.model.raw().read(buffer(slots.halves).plus(start as u64), keys)
    }

    /// Bytes of a part of a layer's cache; 0 of a part that it does not have.
    pub fn cache_bytes(&self, layer: usize, part: CachePart) -> u64 {
        match (&self.sizes.kv, part) {
            (KvStore::Ring(layers), part) => layers[layer].part_bytes(part) as u64,
            (KvStore::Exact(element), CachePart::Keys | CachePart::Values) => {
                let (first, second) = self.model.network.spec.layers[layer].attention.cached();
                let width = if part == CachePart::Keys { first } else { second };
                u64::from(width) * (element.bytes() * self.sizes.context) as u64
            }
            (KvStore::Exact(_), _) => 0,
        }
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

    fn ring(&self, layer: usize) -> (&RingLayout, RingSlots) {
        match (self.sizes.ring(layer), self.buffers.cache[layer]) {
            (Some(layout), Cache::Ring(slots)) => (layout, slots),
            _ => panic!("a session over rings"),
        }
    }

    /// Where bytes of a part are; nowhere if there are none.
    fn place(&self, layer: usize, part: CachePart, offset: u64, bytes: usize) -> Option<Address> {
        assert!(
            offset.saturating_add(bytes as u64) <= self.cache_bytes(layer, part),
            "bytes of the cache"
        );
        let slot = match (self.buffers.cache[layer], part) {
            (Cache::Exact([keys, _]), CachePart::Keys) => keys,
            (Cache::Exact([_, values]), CachePart::Values) => values,
            (Cache::Ring(slots), CachePart::Halves) => slots.halves,
            (Cache::Ring(slots), CachePart::Units) => slots.units,
            (Cache::Ring(slots), CachePart::Scales) => slots.scales,
            _ => None,
        };
        slot.map(|address| address.plus(offset))
    }
}
