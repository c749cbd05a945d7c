//! The checkpoint reader as the families see it: names, shapes and rows, and GGUF's metadata as
//! settings.

use hardtack_models::{GgufSettings, Names, Setting, Settings, Tensors};

use crate::source::{Checkpoint, Form, GgufMetadata, SourceError, optional};
use crate::vocabulary::GgufVocabulary;

impl Names for Checkpoint {
    fn names(&self) -> Vec<String> {
        Self::names(self).map(str::to_owned).collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        Self::shape(self, name).map(<[usize]>::to_vec)
    }
}

impl Tensors for Checkpoint {
    type Error = SourceError;

    fn read_rows(&self, name: &str, first: usize, count: usize) -> Result<Vec<f32>, SourceError> {
        Self::read_rows(self, name, first, count)
    }

    fn read_bytes(&self, name: &str, first: usize, count: usize) -> Result<Vec<u8>, SourceError> {
        self.read_byte_rows(name, first, count)
    }
}

impl GgufSettings for GgufMetadata {
    fn get(&self, key: &str) -> Option<Setting> {
        if !self.contains(key) {
            return None;
        }
        let scalar = self
            .get_bool(key)
            .map(Setting::Bool)
            .or_else(|_| self.get_u64(key).map(Setting::Unsigned))
            .or_else(|_| self.get_i64(key).map(Setting::Negative))
            .or_else(|_| self.get_f32(key).map(|value| Setting::Float(value.into())))
            .or_else(|_| self.get_str(key).map(|value| Setting::Text(value.to_owned())));
        let list = |items: Vec<Setting>| Setting::List(items);
        scalar
            .or_else(|_| {
                let texts = self.get_string_array(key)?;
                Ok::<_, SourceError>(list(texts.iter().cloned().map(Setting::Text).collect()))
            })
            .or_else(|_| {
                let values = self.get_f32_array(key)?;
                Ok::<_, SourceError>(list(
                    values.iter().map(|&value| Setting::Float(value.into())).collect(),
                ))
            })
            .or_else(|_| {
                let values = self.get_i32_array(key)?;
                Ok::<_, SourceError>(list(values.into_iter().map(integer).collect()))
            })
            // A value of any other kind is present and is none that a family wants: it will be
            // refused by its key.
            .or(Ok::<_, SourceError>(list(Vec::new())))
            .ok()
    }
}

fn integer(value: i32) -> Setting {
    u64::try_from(value).map_or(Setting::Negative(value.into()), Setting::Unsigned)
}

/// What a checkpoint says about its network.
pub fn settings(checkpoint: &Checkpoint) -> Settings<'_> {
    match checkpoint.form() {
        Form::HuggingFace { config, .. } => Settings::HuggingFace(config),
        Form::Gguf(metadata) => Settings::Gguf(metadata),
    }
}

/// The tokenizer's keys of a GGUF file; none where it has none.
pub fn gguf_vocabulary(metadata: &GgufMetadata) -> Result<Option<GgufVocabulary>, SourceError> {
    let Some(model) = optional(metadata.get_str("tokenizer.ggml.model"))? else { return Ok(None) };
    let number = |key: &str| optional(metadata.get_u32(key));
    let flag = |key: &str| optional(metadata.get_bool(key));
    let text =
        |key: &str| Ok::<_, SourceError>(optional(metadata.get_str(key))?.map(str::to_owned));
    Ok(Some(GgufVocabulary {
        model: model.to_owned(),
        pre: text("tokenizer.ggml.pre")?,
        tokens: metadata.get_string_array("tokenizer.ggml.tokens")?.to_vec(),
        kinds: optional(metadata.get_i32_array("tokenizer.ggml.token_type"))?.unwrap_or_default(),
        scores: optional(metadata.get_f32_array("tokenizer.ggml.scores"))?
            .unwrap_or_default()
            .to_vec(),
        merges: optional(metadata.get_string_array("tokenizer.ggml.merges"))?
            .map(<[String]>::to_vec),
        bos: number("tokenizer.ggml.bos_token_id")?,
        eos: number("tokenizer.ggml.eos_token_id")?,
        eot: number("tokenizer.ggml.eot_token_id")?,
        unknown: number("tokenizer.ggml.unknown_token_id")?,
        padding: number("tokenizer.ggml.padding_token_id")?,
        add_bos: flag("tokenizer.ggml.add_bos_token")?,
        add_eos: flag("tokenizer.ggml.add_eos_token")?,
        add_space_prefix: flag("tokenizer.ggml.add_space_prefix")?,
        template: text("tokenizer.chat_template")?,
    }))
}
