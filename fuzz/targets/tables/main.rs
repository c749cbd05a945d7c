//! Any bytes as the side file of a calibration. What is accepted is written again and read the
//! same.
//!
//! The reader is compiled from its own source, without the rest of the calibration, which takes
//! minutes to build.
#![no_main]

mod calibrate;
mod files;

use std::sync::LazyLock;

use hardtack_fuzz::TempFile;
use libfuzzer_sys::fuzz_target;

static FILE: LazyLock<TempFile> = LazyLock::new(|| TempFile::new("tables"));

fuzz_target!(|bytes: &[u8]| {
    hardtack_fuzz::keep_limit();
    FILE.write(bytes);
    let Ok(tables) = calibrate::tables::read(FILE.path()) else { return };
    calibrate::tables::write(FILE.path(), &tables).expect("room");
    assert_eq!(calibrate::tables::read(FILE.path()).expect("our own"), tables);
    let _ = calibrate::read_state(FILE.path(), &tables.header, 4);
});
