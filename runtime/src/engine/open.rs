//! From a blob and options to a model that runs: on the processor, on a device, or on whichever
//! there is.

use std::path::PathBuf;
use std::sync::Arc;

use hardtack_format::Index;
use hardtack_kernels::KernelTable;

use super::limits::Limits;
use super::source::{Opened, Source};
use crate::backend::Backend;
use crate::cpu::pool::{AWAKE, Pool};
use crate::cpu::session::CpuModel;
use crate::cpu::tiers;
use crate::error::Error;
#[cfg(feature = "cuda")]
use crate::gpu::device::{self, SharedDevice};
use crate::options::{DeviceChoice, Options, SessionOptions};
use crate::os::BlobFile;
use crate::plan::fixed::Fixed;
#[cfg(feature = "cuda")]
use crate::plan::plan;

/// A model that runs, and what is known of its blob.
pub struct Running {
    pub file: Arc<BlobFile>,
    pub index: Index,
    pub path: PathBuf,
    pub backend: Arc<dyn Backend>,
    /// Why the processor was taken where a device was asked for too.
    pub passed_over: Option<String>,
    pub fixed: Fixed,
    pub limits: Limits,
    pub kernels: &'static KernelTable,
}

/// Opens a blob where the options say.
///
/// # Errors
/// The blob cannot be read or is not valid, does not fit, or the device or the kernels that were
/// asked for are not there.
pub fn open(source: &Source<'_>, options: &Options) -> Result<Running, Error> {
    match options.device {
        DeviceChoice::Cpu => on_cpu(source, options, None),
        DeviceChoice::Cuda => on_first_gpu(source, options, &SessionOptions::LEAST),
        DeviceChoice::Auto => match on_first_gpu(source, options, &options.session) {
            Ok(running) => Ok(running),
            Err(error @ (Error::File { .. } | Error::Blob { .. } | Error::NotABlob { .. })) => {
                Err(error)
            }
            Err(error) => on_cpu(source, options, Some(error.to_string())),
        },
    }
}

fn on_cpu(
    source: &Source<'_>,
    options: &Options,
    passed_over: Option<String>,
) -> Result<Running, Error> {
    let mut opened = Opened::new(source, options)?;
    let limits = Limits::of(source, options);
    limits.plan(&opened.network, opened.fixed, &SessionOptions::LEAST)?;
    opened.read(source, options)?;
    let Opened { file, index, network, fixed } = opened;
    let (file, kernels) = (Arc::new(file), tiers::choose(options.kernels.as_deref())?);
    let model = CpuModel { network, file: file.clone(), kernels, pool: start_threads(options)? };
    let (path, backend) = (source.name(), Arc::new(model));
    Ok(Running { file, index, path, backend, passed_over, fixed, limits, kernels })
}

fn start_threads(options: &Options) -> Result<Pool, Error> {
    let all = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = options.threads.unwrap_or_else(all);
    Pool::new(threads, options.awake.unwrap_or(AWAKE))
}

#[cfg(feature = "cuda")]
fn on_first_gpu(
    source: &Source<'_>,
    options: &Options,
    session: &SessionOptions,
) -> Result<Running, Error> {
    on_device(source, options, session, || device::first_gpu(options.kernel_cache.as_deref()))
}

#[cfg(not(feature = "cuda"))]
fn on_first_gpu(_: &Source<'_>, _: &Options, _: &SessionOptions) -> Result<Running, Error> {
    let expected = "cpu: this program was built without the feature `cuda`".to_owned();
    Err(Error::Setting { setting: "device", expected, found: "cuda".to_owned() })
}

/// Opens a blob on a device if such a session fits there too. The device is opened after the file,
/// so that a wrong file is refused first.
///
/// # Errors
/// As [`open`].
#[cfg(feature = "cuda")]
pub fn on_device(
    source: &Source<'_>,
    options: &Options,
    session: &SessionOptions,
    device: impl FnOnce() -> Result<SharedDevice, Error>,
) -> Result<Running, Error> {
    let mut opened = Opened::new(source, options)?;
    let device = device()?;
    opened.fixed.device = Some(device::weights(&device, &opened.file, &opened.network)?);
    let planned = plan(&opened.network, opened.fixed, session, options.memory_max)?;
    device::check_room(&device, planned.device_bytes())?;
    opened.read(source, options)?;
    let Opened { file, index, network: _, mut fixed } = opened;
    let file = Arc::new(file);
    let (model, weights) = device::load(device, file.clone())?;
    // Memory that the device could not read in place was copied after all.
    fixed.device = Some(weights);
    plan(model.network(), fixed, session, options.memory_max)?;
    let (path, limits) = (source.name(), Limits::of(source, options));
    let kernels = tiers::choose(options.kernels.as_deref())?;
    Ok(Running { file, index, path, backend: model, passed_over: None, fixed, limits, kernels })
}
