//! A session's memory on the device: whatever its sizes name is allocated, and nothing else.

use crate::address::Address;
use crate::buffers::{Buffers, Slot, WORD_BYTES, buffer};
use crate::cache::Cache;
use crate::device::Raw;
use crate::error::CudaError;
use crate::sizes::SessionSizes;

/// Where everything of a session is.
#[derive(Debug)]
pub struct Memory {
    /// The working buffers.
    pub buffers: Buffers<Slot>,
    /// Keys and values of every layer.
    pub caches: Vec<Cache<Slot>>,
    owned: Vec<Address>,
}

impl Memory {
    /// Takes all of it, or none if the device has no such room.
    pub fn allocate(device: &dyn Raw, sizes: &SessionSizes) -> Result<Self, CudaError> {
        let mut memory =
            Self { buffers: Buffers::default(), caches: Vec::new(), owned: Vec::new() };
        let taken = memory.take(device, sizes);
        if taken.is_err() {
            memory.free(device);
        }
        taken.map(|()| memory)
    }

    fn take(&mut self, device: &dyn Raw, sizes: &SessionSizes) -> Result<(), CudaError> {
        let owned = &mut self.owned;
        let mut take = |bytes: usize, what| -> Result<Slot, CudaError> {
            if bytes == 0 {
                return Ok(None);
            }
            let address = device.allocate(what, bytes as u64)?;
            owned.push(address);
            Ok(Some(address))
        };
        for cache in &sizes.caches {
            self.caches.push(cache.try_map(&mut take)?);
        }
        self.buffers =
            sizes.buffers.try_map(|words| take(words * WORD_BYTES, "working buffers"))?;
        Ok(())
    }

    /// Makes new rings empty.
    pub fn empty_rings(&self, device: &dyn Raw, sizes: &SessionSizes) -> Result<(), CudaError> {
        for (index, cache) in self.caches.iter().enumerate() {
            if let (Cache::Ring(slots), Some(layout)) = (cache, sizes.ring(index)) {
                device.write(buffer(slots.table), &layout.table(&[]))?;
            }
        }
        Ok(())
    }

    /// Returns all of it to the device that it was taken from.
    pub fn free(&self, device: &dyn Raw) {
        self.owned.iter().for_each(|address| device.free(*address));
    }
}
