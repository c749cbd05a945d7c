//! A checkpoint as a bake takes it: its network, its text, and what a caller has to say about both
//! before anything long.

use std::fmt;
use std::path::Path;

use hardtack_format::Role;
use hardtack_models::{LoadError, Recipe, TensorSource, Unused, recipe_with};
use serde_json::{Value, json};

use super::error::BakeError;
use crate::bridge::{gguf_vocabulary, settings};
use crate::source::{Checkpoint, Form};
use crate::vocabulary::{TextSections, from_files, from_folder, from_gguf};

/// Rows of the embeddings that are compared with a head's at once.
const ROWS_AT_ONCE: usize = 1024;

/// What a bake takes from a checkpoint, and what it puts up with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choices<'a> {
    /// Where tokenizer and chat template come from.
    pub text: TextSource<'a>,
    /// What becomes of what would break a conversation.
    pub broken_chat: BrokenChat,
    /// What becomes of tensors without a place in the network.
    pub unused: Unused,
    /// Who looks at the text before weights are read.
    pub review: Option<Review<'a>>,
}

/// Where a blob's text comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextSource<'a> {
    /// The checkpoint's own.
    #[default]
    Checkpoint,
    /// A folder with a `tokenizer.json`, or that file; a chat template that is not there is the
    /// checkpoint's.
    Elsewhere(&'a Path),
    /// None: the blob speaks token ids only.
    None,
}

/// What becomes of what would break a conversation, such as a named end token that the vocabulary
/// does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BrokenChat {
    /// It is an error.
    #[default]
    Refuse,
    /// It is a warning.
    Allow,
}

/// Who looks at the text of a blob before weights are read: adds to its problems and warnings,
/// marks its markers.
#[derive(Clone, Copy)]
pub struct Review<'a>(pub &'a dyn Fn(&mut TextSections));

impl fmt::Debug for Review<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Review")
    }
}

/// The recipe of a checkpoint, whose head and embeddings are compared where both are stored and
/// said to be one.
///
/// # Errors
/// The family is not known, or a tensor cannot be read.
pub(crate) fn recipe_of(checkpoint: &Checkpoint, unused: Unused) -> Result<Recipe, BakeError> {
    let input = || checkpoint.path().to_owned();
    let mut recipe = recipe_with(settings(checkpoint), checkpoint, unused)
        .map_err(|source| BakeError::Family { input: input(), source })?;
    let embedding = recipe.globals.iter().find(|tensor| tensor.role == Role::Embedding);
    if let (Some(head), Some(embedding)) = (&recipe.head_beside, embedding) {
        let same = are_same(checkpoint, head, embedding).map_err(|source| match *source {
            LoadError::Read { error, .. } => BakeError::Source(error),
            source => BakeError::Load { input: input(), source: Box::new(source) },
        })?;
        if !same {
            let name = head.names().join(", ");
            recipe.warnings.push(format!(
                "the configuration says that the embeddings are the head (tie_word_embeddings), but {name} is stored and \
                 differs from them: it is the head"
            ));
            recipe.use_stored_head();
        }
    }
    Ok(recipe)
}

fn are_same(
    checkpoint: &Checkpoint,
    head: &TensorSource,
    embedding: &TensorSource,
) -> Result<bool, Box<LoadError<crate::source::SourceError>>> {
    let rows = embedding.rows as usize;
    for first in (0..rows).step_by(ROWS_AT_ONCE) {
        let [own, other] = [head, embedding]
            .map(|tensor| tensor.load_rows(checkpoint, first, ROWS_AT_ONCE).map_err(Box::new));
        if own? != other? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The text of a blob with so many tokens, as the choices have it and the reviewer has seen it.
///
/// # Errors
/// The tokenizer cannot be read or is not one that the runtime has, or a conversation would be
/// broken.
pub(crate) fn text_of(
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

/// Vocabulary and chat template of a checkpoint whose network knows so many tokens; with a warning
/// and nothing else where a file has none.
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
        (TextSource::Checkpoint, Form::HuggingFace { config, folder }) => Ok(from_folder(folder, config, vocabulary)?),
        (TextSource::Checkpoint, Form::Gguf(metadata)) => match gguf_vocabulary(metadata)? {
            Some(own) => Ok(from_gguf(&own, vocabulary)?),
            None => Ok(TextSections {
                warnings: vec![
                    "the file has no tokenizer: the blob will speak token ids only; --tokenizer takes one from elsewhere"
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
        return Err(BakeError::Read { path: file, source });
    }
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut text = from_files(folder, &file, &config, vocabulary)?;
    if text.template.is_none() {
        text.template = own_template.filter(|template| !template.trim().is_empty());
    }
    Ok(text)
}
