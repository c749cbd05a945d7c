//! A model on a device: how it gets there, what it takes, and how fast the device's memory is.

use std::path::Path;
use std::sync::Arc;

use hardtack_format::Network;
use hardtack_kernels_cuda::driver::Driver;
use hardtack_kernels_cuda::{CudaError, Device, HostBytes};

use crate::error::Error;
use crate::plan::fixed::DeviceWeights;

/// A device of whatever kind.
pub type SharedDevice = Arc<dyn Device>;
/// A network's weights on it.
pub type DeviceModel = hardtack_kernels_cuda::Model<SharedDevice>;

/// The first GPU that the driver names.
///
/// # Errors
/// There is no driver, no GPU, or no compiler where one is needed, or one of them fails.
pub fn first_gpu(kernel_cache: Option<&Path>) -> Result<SharedDevice, Error> {
    Ok(Arc::new(Driver::open(0, kernel_cache)?))
}

/// What a model will take on a device. One whose memory is the host's is taken to read the weights
/// there.
///
/// # Errors
/// The device fails.
pub fn weights(
    device: &SharedDevice,
    file: &[u8],
    network: &Network,
) -> Result<DeviceWeights, Error> {
    let of_host = device.memory()?.of_host;
    copied_weights(file, network, of_host)
}

/// What a model takes on a device that has, or has not, memory of its own.
fn copied_weights(file: &[u8], network: &Network, shared: bool) -> Result<DeviceWeights, Error> {
    let blob = hardtack_format::Blob::open(file).map_err(CudaError::Blob)?;
    Ok(DeviceWeights { bytes: DeviceModel::bytes(&blob, network, shared), of_host: shared })
}

/// Refuses bytes that the device has no room for, before anything is copied. Memory that the device
/// and the host share is not looked at: much of it is taken, but freed under pressure.
///
/// # Errors
/// The device has no such room, or fails.
pub fn check_room(device: &SharedDevice, wanted: u64) -> Result<(), Error> {
    let memory = device.memory()?;
    if memory.of_host || wanted <= memory.free {
        return Ok(());
    }
    Err(CudaError::Memory {
        what: "weights, keys and values and buffers",
        asked: wanted,
        free: memory.free,
    }
    .into())
}

/// Puts the weights where the device reads them, and says what they take there.
///
/// # Errors
/// The device has no such room, or fails.
pub fn load(
    device: SharedDevice,
    file: HostBytes,
) -> Result<(Arc<DeviceModel>, DeviceWeights), Error> {
    let model = DeviceModel::new(device, &file)?;
    let of_host = model.device().memory()?.of_host;
    let weights = copied_weights((*file).as_ref(), model.network(), model.is_shared())?;
    Ok((Arc::new(model), DeviceWeights { of_host, ..weights }))
}

/// Bytes a second that the device reads and writes while it copies `bytes` of its memory, as
/// [`hardtack_kernels_cuda::copy_bandwidth`] measures it.
///
/// # Errors
/// The device has no such room, or fails.
pub fn copy_bandwidth(device: &SharedDevice, bytes: u64) -> Result<f64, Error> {
    Ok(hardtack_kernels_cuda::copy_bandwidth(device, bytes)?)
}
