//! What kv_routers are worth where a layer learns alone and where layers learn together (routing
//! sharing): costs of chunks are taken once, on a checkpoint as it is, and routers of all kinds
//! trained on them.
//!
//! ```text
//! cargo run --release --workspace --example kv_routers -- CHECKPOINT TOKENS TEXT...
//! ```

use std::error::Error;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use hardtack_converter::bake::text_sections;
use hardtack_converter::calibrate::kv::{Chunk, Learned, shared};
use hardtack_converter::calibrate::{Domain, Model, Sampler, Sampling, Settings, kv_chunks};

const WINDOW: usize = 1024;
/// Layers that learn together.
const GROUPS: [usize; 6] = [1, 2, 3, 6, 12, 30];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [checkpoint, tokens, texts @ ..] = &arguments[..] else {
        return Err("expected CHECKPOINT TOKENS TEXT...".into());
    };
    let tokens = tokens.parse()?;
    let model = Model::open(Path::new(checkpoint))?;
    let sampler = Sampler::new(&text_sections(model.checkpoint(), model.spec().vocabulary)?)?;
    let sampling = Sampling { window: WINDOW, tokens, held_out_tokens: (tokens / 2).max(WINDOW) };
    let (mut fit, mut held_out) = (Vec::new(), Vec::new());
    for text in texts {
        let sample = sampler.sample(text, Path::new(text), sampling)?;
        fit.push(sample.fit);
        held_out.push(sample.held_out);
    }
    let folder = tempfile::tempdir()?;
    let stop = AtomicBool::new(false);
    let settings = Settings { domain_tokens_min: WINDOW, ..Settings::new(folder.path(), &stop) };
    let chunks = |texts: &[Domain]| kv_chunks(&model, texts, &settings, &mut |_| ());
    let (fit, held_out) = (chunks(&fit)?, chunks(&held_out)?);

    println!(
        "{} chunks a layer, {} held out; shares of what constants pay there",
        fit[0].len(),
        held_out[0].len()
    );
    println!(
        "| layers that learn together | keys of | mean share | least | kept | saved |\n|---|---|---|---|---|---|"
    );
    let layers = fit.len();
    let mut best = 1.0;
    for group in GROUPS.into_iter().filter(|&group| group <= layers) {
        let learn = |fit: &[Vec<Chunk>], held_out: &[Vec<Chunk>]| {
            shared(model.spec(), fit, held_out, group)
                .ok_or("expected windows long enough for chunks")
        };
        let learned = learn(&fit, &held_out)?;
        row(group, "each", &learned);
        best = learned.iter().map(|own| own.best).sum::<f64>() / layers as f64;
        if group > 1 {
            row(group, "the first", &learn(&led(&fit, group), &led(&held_out, group))?);
        }
    }
    println!("The cheapest choices of all would cost {best:.3} on average.");
    Ok(())
}

/// Chunks that are known by the keys of their group's first layer alone, as where that layer
/// decides for all.
fn led(all: &[Vec<Chunk>], group: usize) -> Vec<Vec<Chunk>> {
    let known = |(chunk, first): (&Chunk, &Chunk)| Chunk {
        costs: chunk.costs,
        inputs: first.inputs.clone(),
    };
    let layer = |(index, own): (usize, &Vec<Chunk>)| {
        own.iter().zip(&all[index / group * group]).map(known).collect()
    };
    all.iter().enumerate().map(layer).collect()
}

fn row(group: usize, keys: &str, learned: &[Learned]) {
    let count = learned.len() as f64;
    let mean = learned.iter().map(|own| own.share).sum::<f64>() / count;
    let least = learned.iter().map(|own| own.share).fold(f64::INFINITY, f64::min);
    let kept = learned.iter().filter(|own| own.kept());
    let saved = kept.clone().map(|own| 1.0 - own.share).fold(0.0, |sum, own| sum + own) / count;
    let kept: Vec<String> = learned
        .iter()
        .enumerate()
        .filter(|(_, own)| own.kept())
        .map(|(layer, _)| layer.to_string())
        .collect();
    println!("| {group} | {keys} | {mean:.4} | {least:.3} | {} | {saved:.4} |", kept.join(", "));
}
