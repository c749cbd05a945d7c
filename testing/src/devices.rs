//! Devices for the tests: the emulation, and a GPU where there is one.

use std::path::Path;
use std::sync::Arc;

use hardtack_kernels_cuda::Device;
use hardtack_kernels_cuda::emulator::Order;
use hardtack_kernels_cuda::{CudaError, Emulator};

/// A device with or without tensor cores, or nothing, loudly, where no C++ compiler is at hand.
pub fn emulator(tensor_cores: bool) -> Option<Emulator> {
    match Emulator::start(&crate::scratch(), tensor_cores, Order::Forwards) {
        Ok(device) => Some(device),
        Err(CudaError::NoCompiler { compiler, .. }) => {
            crate::skipped(Path::new(&compiler), "no network is run by the CUDA kernels");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A GPU, or nothing, loudly.
pub fn gpu() -> Option<hardtack_kernels_cuda::driver::Driver> {
    let opened = hardtack_kernels_cuda::driver::Driver::open(0, Some(&crate::scratch()));
    opened.map_err(|error| crate::skipped(Path::new("a GPU"), &error.to_string())).ok()
}

/// The emulation, and a GPU, as the runtime takes them.
pub fn all_devices() -> Vec<Arc<dyn Device>> {
    let emulated = emulator(true).map(|device| Arc::new(device) as Arc<dyn Device>);
    let real = gpu().map(|device| Arc::new(device) as Arc<dyn Device>);
    emulated.into_iter().chain(real).collect()
}
