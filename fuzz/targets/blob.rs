//! A blob as it comes: any bytes, opened, bound and verified; and once more with the root hash made
//! right.
#![no_main]

use hardtack_fuzz::{read_blob, seal};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let _ = read_blob(file);
    let mut sealed = file.to_vec();
    seal::seal_root(&mut sealed);
    let _ = read_blob(&sealed);
});
