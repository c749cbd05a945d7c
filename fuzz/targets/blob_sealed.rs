//! Any header, index and spec in front of a valid blob's weights, with every hash made right: the
//! checks after them.
#![no_main]

use std::sync::LazyLock;

use hardtack_fuzz::{build, read_blob, seal};
use libfuzzer_sys::fuzz_target;

static VALID: LazyLock<Vec<u8>> = LazyLock::new(build::sample);

fuzz_target!(|head: &[u8]| {
    let mut file = VALID.clone();
    let changed = head.len().min(file.len());
    file[..changed].copy_from_slice(&head[..changed]);
    seal::seal_all(&mut file);
    let _ = read_blob(&file);
});
