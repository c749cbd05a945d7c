//! What a device does: keeps memory, moves bytes, runs kernels.
//!
//! Whoever can write to an address of a device, or launch a kernel with parameters of his own, can
//! write to any memory that the device reaches, which can be all of the host's. So outside this
//! crate a [`Device`] only has a name and memory: what takes addresses is [`Raw`], and the way to
//! it needs an [`Inside`], which nobody else can make. For the same reason nobody else can make
//! another kind of device, which would be handed one.

use std::any::Any;
use std::sync::Arc;

use crate::address::Address;
use crate::error::CudaError;
use crate::launch::Launch;

/// Bytes of the host that a device may go on reading: a mapped file, or memory.
pub type HostBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A list of launches made ready to be run again and again: what it is, only the device that made
/// it knows.
pub type Recorded = Box<dyn Any + Send + Sync>;

/// A device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceMemory {
    /// Bytes that are free, as the device says; `u64::MAX` where it does not know.
    pub free: u64,
    /// Whether it is the host's memory, so that what the host holds need not be there twice.
    pub of_host: bool,
}

/// Proof that the caller is of this crate: it has no public constructor, and its module is private.
#[derive(Clone, Copy, Debug)]
pub struct Inside(());

/// The proof.
pub(crate) const INSIDE: Inside = Inside(());

/// A device. What is enqueued runs in order; reading waits for it. Only this crate has kinds of it.
pub trait Device: Send + Sync {
    /// What it is, for people.
    fn name(&self) -> String;

    /// What memory it has.
    ///
    /// # Errors
    /// The device fails.
    fn memory(&self) -> Result<DeviceMemory, CudaError>;

    /// Its memory and its kernels, for this crate alone.
    #[doc(hidden)]
    fn raw(&self, inside: Inside) -> &dyn Raw;
}

/// What a device does with addresses. Its callers only name memory that [`Raw::allocate`] or
/// [`Raw::share`] returned and that was not freed, and only launch kernels with parameters that
/// were made for it.
pub trait Raw: Send + Sync {
    /// Takes memory.
    ///
    /// # Errors
    /// The device has no such room: says what was requested and what is free.
    fn allocate(&self, what: &'static str, bytes: u64) -> Result<Address, CudaError>;

    /// Returns memory.
    fn free(&self, address: Address);

    /// Where the device sees these bytes of the host, if it reads the host's memory. `bytes` is
    /// what `owner` gave: it is not called again, as it may answer otherwise. They stay there as
    /// long as the device, which keeps the owner.
    ///
    /// # Errors
    /// The device fails.
    fn share(&self, owner: &HostBytes, bytes: &[u8]) -> Result<Option<Address>, CudaError>;

    /// Copies bytes to the device.
    ///
    /// # Errors
    /// The device fails.
    fn write(&self, to: Address, bytes: &[u8]) -> Result<(), CudaError>;

    /// Copies bytes from the device, when all that was enqueued is done.
    ///
    /// # Errors
    /// The device fails, now or in what was enqueued before.
    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<(), CudaError>;

    /// Enqueues a copy of bytes from one place of the device to another; the two do not overlap.
    ///
    /// # Errors
    /// The device fails.
    fn copy(&self, from: Address, to: Address, bytes: u64) -> Result<(), CudaError>;

    /// Enqueues launches for a pass over `tokens` tokens.
    ///
    /// # Errors
    /// The device fails.
    fn run(&self, launches: &[Launch], tokens: u32) -> Result<(), CudaError>;

    /// Makes launches for `tokens` tokens ready to be enqueued as one.
    ///
    /// # Errors
    /// The device fails.
    fn record(&self, launches: &[Launch], tokens: u32) -> Result<Recorded, CudaError>;

    /// Enqueues what was recorded.
    ///
    /// # Panics
    /// If another kind of device recorded it.
    ///
    /// # Errors
    /// The device fails.
    fn replay(&self, recorded: &Recorded) -> Result<(), CudaError>;
}

/// A device that several share, of whatever kind.
impl<D: Device + ?Sized> Device for Arc<D> {
    fn name(&self) -> String {
        (**self).name()
    }
    fn memory(&self) -> Result<DeviceMemory, CudaError> {
        (**self).memory()
    }
    fn raw(&self, inside: Inside) -> &dyn Raw {
        (**self).raw(inside)
    }
}
