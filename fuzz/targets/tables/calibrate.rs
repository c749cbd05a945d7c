//! What the reader of tables needs of the room `calibrate`.

pub mod error;
#[allow(dead_code, unused_imports, reason = "the converter uses the rest")]
#[path = "../../../converter/src/calibrate/tables/mod.rs"]
pub mod tables;
