//! Devices for the tests: the emulation, a GPU where there is one, and a device that is watched and fails when told to.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hardtack_kernels_cuda::device::{Address, DeviceMemory, HostBytes, Launch, Recorded};
use hardtack_kernels_cuda::emulator::Order;
use hardtack_kernels_cuda::{CudaError, Device, Emulator};

/// A device with or without tensor cores, or nothing, loudly, where no C++ compiler is at hand.
pub fn emulator(tensor_cores: bool) -> Option<Emulator> {
    match Emulator::start(Path::new(env!("CARGO_TARGET_TMPDIR")), tensor_cores, Order::Forwards) {
        Ok(device) => Some(device),
        Err(CudaError::NoCompiler { compiler, .. }) => {
            super::skipped(Path::new(&compiler), "no network is run by the CUDA kernels");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A GPU, or nothing, loudly.
#[cfg(feature = "cuda")]
pub fn gpu() -> Option<hardtack_kernels_cuda::driver::Driver> {
    let opened = hardtack_kernels_cuda::driver::Driver::open(0, Some(Path::new(env!("CARGO_TARGET_TMPDIR"))));
    opened.map_err(|error| super::skipped(Path::new("a GPU"), &error.to_string())).ok()
}

/// The emulation, and a GPU, as the runtime takes them.
#[cfg(feature = "cuda")]
pub fn all_devices() -> Vec<std::sync::Arc<dyn Device>> {
    let emulated = emulator(true).map(|device| std::sync::Arc::new(device) as std::sync::Arc<dyn Device>);
    let real = gpu().map(|device| std::sync::Arc::new(device) as std::sync::Arc<dyn Device>);
    emulated.into_iter().chain(real).collect()
}

/// An emulation that counts what is taken of it, has as much memory as it is told, and fails when told to.
pub struct Watched {
    device: Emulator,
    /// Bytes that were allocated.
    pub taken: AtomicU64,
    /// Bytes that it has.
    pub room: u64,
    /// Whether it says that its memory is the host's. It cannot read it in place all the same.
    pub of_host: bool,
    /// Whether it fails from now on.
    pub broken: AtomicBool,
    /// Logits of so many bytes are not to be read.
    pub unread: AtomicU64,
}

impl Watched {
    pub fn new(device: Emulator) -> Self {
        let (taken, broken, unread) = (AtomicU64::new(0), AtomicBool::new(false), AtomicU64::new(0));
        Self { device, taken, room: u64::MAX, of_host: false, broken, unread }
    }

    fn check(&self) -> Result<(), CudaError> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(CudaError::Driver { call: "a test", reason: "told to fail".to_owned() });
        }
        Ok(())
    }
}

impl Device for Watched {
    fn name(&self) -> String {
        self.device.name()
    }
    fn memory(&self) -> Result<DeviceMemory, CudaError> {
        Ok(DeviceMemory { free: self.room - self.taken.load(Ordering::Relaxed), of_host: self.of_host })
    }
    fn allocate(&self, what: &'static str, bytes: u64) -> Result<Address, CudaError> {
        let free = self.memory()?.free;
        if bytes > free {
            return Err(CudaError::Memory { what, asked: bytes, free });
        }
        self.taken.fetch_add(bytes, Ordering::Relaxed);
        self.device.allocate(what, bytes)
    }
    fn free(&self, address: Address) {
        self.device.free(address);
    }
    fn share(&self, bytes: &HostBytes) -> Result<Option<Address>, CudaError> {
        self.device.share(bytes)
    }
    fn write(&self, to: Address, bytes: &[u8]) -> Result<(), CudaError> {
        self.check()?;
        self.device.write(to, bytes)
    }
    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<(), CudaError> {
        self.check()?;
        assert_ne!(bytes.len() as u64, self.unread.load(Ordering::Relaxed), "logits were read");
        self.device.read(from, bytes)
    }
    fn copy(&self, from: Address, to: Address, bytes: u64) -> Result<(), CudaError> {
        self.check()?;
        self.device.copy(from, to, bytes)
    }
    fn run(&self, launches: &[Launch], tokens: u32) -> Result<(), CudaError> {
        self.check()?;
        self.device.run(launches, tokens)
    }
    fn record(&self, launches: &[Launch], tokens: u32) -> Result<Recorded, CudaError> {
        self.device.record(launches, tokens)
    }
    fn replay(&self, recorded: &Recorded) -> Result<(), CudaError> {
        self.check()?;
        self.device.replay(recorded)
    }
}
