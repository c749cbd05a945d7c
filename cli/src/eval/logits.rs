//! Logits of a list of tokens, into a safetensors file.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use hardtack::SessionOptions;
use safetensors::tensor::{Dtype, TensorView};

use crate::args::LogitsArguments;
use crate::model;

/// Writes the logits after every token.
pub fn logits(arguments: &LogitsArguments) -> anyhow::Result<()> {
    let path = arguments.tokens.display();
    let text = fs::read_to_string(&arguments.tokens).with_context(|| format!("{path}"))?;
    let tokens: Vec<u32> =
        serde_json::from_str(&text).with_context(|| format!("{path}: expected an array of token ids"))?;
    ensure!(!tokens.is_empty(), "{path}: expected at least one token id, found none");
    if let Ok(out) = fs::canonicalize(&arguments.out) {
        let input = [&arguments.blob, &arguments.tokens].map(|input| fs::canonicalize(input).ok());
        ensure!(!input.contains(&Some(out)), "{}: this file is read; it is left as it is", arguments.out.display());
    }

    let options =
        SessionOptions { context: tokens.len(), batch: arguments.batch, kv: model::exact_kv(arguments.kv_type) };
    let engine = model::open(&arguments.blob, &arguments.engine, &options)?;
    let vocabulary = engine.network().spec.vocabulary as usize;
    let mut session = engine.session(&options)?;
    let mut bytes = Vec::with_capacity(tokens.len() * vocabulary * 4);
    let keep = |_, logits: &[f32]| bytes.extend(logits.iter().flat_map(|logit| logit.to_le_bytes()));
    session.feed_each(&tokens, keep).with_context(|| format!("{path}"))?;

    let view = TensorView::new(Dtype::F32, vec![tokens.len(), vocabulary], &bytes).context("tensor logits")?;
    write(&arguments.out, view)
}

/// Under a temporary name first, so that a reader never sees half a file.
fn write(path: &Path, view: TensorView<'_>) -> anyhow::Result<()> {
    // A device or a folder is not to be replaced by a file.
    let replaceable = fs::metadata(path).map_or(true, |metadata| metadata.is_file());
    ensure!(replaceable, "{}: expected a file or nothing, found something else", path.display());
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    let temporary = path.with_file_name(name);
    let result = safetensors::serialize_to_file([("logits", view)], None, &temporary)
        .map_err(anyhow::Error::from)
        .and_then(|()| {
            fs::File::open(&temporary)?.sync_all()?;
            Ok(fs::rename(&temporary, path)?)
        });
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result.with_context(|| format!("{}", path.display()))
}
