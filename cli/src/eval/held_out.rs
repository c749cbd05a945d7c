//! Text under test is never text calibrated on: a blob names what it was calibrated on, and the
//! same file may not judge it.

use std::path::Path;

use anyhow::{Context, bail};
use hardtack::Engine;
use hardtack_converter::CalibrationText;
use serde::Deserialize;

use crate::provenance;

/// What matters here of a blob's provenance. A blob that says nothing was not calibrated.
#[derive(Deserialize)]
struct Calibrated {
    #[serde(default)]
    calibration: Vec<CalibrationText>,
}

/// Refuses the contents of the file at `path` as a test of any of the models if one was calibrated
/// on them.
///
/// # Errors
/// The contents have the hash of one of a blob's calibration texts, or a blob's list of them cannot
/// be read.
pub fn ensure_held_out<'a>(
    path: &Path,
    contents: &[u8],
    models: impl IntoIterator<Item = &'a Engine>,
) -> anyhow::Result<()> {
    ensure_hash_held_out(path, &blake3::hash(contents), models)
}

/// The same of contents with this hash.
///
/// # Errors
/// As [`ensure_held_out`].
pub fn ensure_hash_held_out<'a>(
    path: &Path,
    hash: &blake3::Hash,
    models: impl IntoIterator<Item = &'a Engine>,
) -> anyhow::Result<()> {
    let hash = hash.to_hex();
    for model in models {
        let (path, blob) = (path.display(), model.path().display());
        if let Some(text) = calibration(model)?.iter().find(|text| text.blake3 == hash.as_str()) {
            let CalibrationText { domain, name, .. } = text;
            bail!(
                "{path}: {blob} was calibrated on this text (domain {domain}, file {name}): it cannot judge it too"
            );
        }
    }
    Ok(())
}

fn calibration(model: &Engine) -> anyhow::Result<Vec<CalibrationText>> {
    let Some(section) = provenance::section(model)? else { return Ok(Vec::new()) };
    let calibrated: Calibrated = serde_json::from_slice(section).with_context(|| {
        format!("{}: its list of calibration texts cannot be read", model.path().display())
    })?;
    Ok(calibrated.calibration)
}
