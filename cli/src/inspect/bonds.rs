//! Whether every gate stands beside the experts that it was tuned to: the blob says by which hash,
//! and it is counted again.

use anyhow::{Context, bail, ensure};
use hardtack::Engine;
use hardtack::format::gate_bonds;
use hardtack_converter::bake::GateBond;
use serde::Deserialize;

use crate::provenance;

/// What matters here of a blob's provenance.
#[derive(Deserialize)]
struct Bound {
    #[serde(default)]
    gate_bonds: Vec<GateBond>,
}

/// Compares the bonds that a blob's provenance lists with its sections; says whether it lists any.
///
/// # Errors
/// The list cannot be read, or a layer's gate and experts are not those that were baked together.
pub fn verify(engine: &Engine) -> anyhow::Result<bool> {
    let Some(section) = provenance::section(engine)? else { return Ok(false) };
    let path = engine.path().display();
    let Bound { gate_bonds: said } = serde_json::from_slice(section)
        .with_context(|| format!("{path}: its bonds of routers cannot be read"))?;
    if said.is_empty() {
        return Ok(false);
    }
    let found = gate_bonds(engine.blob().sections().map(|record| (record.key, record.hash)));
    let found: Vec<GateBond> =
        found.into_iter().map(|(layer, hash)| GateBond::new(layer, hash)).collect();
    for own in &found {
        let Some(said) = said.iter().find(|said| said.layer == own.layer) else {
            bail!(
                "{path}: layer {}: expected a bond of its router and experts, found none",
                own.layer
            );
        };
        ensure!(
            said == own,
            "{path}: layer {}: its router and experts are not those that were baked together: expected {:?}, found {:?}",
            own.layer,
            said.blake3,
            own.blake3
        );
    }
    Ok(true)
}
