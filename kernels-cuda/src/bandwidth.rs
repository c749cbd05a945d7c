//! How fast a device's memory is.

use std::time::Instant;

use crate::device::{Device, INSIDE};
use crate::error::CudaError;

/// Copies whose time is taken together.
const COPIES: u32 = 8;
/// Times that they are taken.
const ATTEMPTS: u32 = 3;

/// Bytes a second that the device reads and writes while it copies `bytes` of its memory, the best
/// of a few attempts; both are counted. Twice as many are allocated meanwhile.
///
/// # Errors
/// No byte is to be copied, the device has no such room, or it fails.
pub fn copy_bandwidth<D: Device>(device: &D, bytes: u64) -> Result<f64, CudaError> {
    const WHAT: &str = "the bandwidth's measurement";
    if bytes == 0 {
        return Err(CudaError::Range { what: "bytes to copy", found: 0, min: 1, max: u64::MAX });
    }
    let device = device.raw(INSIDE);
    let from = device.allocate(WHAT, bytes)?;
    let measured = device.allocate(WHAT, bytes).and_then(|to| {
        let best = (0..ATTEMPTS).try_fold(0.0f64, |best, _| {
            // Reading waits for all that was enqueued.
            device.read(to, &mut [0])?;
            let start = Instant::now();
            (0..COPIES).try_for_each(|_| device.copy(from, to, bytes))?;
            device.read(to, &mut [0])?;
            let moved = 2.0 * f64::from(COPIES) * bytes as f64;
            Ok(best.max(moved / start.elapsed().as_secs_f64()))
        });
        device.free(to);
        best
    });
    device.free(from);
    measured
}
