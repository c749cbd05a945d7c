//! The kernels for one architecture: from a folder where they were left before, or by the toolkit's
//! run-time compiler.

use std::ffi::{CStr, CString, c_char};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use cudarc::nvrtc::{result, sys};

use crate::error::CudaError;
use crate::sources;

/// PTX for an architecture, such as 87. With a folder it is looked for there first, and left there
/// for the next time. A folder that cannot be written to is no error.
///
/// # Errors
/// It is not there and there is no compiler, or the compiler does not know the architecture.
pub fn to_ptx(architecture: u32, cache: Option<&Path>) -> Result<String, CudaError> {
    let program = sources::program();
    let mut hasher = DefaultHasher::new();
    (&program, sources::OPTIONS, env!("CARGO_PKG_VERSION")).hash(&mut hasher);
    let name = format!("hardtack-sm_{architecture}-{:016x}.ptx", hasher.finish());
    if let Some(ptx) = cache.and_then(|folder| fs::read_to_string(folder.join(&name)).ok()) {
        return Ok(ptx);
    }
    let ptx = compile(&program, architecture)?;
    if let Some(folder) = cache {
        // Under another name first: a program that starts meanwhile never reads half of it.
        let aside = folder.join(format!("{name}.{}", std::process::id()));
        let kept = fs::create_dir_all(folder)
            .and_then(|()| fs::write(&aside, &ptx))
            .and_then(|()| fs::rename(&aside, folder.join(&name)));
        if kept.is_err() {
            let _ = fs::remove_file(&aside);
        }
    }
    Ok(ptx)
}

/// A program that the compiler knows, until it is dropped.
struct Program(sys::nvrtcProgram);

fn compile(source: &str, architecture: u32) -> Result<String, CudaError> {
    // SAFETY: loading the compiler's library runs its initialization, as every program that uses it
    // does.
    if !unsafe { sys::is_culib_present() } {
        return Err(CudaError::NoKernelCompiler);
    }
    let failed = |log: String| CudaError::Compile { architecture, log };
    let source = CString::new(source).expect("sources have no zero bytes");
    let program = Program(
        result::create_program(&source, Some(c"kernels.cu"))
            .map_err(|error| failed(error.to_string()))?,
    );
    let mut options: Vec<String> =
        sources::OPTIONS.iter().map(|option| (*option).to_owned()).collect();
    options.push(format!("--gpu-architecture=compute_{architecture}"));
    // SAFETY: the program was just made, and its source still lives.
    let compiled = unsafe { result::compile_program(program.0, &options) };
    if let Err(error) = compiled {
        // SAFETY: as above.
        let log =
            unsafe { result::get_program_log(program.0) }.map(|log| text(&log)).unwrap_or_default();
        let first = log
            .lines()
            .find(|line| line.contains("error"))
            .map_or_else(|| error.to_string(), str::to_owned);
        return Err(failed(first));
    }
    // SAFETY: the program is compiled.
    let ptx = unsafe { result::get_ptx(program.0) }.map_err(|error| failed(error.to_string()))?;
    Ok(text(&ptx))
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: made by `create_program`, destroyed once.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

/// Text as the compiler returns it, up to its zero byte.
fn text(letters: &[c_char]) -> String {
    // Letters are signed on some systems and unsigned on others.
    let bytes: Vec<u8> = letters.iter().map(|letter| letter.to_ne_bytes()[0]).collect();
    CStr::from_bytes_until_nul(&bytes)
        .map(|text| text.to_string_lossy().into_owned())
        .unwrap_or_default()
}
