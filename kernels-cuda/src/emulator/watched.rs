//! An emulation for tests of what is built on a device: it counts, it has a given amount of
//! memory, and it fails on demand.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::process::Emulator;
use crate::address::Address;
use crate::device::{Device, DeviceMemory, HostBytes, Inside, Raw, Recorded};
use crate::error::CudaError;
use crate::launch::Launch;

/// An emulation that counts what is taken of it, has a given amount of memory, and fails on
/// demand.
#[derive(Debug)]
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
    /// Logits of this many bytes are not to be read: reading them is an error.
    pub unread: AtomicU64,
}

impl Watched {
    /// With all the room there is.
    pub fn new(device: Emulator) -> Self {
        let (taken, broken, unread) =
            (AtomicU64::new(0), AtomicBool::new(false), AtomicU64::new(0));
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
        Ok(DeviceMemory {
            free: self.room - self.taken.load(Ordering::Relaxed),
            of_host: self.of_host,
        })
    }
    fn raw(&self, _: Inside) -> &dyn Raw {
        self
    }
}

impl Raw for Watched {
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
    fn share(&self, owner: &HostBytes, bytes: &[u8]) -> Result<Option<Address>, CudaError> {
        self.device.share(owner, bytes)
    }
    fn write(&self, to: Address, bytes: &[u8]) -> Result<(), CudaError> {
        self.check()?;
        self.device.write(to, bytes)
    }
    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<(), CudaError> {
        self.check()?;
        if bytes.len() as u64 == self.unread.load(Ordering::Relaxed) {
            return Err(CudaError::Driver {
                call: "a test",
                reason: "logits were read".to_owned(),
            });
        }
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
