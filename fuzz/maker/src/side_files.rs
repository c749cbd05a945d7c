//! Inputs for the readers of files that programs leave on disk: saved sessions, a bake's scratch
//! file and tables, a KV policy.

use std::fs;
use std::io::Result;
use std::path::Path;

use hardtack::{Engine, KvPrecision, Load, Options, RingBits, RingOptions, SessionOptions};
use hardtack_format::kv_policy::{KvPolicy, KvRouter, LayerPolicy, Price};
use hardtack_format::spec::AttentionKind;

use crate::build;
use crate::input::write;

/// Writes them all.
pub fn write_all(folder: &Path) -> Result<()> {
    sessions(folder)?;
    write(folder, "codes", "empty", b"")?;
    write(folder, "codes", "one", &codes())?;
    write(folder, "tables", "small", &tables())?;
    write(folder, "kv_policy", "plain", &policy(None).to_bytes())?;
    write(folder, "kv_policy", "router", &policy(Some(2)).to_bytes())
}

/// A session of each kind, without magic, model and hash, which the target adds.
fn sessions(folder: &Path) -> Result<()> {
    const BEFORE: usize = 48;
    const AFTER: usize = 32;
    let (blob, saved) = (folder.join("sample.tack"), folder.join("saved"));
    fs::create_dir_all(folder)?;
    fs::write(&blob, build::sample())?;
    let options = Options::new().threads(1).load(Load::Resident);
    let engine = Engine::open_with(&blob, &options).expect("a valid blob");
    let ring = KvPrecision::Ring(RingOptions::new().bits(RingBits::Auto));
    for (kind, kv) in (0u8..).zip([KvPrecision::F16, KvPrecision::F32, ring]) {
        for count in [0, 3, 70] {
            let mut session = engine
                .session(&SessionOptions::new().context(200).batch(8).kv(kv))
                .expect("a session");
            let tokens: Vec<u32> = (0..count).map(|at| at % 40).collect();
            if !tokens.is_empty() {
                session.feed(&tokens).expect("they fit");
            }
            session.save(&saved, b"").expect("a file");
            let file = fs::read(&saved)?;
            let bytes = [&[kind], &file[BEFORE..file.len() - AFTER]].concat();
            write(folder, "session", &format!("{kind}_{count}"), &bytes)?;
        }
    }
    fs::remove_file(blob)?;
    fs::remove_file(saved)
}

/// One tensor of two plain numbers; the target makes its hash right.
fn codes() -> Vec<u8> {
    let mut file = [&b"\x89TACKST2"[..], &[7; 32]].concat();
    for number in [17u16, 50, 0, 0] {
        file.extend(number.to_le_bytes());
    }
    for number in [0u32, 0, 1, 1, 2, 0] {
        file.extend(number.to_le_bytes());
    }
    file.extend(8u64.to_le_bytes());
    file.extend([0; 32]);
    file.extend([0; 8]);
    file
}

/// A side file of one text and one dense layer.
fn tables() -> Vec<u8> {
    let about = r#"{"source":"00","options":["q4"],"seed":0,"domains":[{"name":"a","source":"00","tokens_hash":"00","windows":1,"tokens":4}],"layers":[{"experts":0,"shared":false}]}"#;
    let mut tensors = String::new();
    for (index, name) in
        ["loss", "embedding", "head", "layer.0.attention", "layer.0.common"].iter().enumerate()
    {
        let (from, to) = (index * 8, index * 8 + 8);
        tensors += &format!(
            r#","domain.0.{name}":{{"dtype":"F64","shape":[1],"data_offsets":[{from},{to}]}}"#
        );
    }
    let about = about.replace('"', "\\\"");
    let header = format!(r#"{{"__metadata__":{{"hardtack_calibration":"{about}"}}{tensors}}}"#);
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend([0; 5 * 8]);
    file
}

/// A policy of the sample's layers.
fn policy(width: Option<u32>) -> KvPolicy {
    let layer = |attention: &hardtack_format::spec::AttentionSpec| {
        let inputs = hardtack_format::kv_policy::router_inputs(attention) as usize;
        let router = width.map(|width| KvRouter {
            width,
            gate: vec![0.5; inputs * width as usize],
            up: vec![0.25; inputs * width as usize],
            out: vec![0.125; 10 * width as usize],
        });
        LayerPolicy { costs: [[4.0, 3.0, 2.0, 1.0, 0.0]; 2], router }
    };
    let spec = build::sample_spec();
    let latent = |attention: &hardtack_format::spec::AttentionSpec| {
        matches!(attention.kind, AttentionKind::Latent { .. })
    };
    assert!(spec.layers.iter().any(|layer| latent(&layer.attention)));
    let prices = vec![Price { bits: 4.0, byte: 1.0 }, Price { bits: 2.0, byte: 2.0 }];
    KvPolicy { prices, layers: spec.layers.iter().map(|own| layer(&own.attention)).collect() }
}
