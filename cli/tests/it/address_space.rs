//! The program in an address space that ends early.
#![cfg(target_os = "linux")]

use hardtack::format::Encoding;
use hardtack_testing::{bake_at, synthetic};

use crate::program::{Argument, run_in_shell};

/// It says so, or it works.
#[test]
fn little_address_space_is_an_error_and_no_abort() {
    let folder = tempfile::tempdir().unwrap();
    let network =
        synthetic::Network { vocabulary: 24_000, hidden: 64, layers: 12, context: 1 << 24 };
    let path = folder.path().join("model.tack");
    synthetic::write(folder.path(), network);
    bake_at(folder.path(), &path, Encoding::Q4);
    let ring = ["--kv-bits", "8,4,2", "--ctx", "0", "--memory", "none"]
        .map(|word| Box::new(word) as Box<dyn AsRef<_>>);
    let short = ["--ctx", "64"].map(|word| Box::new(word) as Box<dyn AsRef<_>>);
    let mut codes = Vec::new();
    for (more, mebibytes) in [(&short[..], 30..150), (&ring[..], 100..1500)] {
        for limit in mebibytes.clone().step_by((mebibytes.len() / 12).max(1)) {
            let script = format!("ulimit -v {}; exec hardtack", limit << 10);
            let mut arguments: Vec<Argument<'_>> =
                vec![&"run", &path, &"-p", &"Hi", &"-n", &"3", &"-t", &"1"];
            arguments.extend(more.iter().map(|word| &**word as Argument<'_>));
            let outcome = run_in_shell(&script, &arguments);
            // 127: not even the program's own code fits.
            assert!(matches!(outcome.code, Some(0 | 1 | 127)), "{limit} MiB: {outcome:#?}");
            if outcome.code == Some(1) {
                assert_eq!(outcome.err.lines().count(), 1, "{limit} MiB: {outcome:#?}");
            }
            codes.push(outcome.code.unwrap());
        }
    }
    assert!(codes.contains(&1) && codes.contains(&0), "{codes:?}");
}
