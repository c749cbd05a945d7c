//! A GPU by way of its driver, which is looked for when the program runs: neither driver nor
//! compiler need be there before.
//!
//! Not a line of this has run on a GPU yet; KERNELS.md says what was checked.

mod compile;
mod context;
mod failed;

use std::ffi::CString;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::result::{self, device, stream};
use cudarc::driver::sys;

use self::context::{Context, Handle};
use self::failed::failed;
use crate::address::Address;
use crate::device::{Device, DeviceMemory, HostBytes, Inside, Raw, Recorded};
use crate::error::CudaError;
use crate::kernel::Kernel;
use crate::launch::Launch;

pub use compile::to_ptx;

/// The most bytes of parameters that a kernel takes here; every device takes more.
const PARAM_BYTES_MAX: usize = 512;

/// A GPU.
#[derive(Debug)]
pub struct Driver {
    context: Arc<Context>,
    /// By the kernel's number.
    functions: Vec<Handle<sys::CUfunction>>,
    name: String,
    integrated: bool,
    /// One thread at a time: what another one enqueued while launches are recorded would be
    /// recorded with them.
    alone: Mutex<()>,
    shared: Mutex<Vec<Shared>>,
}

/// Memory of the host that the device reads where it lies.
struct Shared {
    start: Handle<*mut std::ffi::c_void>,
    /// Keeps the memory there for as long as it is registered.
    _owner: HostBytes,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.start.fmt(to)
    }
}

/// A list of launches that the driver keeps as a graph.
#[derive(Debug)]
struct Graph {
    graph: Handle<sys::CUgraphExec>,
    context: Arc<Context>,
}

impl Driver {
    /// Opens a GPU, 0 for the first, and compiles the kernels for it, unless they lie in the folder
    /// `cache` already.
    ///
    /// # Errors
    /// There is no driver, no such GPU, or no compiler where one is needed, or one of them fails.
    pub fn open(ordinal: u32, cache: Option<&Path>) -> Result<Self, CudaError> {
        // SAFETY: loading the driver's library runs its initialization, as every program that uses
        // the driver does.
        if !unsafe { sys::is_culib_present() } {
            return Err(CudaError::NoDriver);
        }
        result::init().map_err(failed("cuInit"))?;
        let gpu = device::get(ordinal.cast_signed()).map_err(failed("cuDeviceGet"))?;
        let attribute = |which| {
            // SAFETY: the device was just given by the driver.
            unsafe { device::get_attribute(gpu, which) }.map_err(failed("cuDeviceGetAttribute"))
        };
        let major =
            attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor =
            attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let integrated = attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_INTEGRATED)? != 0;
        let name = device::get_name(gpu).map_err(failed("cuDeviceGetName"))?;
        let architecture = (major * 10 + minor).unsigned_abs();
        let ptx = to_ptx(architecture, cache)?;
        let context = Arc::new(Context::new(gpu, &ptx)?);
        let function = |kernel: &Kernel| {
            let name = CString::new(kernel.name()).expect("names have no zero bytes");
            // SAFETY: the module is loaded, and unloaded only with the context.
            unsafe { result::module::get_function(context.module(), name) }
                .map(Handle)
                .map_err(failed("cuModuleGetFunction"))
        };
        let functions = Kernel::ALL.iter().map(function).collect::<Result<_, _>>()?;
        let name = format!("{name} (sm_{architecture})");
        Ok(Self {
            context,
            functions,
            name,
            integrated,
            alone: Mutex::default(),
            shared: Mutex::default(),
        })
    }

    /// Makes the calling thread the only one that talks to the device, until the guard is dropped.
    fn enter(&self) -> Result<MutexGuard<'_, ()>, CudaError> {
        let guard = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        self.context.make_current()?;
        Ok(guard)
    }

    fn launch(&self, launch: &Launch, tokens: u32) -> Result<(), CudaError> {
        let mut params = [0u64; PARAM_BYTES_MAX / 8];
        assert!(launch.params.len() <= PARAM_BYTES_MAX, "parameters of {}", launch.kernel.name());
        for (word, bytes) in params.iter_mut().zip(launch.params.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        }
        let [x, y, z] = launch.grid.map(|extent| extent.blocks(tokens));
        let function = self.functions[launch.kernel as usize].0;
        let threads = (launch.kernel.threads(), 1, 1);
        // SAFETY: the function is of a module that lives as long as the context. A kernel takes one
        // structure, whose bytes `params` holds and the driver copies before it returns. The
        // addresses in it were allocated for the sizes that the kernel has from the same spec; the
        // emulation runs the same launches with memory that ends where it is allocated.
        unsafe {
            result::launch_kernel(
                function,
                (x, y, z),
                threads,
                launch.shared_bytes,
                self.context.stream(),
                &mut [params.as_mut_ptr().cast()],
            )
        }
        .map_err(failed("cuLaunchKernel"))
    }
}

impl Device for Driver {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn memory(&self) -> Result<DeviceMemory, CudaError> {
        let _alone = self.enter()?;
        let (free, _) = result::mem_get_info().map_err(failed("cuMemGetInfo"))?;
        Ok(DeviceMemory { free: free as u64, of_host: self.integrated })
    }

    fn raw(&self, _: Inside) -> &dyn Raw {
        self
    }
}

/// The safety of these calls rests on what the trait demands of its callers, all of them in this
/// crate.
impl Raw for Driver {
    fn allocate(&self, what: &'static str, bytes: u64) -> Result<Address, CudaError> {
        let _alone = self.enter()?;
        let (free, _) = result::mem_get_info().map_err(failed("cuMemGetInfo"))?;
        // SAFETY: the memory has no value before something is written there, and nothing here reads
        // it before.
        let address = unsafe { result::malloc_sync(bytes as usize) };
        address.map(Address).map_err(|_| CudaError::Memory {
            what,
            asked: bytes,
            free: free as u64,
        })
    }

    fn free(&self, address: Address) {
        // When the context is gone, so is the memory.
        if let Ok(_alone) = self.enter() {
            // SAFETY: only what `allocate` gave is given back, once; the driver waits for kernels
            // that may use it.
            let _ = unsafe { result::free_sync(address.0) };
        }
    }

    fn share(&self, owner: &HostBytes, bytes: &[u8]) -> Result<Option<Address>, CudaError> {
        if !self.integrated {
            return Ok(None);
        }
        let _alone = self.enter()?;
        let start = bytes.as_ptr().cast_mut().cast();
        let flags = sys::CU_MEMHOSTREGISTER_DEVICEMAP | sys::CU_MEMHOSTREGISTER_READ_ONLY;
        // SAFETY: the memory stays where it is for as long as the `Arc` kept below; the device only
        // reads it.
        if unsafe { sys::cuMemHostRegister_v2(start, bytes.len(), flags) }.result().is_err() {
            // Some systems do not register mapped files. Then the weights are copied.
            return Ok(None);
        }
        let kept = Shared { start: Handle(start), _owner: owner.clone() };
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
        let mut address = 0;
        // SAFETY: the memory was just registered with its place on the device.
        unsafe { sys::cuMemHostGetDevicePointer_v2(&raw mut address, start, 0) }
            .result()
            .map_err(failed("cuMemHostGetDevicePointer"))?;
        Ok(Some(Address(address)))
    }

    fn write(&self, to: Address, bytes: &[u8]) -> Result<(), CudaError> {
        let _alone = self.enter()?;
        // SAFETY: `to` has room for the bytes. The call waits for what was enqueued before and
        // returns when they are copied.
        unsafe { result::memcpy_htod_sync(to.0, bytes) }.map_err(failed("cuMemcpyHtoD"))
    }

    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<(), CudaError> {
        let _alone = self.enter()?;
        // SAFETY: as many bytes are there. The call waits for what was enqueued before and returns
        // when they are copied.
        unsafe { result::memcpy_dtoh_sync(bytes, from.0) }.map_err(failed("cuMemcpyDtoH"))
    }

    fn copy(&self, from: Address, to: Address, bytes: u64) -> Result<(), CudaError> {
        let _alone = self.enter()?;
        // SAFETY: as many bytes are at either place, which are of this device and do not overlap.
        unsafe { result::memcpy_dtod_async(to.0, from.0, bytes as usize, self.context.stream()) }
            .map_err(failed("cuMemcpyDtoDAsync"))
    }

    fn run(&self, launches: &[Launch], tokens: u32) -> Result<(), CudaError> {
        let _alone = self.enter()?;
        launches.iter().try_for_each(|launch| self.launch(launch, tokens))
    }

    fn record(&self, launches: &[Launch], tokens: u32) -> Result<Recorded, CudaError> {
        let _alone = self.enter()?;
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives as long as the context.
        unsafe { stream::begin_capture(self.context.stream(), mode) }
            .map_err(failed("cuStreamBeginCapture"))?;
        let launched = launches.iter().try_for_each(|launch| self.launch(launch, tokens));
        // SAFETY: as above; a capture that began must end, whatever happened in it.
        let graph = unsafe { stream::end_capture(self.context.stream()) }
            .map_err(failed("cuStreamEndCapture"))?;
        // SAFETY: the graph is the one just captured; what is made of it does not need it any
        // longer.
        let made = unsafe {
            let made = result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0));
            let _ = result::graph::destroy(graph);
            made
        };
        launched?;
        let graph = Handle(made.map_err(failed("cuGraphInstantiate"))?);
        Ok(Box::new(Graph { graph, context: self.context.clone() }))
    }

    fn replay(&self, recorded: &Recorded) -> Result<(), CudaError> {
        let recorded: &Graph = recorded.downcast_ref().expect("what a GPU recorded");
        let _alone = self.enter()?;
        // SAFETY: both live as long as their context, which `recorded` keeps.
        unsafe { result::graph::launch(recorded.graph.0, self.context.stream()) }
            .map_err(failed("cuGraphLaunch"))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.context.make_current().is_err() {
            return;
        }
        for shared in self.shared.get_mut().unwrap_or_else(PoisonError::into_inner) {
            // SAFETY: registered by `share` and by nobody else.
            let _ = unsafe { sys::cuMemHostUnregister(shared.start.0) }.result();
        }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if self.context.make_current().is_ok() {
            // SAFETY: made by `record`, destroyed once.
            let _ = unsafe { result::graph::exec_destroy(self.graph.0) };
        }
    }
}
