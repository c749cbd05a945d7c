//! Bytes of a cache on a device, on their way into a file or out of it.

use hardtack_kernels_cuda::{CachePart, Session};

use super::device::SharedDevice;
use crate::error::Error;
use crate::memory::zeros;
use crate::pipe::Pipe;

/// Bytes of the cache that go into a file at once.
const PIECE_BYTES: usize = 1 << 20;

/// Writes consecutive bytes of a part of a layer's cache, or reads them.
///
/// # Errors
/// What the pipe says, or the device fails.
pub fn serialize_bytes(
    session: &mut Session<SharedDevice>,
    pipe: &mut dyn Pipe,
    (layer, part): (usize, CachePart),
    start: usize,
    bytes: usize,
) -> Result<(), Error> {
    let mut piece = zeros(bytes.min(PIECE_BYTES))?;
    for first in (0..bytes).step_by(PIECE_BYTES) {
        let piece = &mut piece[..(bytes - first).min(PIECE_BYTES)];
        let offset = (start + first) as u64;
        if !pipe.reads() {
            session.read_cache(layer, part, offset, piece)?;
        }
        pipe.bytes(piece)?;
        if pipe.reads() {
            session.write_cache(layer, part, offset, piece)?;
        }
    }
    Ok(())
}
