//! Which device the program takes, and what it says where there is none.

use std::path::Path;
use std::process::{Command, Output};

use hardtack::format::Encoding;
use hardtack::{DeviceChoice, Engine, KvPrecision, Options, SessionOptions};
use hardtack_testing::devices::gpu;
use hardtack_testing::{bake_at, crumb};

fn program(words: &[&str], blob: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hardtack"))
        .arg(words[0])
        .arg(blob)
        .args(&words[1..])
        .output()
        .unwrap()
}

/// Without a GPU: asking for one is an error of one line, and asking for the best goes on without
/// it and says why.
#[test]
fn the_program_says_why_it_takes_the_processor() {
    let scratch = tempfile::tempdir().unwrap();
    let blob = scratch.path().join("crumb.tack");
    bake_at(&crumb(), &blob, Encoding::Q4);
    let run = |device: &str| {
        program(&["run", "-p", "The old house", "-n", "4", "--device", device], &blob)
    };
    let session = SessionOptions::new().context(128).batch(16).kv(KvPrecision::F16);
    let best = Options::new().device(DeviceChoice::Auto).session(session);
    let engine = Engine::open_with(&blob, &best).unwrap();
    let [cpu, auto, cuda] = ["cpu", "auto", "cuda"].map(run);
    assert!(cpu.status.success() && auto.status.success());
    assert!(String::from_utf8_lossy(&cpu.stderr).contains("[kernels "));
    let said = String::from_utf8_lossy(&auto.stderr);
    if gpu().is_some() {
        assert!(engine.device().is_some() && engine.passed_over().is_none());
        assert!(said.contains("[device ") && cuda.status.success(), "{said}");
        return;
    }
    let reason = engine.passed_over().unwrap();
    assert!(
        engine.device().is_none() && reason.contains("NVIDIA") || reason.contains("libnvrtc"),
        "{reason}"
    );
    assert!(said.contains(&format!("[no GPU: {reason}]")) && said.contains("[kernels "), "{said}");
    assert_eq!(cpu.stdout, auto.stdout);
    let line = String::from_utf8_lossy(&cuda.stderr);
    assert!(!cuda.status.success() && line.trim_end() == format!("hardtack: {reason}"), "{line}");
    assert!(cuda.stdout.is_empty());
}
