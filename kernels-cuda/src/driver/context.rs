//! What a device needs to be talked to: its context, one stream, and the loaded kernels. They go
//! together.

use cudarc::driver::result::{self, ctx, primary_ctx, stream};
use cudarc::driver::sys;

use super::failed::failed;
use crate::error::CudaError;

/// Something of the driver's that any thread may name.
#[derive(Clone, Copy, Debug)]
pub struct Handle<T>(pub T);

// SAFETY: a handle is a name. The driver's functions that take it may be called from any thread, as
// long as the context is the thread's current one, which every use here sees to.
unsafe impl<T> Send for Handle<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Handle<T> {}

/// A device's context, stream and module.
#[derive(Debug)]
pub struct Context {
    device: sys::CUdevice,
    context: Handle<sys::CUcontext>,
    stream: Option<Handle<sys::CUstream>>,
    module: Option<Handle<sys::CUmodule>>,
}

impl Context {
    /// Enters a device and loads kernels, given as PTX.
    ///
    /// # Errors
    /// The driver fails.
    pub fn new(device: sys::CUdevice, ptx: &str) -> Result<Self, CudaError> {
        // SAFETY: the device was given by the driver.
        let context =
            unsafe { primary_ctx::retain(device) }.map_err(failed("cuDevicePrimaryCtxRetain"))?;
        // From here on what was made is given back if something fails.
        let mut own = Self { device, context: Handle(context), stream: None, module: None };
        own.make_current()?;
        // A stream that copies, which name no stream, wait for and are waited for by.
        own.stream = Some(Handle(
            stream::create(stream::StreamKind::Default).map_err(failed("cuStreamCreate"))?,
        ));
        let image = std::ffi::CString::new(ptx).map_err(|_| CudaError::Driver {
            call: "cuModuleLoadData",
            reason: "the compiled kernels have a zero byte in them".to_owned(),
        })?;
        // SAFETY: the image is text that ends with a zero byte, and the driver copies it.
        let module = unsafe { result::module::load_data(image.as_ptr().cast()) }
            .map_err(failed("cuModuleLoadData"))?;
        own.module = Some(Handle(module));
        Ok(own)
    }

    /// Makes this the context of the calling thread.
    ///
    /// # Errors
    /// The driver fails.
    pub fn make_current(&self) -> Result<(), CudaError> {
        // SAFETY: the context is retained until this is dropped.
        unsafe { ctx::set_current(self.context.0) }.map_err(failed("cuCtxSetCurrent"))
    }

    /// The stream that everything is enqueued on.
    pub fn stream(&self) -> sys::CUstream {
        self.stream.expect("made with the context").0
    }

    /// The kernels.
    pub fn module(&self) -> sys::CUmodule {
        self.module.expect("made with the context").0
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let _ = self.make_current();
        if let Some(Handle(module)) = self.module {
            // SAFETY: loaded above, and nothing that names it outlives this.
            let _ = unsafe { result::module::unload(module) };
        }
        if let Some(Handle(stream)) = self.stream {
            // SAFETY: as above.
            let _ = unsafe { stream::destroy(stream) };
        }
        // SAFETY: retained once above.
        let _ = unsafe { primary_ctx::release(self.device) };
    }
}
