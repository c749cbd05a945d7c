//! Whether every router is beside the experts that it was tuned to: the blob says by which hash,
//! and it is counted again.

use anyhow::{Context, bail, ensure};
use hardtack::Engine;
use hardtack::format::router_bonds;
use hardtack_converter::bake::RouterBond;
use serde::Deserialize;

use crate::provenance;

/// What matters here of a blob's provenance.
#[derive(Deserialize)]
struct Bound {
    #[serde(rename = "gate_bonds", default)]
    router_bonds: Vec<RouterBond>,
}

/// Compares the bonds that a blob's provenance lists with its sections; says whether it lists any.
///
/// # Errors
/// The list cannot be read, or a layer's gate and experts are not those that were baked together.
pub fn verify(engine: &Engine) -> anyhow::Result<bool> {
    let Some(section) = provenance::section(engine)? else { return Ok(false) };
    let path = engine.path().display();
    let Bound { router_bonds: said } = serde_json::from_slice(section)
        .with_context(|| format!("{path}: its bonds of routers cannot be read"))?;
    if said.is_empty() {
        return Ok(false);
    }
    let found = router_bonds(engine.blob().sections().map(|record| (record.key, record.hash)));
    let found: Vec<RouterBond> =
        found.into_iter().map(|(layer, hash)| RouterBond::new(layer, hash)).collect();
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
