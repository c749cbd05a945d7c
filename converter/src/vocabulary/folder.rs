//! Text sections from a Hugging Face folder: `tokenizer.json` and the configurations beside it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use hardtack_format::vocabulary::{self, TextRules};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::vocabulary::folder_json::{self, TokenList};
use crate::vocabulary::rules::end_ids;
use crate::vocabulary::{TextSections, VocabularyError, gguf_json};

const TOKENIZER_BYTES_MAX: u64 = 128 << 20;
const CONFIG_BYTES_MAX: u64 = 32 << 20;

/// Makes the sections; `config` is the folder's `config.json`, `vocabulary_size` the number of rows of the embedding,
/// up to which the table is padded.
pub fn from_folder(folder: &Path, config: &Value, vocabulary_size: u32) -> Result<TextSections, VocabularyError> {
    let mut sections = TextSections::default();
    let settings = read_json(&folder.join("tokenizer_config.json"), CONFIG_BYTES_MAX)?.unwrap_or(Value::Null);
    let template = template(folder, &settings, &mut sections.warnings)?;
    sections.set_template(template);

    let path = folder.join("tokenizer.json");
    let Some(bytes) = read(&path, TOKENIZER_BYTES_MAX)? else {
        let others = ["tokenizer.model", "vocab.json", "vocab.txt", "tiktoken.model"];
        let beside = others.into_iter().find(|name| folder.join(name).exists());
        sections.warnings.push(match beside {
            Some(name) => format!("no tokenizer.json ({name} alone is not read): the blob will speak token ids only"),
            None => "no tokenizer.json: the blob will speak token ids only".into(),
        });
        return Ok(sections);
    };
    let invalid = |source| VocabularyError::Json { path: path.clone(), source };
    serde_json::from_slice::<IgnoredAny>(&bytes).map_err(invalid)?;
    // Tried before the tree of its values is made: either takes a multiple of the file.
    gguf_json::check_loads(&bytes)?;
    let tokenizer: Value = serde_json::from_slice(&bytes).map_err(invalid)?;

    let list = folder_json::tokens(&tokenizer, vocabulary_size)?;
    let generation = read_json(&folder.join("generation_config.json"), CONFIG_BYTES_MAX)?.unwrap_or(Value::Null);
    let rules = rules(&tokenizer, &list, &Configs { settings, generation, config }, &mut sections.warnings);
    sections.vocabulary = Some(vocabulary::write(&rules, &list.tokens)?);
    sections.tokenizer = Some(bytes);
    Ok(sections)
}

struct Configs<'a> {
    settings: Value,
    generation: Value,
    config: &'a Value,
}

fn rules(tokenizer: &Value, list: &TokenList, configs: &Configs<'_>, warnings: &mut Vec<String>) -> TextRules {
    let count = list.tokens.len() as u64;
    let named_token = |key: &str| list.id(name(&configs.settings[key])?);
    let wrapped = folder_json::wrapping(tokenizer);
    let text_config = &configs.config["text_config"];

    let begin = wrapped.begin.or_else(|| named_token("bos_token"));
    let begin = begin.or_else(|| ids(&configs.config["bos_token_id"]).first().copied());
    let begin = begin.filter(|&id| u64::from(id) < count);
    let mut named: Vec<u32> = named_token("eos_token").into_iter().collect();
    for source in [&configs.generation, configs.config, text_config] {
        named.extend(ids(&source["eos_token_id"]));
    }
    let end = named.first().copied().filter(|&id| u64::from(id) < count);
    let setting = |key: &str| configs.settings[key].as_bool();
    TextRules {
        begin,
        end,
        add_begin: begin.is_some() && setting("add_bos_token").unwrap_or(wrapped.begin.is_some()),
        add_end: end.is_some() && setting("add_eos_token").unwrap_or(wrapped.end),
        strip_leading_space: folder_json::strips_leading_space(tokenizer),
        ends: end_ids(&named, &list.tokens, warnings),
    }
}

/// A token's name, which is a string or an object with `content`.
fn name(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["content"].as_str())
}

/// One id or a list of them.
fn ids(value: &Value) -> Vec<u32> {
    let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Value::Array(list) => list.iter().filter_map(one).collect(),
        value => one(value).into_iter().collect(),
    }
}

/// The file has precedence over the configuration, as in `transformers`.
fn template(folder: &Path, settings: &Value, warnings: &mut Vec<String>) -> Result<Option<String>, VocabularyError> {
    if let Some(bytes) = read(&folder.join("chat_template.jinja"), CONFIG_BYTES_MAX)? {
        if let Ok(text) = String::from_utf8(bytes) {
            return Ok(Some(text));
        }
        warnings.push("chat_template.jinja is not UTF-8 and was left out".into());
    }
    let template = &settings["chat_template"];
    let Some(list) = template.as_array() else {
        return Ok(template.as_str().map(String::from));
    };
    let default = list.iter().find(|entry| entry["name"] == "default").and_then(|entry| entry["template"].as_str());
    if default.is_none() {
        warnings.push("tokenizer_config.json has chat templates but none named `default`: none was taken".into());
    }
    Ok(default.map(String::from))
}

fn read_json(path: &Path, limit: u64) -> Result<Option<Value>, VocabularyError> {
    let Some(bytes) = read(path, limit)? else { return Ok(None) };
    let value = serde_json::from_slice(&bytes);
    value.map(Some).map_err(|source| VocabularyError::Json { path: path.into(), source })
}

/// A file's bytes; `None` where there is no file.
fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, VocabularyError> {
    let failed = |source| VocabularyError::Read { path: path.into(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    let found = bytes.len() as u64;
    if found > limit {
        return Err(VocabularyError::FileSize { path: path.into(), found, limit });
    }
    Ok(Some(bytes))
}
