//! Statistics of short texts.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use hardtack_converter::calibrate::tables::DomainTable;
use hardtack_converter::calibrate::{
    CalibrateError, Domain, Model, NoConsumer, Settings, Tables, calibrate,
};
use hardtack_format::Encoding;

use hardtack_testing::references;

pub const OPTIONS: [Encoding; 3] = [Encoding::F32, Encoding::Q3, Encoding::Q6];

pub fn settings<'a>(scratch: &'a Path, stop: &'a AtomicBool) -> Settings<'a> {
    Settings {
        options: OPTIONS.to_vec(),
        seed: 7,
        domain_tokens_min: 4,
        ..Settings::new(scratch, stop)
    }
}

pub fn domain(name: &str, tokens: Vec<Vec<u32>>) -> Domain {
    Domain { name: name.to_owned(), hash: format!("hash of {name}"), tokens }
}

pub fn run(
    model: &Model,
    domains: &[Domain],
    settings: &Settings<'_>,
) -> Result<Tables, CalibrateError> {
    calibrate(model, domains, settings, &mut NoConsumer, &mut |_| ())
}

pub fn tables(model: &Model, domains: &[Domain]) -> Tables {
    let (scratch, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
    run(model, domains, &settings(scratch.path(), &stop)).unwrap()
}

pub fn prompts(folder: &Path) -> Vec<Vec<u32>> {
    references(folder).into_iter().map(|reference| reference.prompt).collect()
}

/// Every row of costs of a text.
pub fn costs(domain: &DomainTable) -> Vec<&Vec<f64>> {
    let layers = domain.layers.iter().flat_map(|layer| {
        [&layer.attention, &layer.common]
            .into_iter()
            .chain(layer.experts.iter().map(|expert| &expert.cost))
    });
    [&domain.embedding, &domain.head]
        .into_iter()
        .chain(layers)
        .filter(|row| !row.is_empty())
        .collect()
}

pub fn assert_close(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!(
        (found - expected).abs() <= tolerance * expected.abs(),
        "{what}: {found}, not {expected}"
    );
}
