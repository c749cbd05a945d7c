//! The text of a blob, tokenizer and chat template: made and reviewed before anything long.

use std::path::Path;

use hardtack_models::Recipe;
use serde_json::{Value, json};

use super::error::BakeError;
use super::options::{BrokenChat, Choices, Review, TextSource};
use crate::bridge::gguf_vocabulary;
use crate::source::{Checkpoint, Form, SourceError};
use crate::vocabulary::{TextSections, from_files, from_folder, from_gguf};

/// The text of a recipe's blob, as the choices have it and the reviewer has seen it.
///
/// # Errors
/// The tokenizer cannot be read or is not one that the runtime has, or a conversation would be
/// broken.
pub fn text_of(
    checkpoint: &Checkpoint,
    recipe: &Recipe,
    choices: &Choices<'_>,
) -> Result<TextSections, BakeError> {
    let mut text = text_from(checkpoint, recipe.spec.vocabulary, choices.text)?;
    if let Some(Review(review)) = choices.review {
        review(&mut text);
    }
    let problems = std::mem::take(&mut text.problems);
    match choices.broken_chat {
        BrokenChat::Refuse if !problems.is_empty() => {
            Err(BakeError::BrokenChat { input: checkpoint.path().to_owned(), problems })
        }
        _ => {
            text.warnings.extend(problems);
            text.warnings.extend(recipe.warnings.iter().cloned());
            Ok(text)
        }
    }
}

/// Vocabulary and chat template of a checkpoint whose network has `vocabulary` tokens; only a
/// warning where a file has none.
///
/// # Errors
/// The tokenizer cannot be read, or is not one that the runtime has.
pub fn text_sections(checkpoint: &Checkpoint, vocabulary: u32) -> Result<TextSections, BakeError> {
    text_from(checkpoint, vocabulary, TextSource::Checkpoint)
}

fn text_from(
    checkpoint: &Checkpoint,
    vocabulary: u32,
    source: TextSource<'_>,
) -> Result<TextSections, BakeError> {
    match (source, checkpoint.form()) {
        (TextSource::None, _) => Ok(TextSections::default()),
        (TextSource::Elsewhere(path), form) => elsewhere(path, form, vocabulary),
        (TextSource::Checkpoint, Form::HuggingFace { config, folder }) => {
            Ok(from_folder(folder, config, vocabulary)?)
        }
        (TextSource::Checkpoint, Form::Gguf(metadata)) => match gguf_vocabulary(metadata)? {
            Some(own) => Ok(from_gguf(&own, vocabulary)?),
            None => Ok(TextSections {
                warnings: vec![
                    "the file has no tokenizer: the blob will speak token ids only; --tokenizer \
                     takes one from elsewhere"
                        .to_owned(),
                ],
                ..TextSections::default()
            }),
        },
    }
}

fn elsewhere(path: &Path, form: &Form, vocabulary: u32) -> Result<TextSections, BakeError> {
    let (config, own_template): (Value, Option<String>) = match form {
        Form::HuggingFace { config, .. } => (config.clone(), None),
        Form::Gguf(metadata) => {
            let own = gguf_vocabulary(metadata)?.unwrap_or_default();
            (json!({ "bos_token_id": own.bos, "eos_token_id": own.eos }), own.template)
        }
    };
    let file = if path.is_dir() { path.join("tokenizer.json") } else { path.to_owned() };
    if !file.is_file() {
        let source = std::io::Error::new(std::io::ErrorKind::NotFound, "no tokenizer.json there");
        return Err(SourceError::Io { file: file.display().to_string(), source }.into());
    }
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut text = from_files(folder, &file, &config, vocabulary)?;
    if text.template.is_none() {
        text.template = own_template.filter(|template| !template.trim().is_empty());
    }
    Ok(text)
}
