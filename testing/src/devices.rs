//! Devices for the tests: the emulation, and a GPU where there is one.

use std::path::Path;
use std::sync::Arc;

use hardtack_kernels_cuda::Device;
use hardtack_kernels_cuda::emulator::Order;
use hardtack_kernels_cuda::{CudaError, Emulator};

/// Which devices tests run on, as the variable says that `.ci/gpu` sets: `gpu` alone, which must
/// then be there, or `emulated` alone; both if it is not set.
fn wanted() -> String {
    std::env::var("HARDTACK_DEVICES").unwrap_or_default()
}

/// A device with or without tensor cores; none, loudly, where no C++ compiler is at hand.
pub fn emulator(tensor_cores: bool) -> Option<Emulator> {
    if wanted() == "gpu" {
        return None;
    }
    match Emulator::start(&crate::scratch(), tensor_cores, Order::Forwards) {
        Ok(device) => Some(device),
        Err(CudaError::NoCompiler { compiler, .. }) => {
            crate::skipped(Path::new(&compiler), "no network is run by the CUDA kernels");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A GPU; none, loudly, where there is none.
pub fn gpu() -> Option<hardtack_kernels_cuda::driver::Driver> {
    if wanted() == "emulated" {
        return None;
    }
    let opened = hardtack_kernels_cuda::driver::Driver::open(0, Some(&crate::scratch()));
    if wanted() == "gpu" {
        return Some(opened.unwrap_or_else(|error| panic!("{error}")));
    }
    opened.map_err(|error| crate::skipped(Path::new("a GPU"), &error.to_string())).ok()
}

/// The emulation, and a GPU, as the runtime takes them.
pub fn all_devices() -> Vec<Arc<dyn Device>> {
    let emulated = emulator(true).map(|device| Arc::new(device) as Arc<dyn Device>);
    let real = gpu().map(|device| Arc::new(device) as Arc<dyn Device>);
    emulated.into_iter().chain(real).collect()
}
