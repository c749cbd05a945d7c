//! What the reader of tables needs of the room `calibrate`.

pub mod error;
#[allow(dead_code, unused_imports, reason = "the converter uses the rest")]
#[path = "../../../converter/src/calibrate/tables/mod.rs"]
pub mod tables;
#[allow(dead_code, reason = "the converter uses the rest")]
#[path = "../../../converter/src/calibrate/text.rs"]
pub mod text;

use std::path::Path;

/// Reads the state of a calibration that was interrupted, and says whether there is one.
pub fn read_state(path: &Path, header: &tables::Header, hidden: usize) -> bool {
    tables::read_state(path, header, hidden).is_ok_and(|state| state.is_some())
}
