//! The driver's side: what it says where there is none, and the compiler with its folder.
#![cfg(feature = "driver")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use hardtack_kernels_cuda::driver::{Driver, to_ptx};
use hardtack_kernels_cuda::{CudaError, Device, Kernel};

/// A place of this name where nothing is.
fn place(name: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&place);
    let _ = fs::remove_file(&place);
    place
}

/// PTX for Orin, none, loudly, where the toolkit's compiler is not at hand.
fn ptx(cache: Option<&Path>) -> Option<String> {
    match to_ptx(87, cache) {
        Ok(ptx) => Some(ptx),
        Err(error @ CudaError::NoKernelCompiler) => {
            let _ = std::io::stderr()
                .write_all(format!("SKIPPED: {error}: nothing is compiled\n").as_bytes());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn without_a_gpu_there_is_one_line_that_says_so() {
    match Driver::open(0, Some(&place("no-gpu"))) {
        Ok(device) => assert!(device.name().contains("sm_"), "{}", device.name()),
        Err(error) => {
            assert!(matches!(
                error,
                CudaError::NoDriver | CudaError::Driver { .. } | CudaError::NoKernelCompiler
            ));
            let line = error.to_string();
            assert!(
                !line.contains('\n') && (line.contains("NVIDIA") || line.contains("libnvrtc")),
                "{line}"
            );
        }
    }
    assert!(Driver::open(4096, None).is_err(), "there is no such GPU anywhere");
}

#[test]
fn what_is_compiled_has_every_kernel_and_is_kept() {
    let cache = place("kept");
    let Some(compiled) = ptx(Some(&cache)) else { return };
    for kernel in Kernel::ALL {
        assert!(compiled.contains(&format!(".entry {}(", kernel.name())), "{}", kernel.name());
    }
    // Nothing is fused but what is written so: the gate's choice has products and sums and no
    // `fmaf`.
    let choose = compiled.split(".entry ").find(|entry| entry.starts_with("choose(")).unwrap();
    assert!(choose.contains("mul") && !choose.contains("fma."), "{choose}");

    let kept: Vec<PathBuf> =
        fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(fs::read_to_string(&kept[0]).unwrap(), compiled);
    fs::write(&kept[0], "what was kept").unwrap();
    assert_eq!(ptx(Some(&cache)).unwrap(), "what was kept");
}

#[test]
fn a_folder_that_cannot_be_written_to_is_no_error() {
    let file = place("file");
    fs::write(&file, "").unwrap();
    if let Some(compiled) = ptx(Some(&file.join("below"))) {
        assert!(compiled.contains(".entry choose("));
    }
}

#[test]
fn an_architecture_that_the_compiler_does_not_know_is_an_error() {
    match to_ptx(12, None) {
        Err(error @ CudaError::Compile { architecture: 12, .. }) => {
            assert!(!error.to_string().contains('\n'), "{error}");
        }
        Err(CudaError::NoKernelCompiler) => assert!(ptx(None).is_none()),
        other => panic!("{other:?}"),
    }
}
