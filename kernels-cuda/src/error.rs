//! What can go wrong on a device, in one line each.

use std::fmt;
use std::path::PathBuf;

use hardtack_format::FormatError;

/// Something went wrong on a device.
#[derive(Debug)]
#[non_exhaustive]
pub enum CudaError {
    /// The device has no more memory.
    Memory {
        /// What it was for.
        what: &'static str,
        /// What was requested at once.
        asked: u64,
        /// What the device said is free.
        free: u64,
    },
    /// A network that the kernels cannot run.
    Unsupported {
        /// The layer.
        layer: usize,
        /// What is too large.
        what: &'static str,
        /// How large it is.
        found: u64,
        /// How large it may be.
        max: u64,
    },
    /// A size or a position that is outside what there is.
    Range {
        /// What it is.
        what: &'static str,
        /// How much was requested.
        found: u64,
        /// The least there may be.
        min: u64,
        /// The most there may be.
        max: u64,
    },
    /// The blob is none.
    Blob(FormatError),
    /// There is no driver.
    NoDriver,
    /// The kernels are not compiled yet, and there is no compiler for them.
    NoKernelCompiler,
    /// The kernels cannot be compiled.
    Compile {
        /// The device's architecture, such as 87.
        architecture: u32,
        /// What the compiler says.
        log: String,
    },
    /// The driver fails.
    Driver {
        /// What it was doing.
        call: &'static str,
        /// What it says.
        reason: String,
    },
    /// There is no C++ compiler to build the emulation with.
    NoCompiler {
        /// What was tried.
        compiler: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The emulation cannot be built.
    EmulationBuild {
        /// The compiler's first words, or the system's.
        reason: String,
    },
    /// The emulation's process ended, or cannot be started.
    Emulation {
        /// Its program.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Holds a number to its range.
pub(crate) fn in_range(
    what: &'static str,
    found: usize,
    min: usize,
    max: usize,
) -> Result<(), CudaError> {
    if (min..=max).contains(&found) {
        Ok(())
    } else {
        Err(CudaError::Range { what, found: found as u64, min: min as u64, max: max as u64 })
    }
}

impl fmt::Display for CudaError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { what, asked, free } => {
                write!(
                    to,
                    "the device has no room for {asked} bytes of {what}: {free} bytes are free"
                )
            }
            Self::Unsupported { layer, what, found, max } => {
                write!(
                    to,
                    "the CUDA kernels cannot run this network: layer {layer}: {what}: {found}, \
                     at most {max}"
                )
            }
            Self::Range { what, found, min, max } => {
                write!(to, "{what}: expected {min} to {max}, found {found}")
            }
            Self::Blob(error) => error.fmt(to),
            Self::NoDriver => to.write_str("there is no NVIDIA driver on this system (libcuda)"),
            Self::NoKernelCompiler => to.write_str(
                "the CUDA kernels are not compiled yet, and there is no compiler for them \
                     (libnvrtc)",
            ),
            Self::Compile { architecture, log } => {
                write!(to, "the CUDA kernels cannot be compiled for sm_{architecture}: {log}")
            }
            Self::Driver { call, reason } => {
                write!(to, "the NVIDIA driver fails in {call}: {reason}")
            }
            Self::NoCompiler { compiler, source } => {
                write!(
                    to,
                    "the emulation needs a C++ compiler, and {compiler} cannot be started: {source}"
                )
            }
            Self::EmulationBuild { reason } => {
                write!(to, "the emulation cannot be built: {reason}")
            }
            Self::Emulation { path, source } => {
                write!(to, "the emulation {} ended: {source}", path.display())
            }
        }
    }
}

impl std::error::Error for CudaError {}
