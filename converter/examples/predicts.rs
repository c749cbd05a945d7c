//! Whether the objective predicts: single experts of a checkpoint are rounded to random bits, one
//! at a time. What the table of costs says about it is set beside what happens to the loss on the
//! same text.
//!
//! ```text
//! cargo run --release --workspace --example predicts -- CHECKPOINT TEXT [CHANGES] [TOKENS]
//! ```

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use candle_core::{DType, Tensor};
use hardtack_converter::bake::text_sections;
use hardtack_converter::calibrate::graph::FeedForwardWeights;
use hardtack_converter::calibrate::{
    Judge, Model, NoConsumer, Sampler, Sampling, Settings, Tables, calibrate, default_options,
};
use hardtack_converter::quantize::encode_rows;
use hardtack_converter::store::{Shape, Store};
use hardtack_format::{Encoding, Role, SectionKey};
use hardtack_testing::Numbers;

const WINDOW: usize = 512;
const SEED: u64 = 1;
const RESAMPLES: usize = 10_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [checkpoint, text, counts @ ..] = &arguments[..] else {
        return Err("expected CHECKPOINT TEXT [CHANGES] [TOKENS]".into());
    };
    let count =
        |place: usize, default: usize| counts.get(place).map_or(Ok(default), |text| text.parse());
    let (changes, tokens) = (count(0, 30)?, count(1, 8 * WINDOW)?);

    let model = Model::open(Path::new(checkpoint))?;
    let sampling = Sampling { window: WINDOW, tokens, held_out_tokens: 0 };
    let sampler = Sampler::new(&text_sections(model.checkpoint(), model.spec().vocabulary)?)?;
    let domains = [sampler.sample("text", Path::new(text), sampling)?.fit];
    let folder = tempfile::tempdir()?;
    let stop = AtomicBool::new(false);
    let settings = Settings {
        options: default_options(),
        domain_tokens_min: WINDOW,
        ..Settings::new(folder.path(), &stop)
    };
    let tables = calibrate(&model, &domains, &settings, &mut NoConsumer, &mut |_| ())?;
    let judge = Judge::new(&model, &domains, &settings, &mut |_| ())?;
    let experts: Vec<(usize, usize)> = (0..)
        .zip(&tables.header.layers)
        .flat_map(|(layer, own)| (0..own.experts as usize).map(move |expert| (layer, expert)))
        .collect();
    if experts.is_empty() {
        return Err(format!("{checkpoint}: expected a model with experts, found none").into());
    }

    let mut random = Numbers(SEED);
    let mut seen: Vec<[f64; 3]> = Vec::new();
    println!("layer expert  tokens  bits    predicted         loss   divergence   (nats a token)");
    for _ in 0..changes {
        let (layer, expert) = experts[random.below(experts.len())];
        let option = random.below(settings.options.len());
        let encoding = settings.options[option];
        let store = rounded(&model, layer, expert, encoding, &folder.path().join("codes"))?;
        let judged = &judge.judge(&model.with(Arc::new(store)), &mut |_| ())?[0];
        let own = &tables.domains[0].layers[layer].experts[expert];
        let predicted = 0.5 * own.cost[option] / judged.tokens as f64;
        let loss = judged.changed - judged.exact;
        println!(
            "{layer:>5} {expert:>6} {:>7} {:>5} {predicted:>12.3e} {loss:>+12.3e} {:>12.3e}",
            own.tokens,
            encoding.name(),
            judged.divergence
        );
        seen.push([predicted, loss, judged.divergence]);
    }
    println!("{}", about(&tables, &seen));
    Ok(())
}

/// One expert at an encoding, by the quantizer that costs are taken with.
fn rounded(
    model: &Model,
    layer: usize,
    expert: usize,
    encoding: Encoding,
    path: &Path,
) -> Result<Store, Box<dyn Error>> {
    let _ = std::fs::remove_file(path);
    let mut store = Store::open(path, [0; 32])?;
    let FeedForwardWeights::Experts(mixture) = model.layer(layer, DType::F32)?.feed_forward else {
        return Err(format!("layer {layer} has no experts").into());
    };
    let own = &mixture.experts[expert];
    let section = SectionKey::expert(layer as u32, expert as u32);
    let matrices: [(Role, &Tensor); 3] =
        [(Role::Gated, &own.gated), (Role::Up, &own.up), (Role::Down, &own.down)];
    for (role, matrix) in matrices {
        let (rows, columns) = matrix.dims2()?;
        let shape = Shape { encoding, stack: 1, rows: rows as u32, columns: columns as u32 };
        let values = matrix.flatten_all()?.to_vec1::<f32>()?;
        store.put((section, role), shape, &encode_rows(encoding, &values, columns)?)?;
    }
    Ok(store)
}

/// The rank correlations, each with its interval from a bootstrap over the changes.
fn about(tables: &Tables, seen: &[[f64; 3]]) -> String {
    let mut lines =
        vec![format!("{} changes, {} tokens", seen.len(), tables.header.domains[0].tokens)];
    for (what, column) in [("loss", 1), ("divergence", 2)] {
        let pairs: Vec<(f64, f64)> = seen.iter().map(|own| (own[0], own[column])).collect();
        let mut random = Numbers(SEED);
        let mut resampled: Vec<f64> = (0..RESAMPLES)
            .map(|_| {
                spearman(
                    &(0..pairs.len()).map(|_| pairs[random.below(pairs.len())]).collect::<Vec<_>>(),
                )
            })
            .collect();
        resampled.sort_by(f64::total_cmp);
        let at = |share: f64| resampled[(share * (RESAMPLES - 1) as f64).round() as usize];
        lines.push(format!(
            "Spearman's rank correlation of predicted cost and {what}: {:.3} (95 %: {:.3} to {:.3})",
            spearman(&pairs),
            at(0.025),
            at(0.975)
        ));
    }
    lines.join("\n")
}

fn spearman(pairs: &[(f64, f64)]) -> f64 {
    let left = ranks(&pairs.iter().map(|own| own.0).collect::<Vec<_>>());
    let right = ranks(&pairs.iter().map(|own| own.1).collect::<Vec<_>>());
    let middle = (pairs.len() as f64 - 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - middle) * (b - middle)).sum()
    };
    product(&left, &right) / (product(&left, &left) * product(&right, &right)).sqrt()
}

/// The rank of each number, from 0; equal ones share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |own: f64| {
        let below = values.iter().filter(|other| **other < own).count() as f64;
        let equal = values.iter().filter(|other| **other == own).count() as f64;
        below + (equal - 1.0) / 2.0
    };
    values.iter().map(|&own| rank(own)).collect()
}
