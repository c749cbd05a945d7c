//! Keys and values that a session keeps, read and written by the host: for files of sessions.

use hardtack_format::spec::AttentionKind;

use super::Session;
use crate::device::{Address, Device};
use crate::error::CudaError;

impl<D: Device> Session<D> {
    /// Reads a head's keys (`matrix` 0) or values (1) of consecutive positions from `first` on, as they are kept,
    /// `[positions, width]`; of latent attention, which has one head, latents or rotated keys.
    ///
    /// # Panics
    /// If the cache has no such bytes.
    ///
    /// # Errors
    /// The device fails.
    pub fn read_kept(&self, place: Kept, first: usize, bytes: &mut [u8]) -> Result<(), CudaError> {
        match self.kept(place, first, bytes.len()) {
            Some(address) => self.model.device.read(address, bytes),
            None => Ok(()),
        }
    }

    /// Writes what [`Session::read_kept`] reads.
    ///
    /// # Panics
    /// If the cache has no such bytes.
    ///
    /// # Errors
    /// The device fails.
    pub fn write_kept(&mut self, place: Kept, first: usize, bytes: &[u8]) -> Result<(), CudaError> {
        match self.kept(place, first, bytes.len()) {
            Some(address) => self.model.device.write(address, bytes),
            None => Ok(()),
        }
    }

    /// Heads of a layer's cache.
    pub fn kept_heads(&self, layer: usize) -> usize {
        match self.model.network.spec.layers[layer].attention.kind {
            AttentionKind::Grouped { kv_heads, .. } => kv_heads as usize,
            AttentionKind::Latent { .. } => 1,
        }
    }

    /// Bytes of one position of one head.
    pub fn kept_bytes(&self, layer: usize, matrix: usize) -> usize {
        let (first, second) = self.model.network.spec.layers[layer].attention.cached();
        [first, second][matrix] as usize / self.kept_heads(layer) * self.sizes.kv.bytes()
    }

    /// Where these bytes are; nowhere if there are none.
    fn kept(&self, Kept { layer, matrix, head }: Kept, first: usize, bytes: usize) -> Option<Address> {
        let width = self.kept_bytes(layer, matrix);
        assert!(head < self.kept_heads(layer), "a head of the layer");
        assert!(first * width + bytes <= self.sizes.context * width, "positions of the cache");
        let start = self.buffers.cache[layer][matrix]?;
        Some(start.plus(((head * self.sizes.context + first) * width) as u64))
    }
}

/// One head's keys or values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The layer.
    pub layer: usize,
    /// Keys or latents are 0, values or rotated keys 1.
    pub matrix: usize,
    /// The head.
    pub head: usize,
}
