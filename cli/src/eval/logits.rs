//! Logits of a list of tokens, into a safetensors file.

use std::fs;
use std::io::{BufWriter, Write};

use anyhow::{Context, ensure};
use hardtack::SessionOptions;
use serde_json::json;

use crate::args::LogitsArguments;
use crate::model;
use crate::output::write_file;

/// Writes the logits after every token.
pub fn logits(arguments: &LogitsArguments) -> anyhow::Result<()> {
    let path = arguments.tokens.display();
    let text = fs::read_to_string(&arguments.tokens).with_context(|| format!("{path}"))?;
    let tokens: Vec<u32> = serde_json::from_str(&text)
        .with_context(|| format!("{path}: expected an array of token ids"))?;
    ensure!(!tokens.is_empty(), "{path}: expected at least one token id, found none");
    if let Ok(out) = fs::canonicalize(&arguments.out) {
        let input = [&arguments.blob, &arguments.tokens].map(|input| fs::canonicalize(input).ok());
        ensure!(
            !input.contains(&Some(out)),
            "{}: this file is read; it is left as it is",
            arguments.out.display()
        );
    }

    let options = SessionOptions::new()
        .context(tokens.len())
        .batch(arguments.batch)
        .kv(model::exact_kv(arguments.kv_type));
    let engine = model::open(&arguments.blob, &arguments.engine, &options)?;
    let vocabulary = engine.network().spec.vocabulary as usize;
    let mut session = engine.session(&options)?;
    write_file(&arguments.out, |file| {
        let mut out = BufWriter::new(file);
        out.write_all(&header(tokens.len(), vocabulary))?;
        // Row after row: all of them together may be larger than the model.
        let mut failure = None;
        session
            .feed_each(&tokens, |_, logits| {
                let mut write =
                    || logits.iter().try_for_each(|logit| out.write_all(&logit.to_le_bytes()));
                if failure.is_none() {
                    failure = write().err();
                }
            })
            .with_context(|| format!("{path}"))?;
        failure.map_or(Ok(()), Err)?;
        Ok(out.flush()?)
    })
}

/// The beginning of a safetensors file that holds `logits [tokens, vocabulary]` and nothing else.
/// First the length of the JSON in eight bytes, then the JSON, padded with spaces so that the
/// floats begin at a multiple of eight.
fn header(tokens: usize, vocabulary: usize) -> Vec<u8> {
    let bytes = tokens * vocabulary * size_of::<f32>();
    let tensor =
        json!({ "dtype": "F32", "shape": [tokens, vocabulary], "data_offsets": [0, bytes] });
    let mut text = json!({ "logits": tensor }).to_string();
    text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}
