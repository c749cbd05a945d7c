//! `hardtack inspect`: what is in a blob.

mod bonds;
mod kv_plot;
mod making;
mod plot;

use std::collections::BTreeSet;
use std::fmt::Write;

use hardtack::format::{Blob, Encoding, SectionKey, SectionKind};
use hardtack::{Engine, Options};
use making::{Provenance, made, verdict};
use serde::Serialize;

use crate::args::InspectArguments;
use crate::output::{escaped, show, show_json};
use crate::provenance::{self, Json};
use crate::size::show_bytes;

#[derive(Serialize)]
struct Report<'a> {
    file: String,
    file_bytes: u64,
    root_hash: String,
    verified: bool,
    /// Whether the blob binds its routers to their experts, and they are those.
    gates_bound: bool,
    vocabulary: u32,
    hidden: u32,
    layers: usize,
    context_max: u32,
    parameters: u64,
    provenance: Option<Json<'a>>,
    rows: Vec<Row>,
}

/// One section, or all experts of a layer.
#[derive(Serialize)]
struct Row {
    section: String,
    sections: usize,
    tensors: usize,
    encodings: BTreeSet<&'static str>,
    parameters: u64,
    bytes: u64,
    /// Bits of matrices for each of their parameters, scales and padding counted in.
    bits_per_weight: Option<f64>,
    #[serde(skip)]
    matrix: (u64, u64),
}

/// Prints the sections, checked first if asked for.
pub fn inspect(arguments: &InspectArguments) -> anyhow::Result<()> {
    // The engine checks everything that a run would check.
    let options = Options::new().threads(1).verify(arguments.verify);
    let engine = Engine::open_with(&arguments.blob, &options)?;
    let bound = arguments.verify && bonds::verify(&engine)?;
    let section = provenance::section(&engine)?;
    let own: Option<Provenance> = section.and_then(|bytes| serde_json::from_slice(bytes).ok());
    let report = report(arguments, &engine, bound, section.and_then(Json::new))?;
    if let Some(path) = &arguments.plot {
        match &arguments.text {
            Some(text) => kv_plot::plot(&engine, text, &arguments.kv, path)?,
            None => plot::plot(&engine, own.as_ref(), path)?,
        }
    }
    if arguments.json {
        show_json(&report)?;
    } else {
        show(&table(&report, own.as_ref()))?;
        if let Some(own) = own.and_then(|own| own.allocation) {
            show(&verdict(&own))?;
        }
    }
    Ok(())
}

fn report<'a>(
    arguments: &InspectArguments,
    engine: &Engine,
    gates_bound: bool,
    provenance: Option<Json<'a>>,
) -> anyhow::Result<Report<'a>> {
    let blob: Blob<'_> = engine.blob();
    let mut rows: Vec<Row> = Vec::new();
    let mut last: Option<SectionKey> = None;
    for record in blob.sections() {
        let key = record.key;
        let joins = |last: SectionKey| {
            key.kind == SectionKind::Expert && last.kind == key.kind && last.layer == key.layer
        };
        if arguments.all || !last.is_some_and(joins) {
            let section = match key.kind {
                SectionKind::Expert if !arguments.all => format!("layer {} experts", key.layer),
                _ => key.to_string(),
            };
            rows.push(Row {
                section,
                sections: 0,
                tensors: 0,
                encodings: BTreeSet::new(),
                parameters: 0,
                bytes: 0,
                bits_per_weight: None,
                matrix: (0, 0),
            });
        }
        last = Some(key);
        let row = rows.last_mut().expect("a row was just made for the first section");
        row.sections += 1;
        row.bytes += record.bytes;
        for (_, tensor) in blob.tensors(&record) {
            let parameters =
                u64::from(tensor.stack) * u64::from(tensor.rows) * u64::from(tensor.columns);
            row.tensors += 1;
            row.parameters += parameters;
            if tensor.encoding != Encoding::Plain {
                row.encodings.insert(tensor.encoding.name());
                row.matrix = (row.matrix.0 + parameters, row.matrix.1 + tensor.bytes);
                row.bits_per_weight = Some(row.matrix.1 as f64 * 8.0 / row.matrix.0 as f64);
            }
        }
    }
    let spec = &engine.network().spec;
    let header = blob.header();
    Ok(Report {
        file: arguments.blob.display().to_string(),
        file_bytes: header.file_bytes,
        root_hash: header.root.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a string never fails");
            text
        }),
        verified: arguments.verify,
        gates_bound,
        vocabulary: spec.vocabulary,
        hidden: spec.hidden,
        layers: spec.layers.len(),
        context_max: spec.context_max,
        parameters: rows.iter().map(|row| row.parameters).sum(),
        provenance,
        rows,
    })
}

fn table(report: &Report<'_>, provenance: Option<&Provenance>) -> String {
    let mut text = format!(
        "{}: {} ({} bytes), {:.1} M parameters\nvocabulary {}, hidden {}, layers {}, context {}\nroot hash {}{}\n\n",
        escaped(&report.file),
        show_bytes(report.file_bytes),
        report.file_bytes,
        report.parameters as f64 / 1e6,
        report.vocabulary,
        report.hidden,
        report.layers,
        report.context_max,
        report.root_hash,
        match (report.verified, report.gates_bound) {
            (false, _) => "",
            (true, false) => ", all hashes verified",
            (true, true) => ", all hashes verified, routers bound to their experts",
        }
    );
    if let Some(made) = provenance.and_then(made) {
        text.insert_str(text.len() - 1, &made);
    }
    let mut line = |cells: [&str; 6]| {
        let [section, sections, tensors, encodings, bits, bytes] = cells;
        let row = format!(
            "{section:<20} {sections:>8} {tensors:>8} {encodings:<12} {bits:>7} {bytes:>12}"
        );
        text.push_str(row.trim_end());
        text.push('\n');
    };
    line(["section", "sections", "tensors", "encodings", "bits/w", "bytes"]);
    for row in &report.rows {
        let encodings: Vec<&str> = row.encodings.iter().copied().collect();
        line([
            &row.section,
            &row.sections.to_string(),
            &row.tensors.to_string(),
            &encodings.join(" "),
            &row.bits_per_weight.map_or(String::new(), |bits| format!("{bits:.2}")),
            &row.bytes.to_string(),
        ]);
    }
    text
}
