//! Text sections from a Hugging Face folder: `tokenizer.json` and the configurations beside it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use hardtack_format::vocabulary::{self, TextRules};
use serde_json::Value;

use crate::vocabulary::added::{self, Beside};
use crate::vocabulary::error::VocabularyError;
use crate::vocabulary::findings::Findings;
use crate::vocabulary::folder_json::{self, TokenList};
use crate::vocabulary::library;
use crate::vocabulary::markers::Evidence;
use crate::vocabulary::rules::{NamedEnd, end_ids};
use crate::vocabulary::sections::TextSections;

const TOKENIZER_BYTES_MAX: u64 = 128 << 20;
const CONFIG_BYTES_MAX: u64 = 32 << 20;

/// Makes the sections; `config` is the folder's `config.json`, `vocabulary_size` the number of rows
/// of the embedding, up to which the table is padded.
///
/// # Errors
/// A file cannot be read, is no JSON, or is no tokenizer that the runtime has.
pub fn from_folder(
    folder: &Path,
    config: &Value,
    vocabulary_size: u32,
) -> Result<TextSections, VocabularyError> {
    from_files(folder, &folder.join("tokenizer.json"), config, vocabulary_size)
}

/// Makes the sections from a `tokenizer.json` of any name and from the configurations in `folder`.
///
/// # Errors
/// As [`from_folder`].
pub fn from_files(
    folder: &Path,
    tokenizer: &Path,
    config: &Value,
    vocabulary_size: u32,
) -> Result<TextSections, VocabularyError> {
    let mut sections = TextSections::default();
    let json = |name: &str| {
        Ok::<_, VocabularyError>(
            read_json(&folder.join(name), CONFIG_BYTES_MAX)?.unwrap_or(Value::Null),
        )
    };
    let settings = json("tokenizer_config.json")?;
    let template = template(folder, &settings, &mut sections.warnings)?;
    sections.set_template(template);

    let Some(bytes) = read(tokenizer, TOKENIZER_BYTES_MAX)? else {
        let others =
            ["tokenizer.model", "vocab.json", "vocab.txt", "tiktoken.model", "tekken.json"];
        let beside = others.into_iter().find(|name| folder.join(name).exists());
        sections.warnings.push(match beside {
            Some(name) => format!(
                "no tokenizer.json ({name} alone is not read): the blob will speak token ids only; --tokenizer takes \
                 one from elsewhere"
            ),
            None => {
                "no tokenizer.json: the blob will speak token ids only; --tokenizer takes one from elsewhere".into()
            }
        });
        return Ok(sections);
    };
    let mut json_value: Value = serde_json::from_slice(&bytes)
        .map_err(|source| VocabularyError::Json { path: tokenizer.into(), source })?;
    let beside = Beside {
        settings,
        special: json("special_tokens_map.json")?,
        added: json("added_tokens.json")?,
    };
    let configs = Configs { beside, generation: json("generation_config.json")?, config };
    let mut findings = Findings::default();
    let merged = added::merge(&mut json_value, &configs.beside, &mut findings)?;
    let trimmed = trim(
        &mut json_value,
        &configs,
        sections.template.as_deref(),
        vocabulary_size,
        &mut findings,
    );
    let bytes = if merged.changed || trimmed { json_value.to_string().into_bytes() } else { bytes };

    let mut list = folder_json::tokens(&json_value, vocabulary_size)?;
    let named = named_ends(&list, &configs);
    let ids: Vec<u32> = named.iter().filter_map(|end| end.id).collect();
    list.make_control(&merged.special);
    list.mark(&Evidence { template: sections.template.as_deref(), named: &ids });
    let rules =
        rules(&json_value, &list, &configs, &named, sections.template.is_some(), &mut findings);
    sections.vocabulary = Some(vocabulary::write(&rules, &list.tokens)?);
    // Tried when the tree of its values and the lists made of it are gone: either takes a multiple
    // of the file.
    drop((json_value, list));
    library::check_loads(&bytes)?;
    sections.tokenizer = Some(bytes);
    sections.report(findings);
    Ok(sections)
}

struct Configs<'a> {
    beside: Beside,
    generation: Value,
    config: &'a Value,
}

/// Takes out the added tokens that the embedding has no row for. True if there were any.
fn trim(
    tokenizer: &mut Value,
    configs: &Configs<'_>,
    template: Option<&str>,
    rows: u32,
    findings: &mut Findings,
) -> bool {
    let ends = configs.beside.named("eos_token");
    let required = |name: &str| {
        ends.contains(&name) || template.is_some_and(|template| template.contains(name))
    };
    added::trim(tokenizer, rows, required, findings)
}

/// The end tokens of all configurations. Where `generation_config.json` names some, it outranks
/// `config.json`.
fn named_ends(list: &TokenList, configs: &Configs<'_>) -> Vec<NamedEnd> {
    let by_name = configs.beside.named("eos_token").into_iter().map(|name| NamedEnd {
        place: "tokenizer_config.json eos_token",
        name: Some(name.to_owned()),
        id: list.id(name),
        outranked: false,
    });
    let mut ends: Vec<NamedEnd> = by_name.collect();
    let generation = ids(&configs.generation["eos_token_id"]);
    let outranked = !generation.is_empty();
    let place = "generation_config.json eos_token_id";
    ends.extend(generation.into_iter().map(|id| NamedEnd::by_id(place, id)));
    for source in [configs.config, &configs.config["text_config"]] {
        let named = ids(&source["eos_token_id"]).into_iter();
        ends.extend(
            named.map(|id| NamedEnd {
                outranked,
                ..NamedEnd::by_id("config.json eos_token_id", id)
            }),
        );
    }
    ends
}

fn rules(
    tokenizer: &Value,
    list: &TokenList,
    configs: &Configs<'_>,
    named: &[NamedEnd],
    has_template: bool,
    findings: &mut Findings,
) -> TextRules {
    let count = list.tokens.len() as u64;
    let wrapped = folder_json::wrapping(tokenizer);
    let begin = wrapped.begin.or_else(|| list.id(configs.beside.named("bos_token").first()?));
    let begin = begin.or_else(|| ids(&configs.config["bos_token_id"]).first().copied());
    let begin = begin.filter(|&id| u64::from(id) < count);
    let end = named.iter().find_map(|end| end.id).filter(|&id| u64::from(id) < count);
    let setting = |key: &str| configs.beside.settings[key].as_bool();
    TextRules {
        begin,
        end,
        add_begin: begin.is_some() && setting("add_bos_token").unwrap_or(wrapped.begin.is_some()),
        add_end: end.is_some() && setting("add_eos_token").unwrap_or(wrapped.end),
        strip_leading_space: folder_json::strips_leading_space(tokenizer),
        ends: end_ids(named, &list.tokens, has_template, findings),
    }
}

/// One id or a list of them.
fn ids(value: &Value) -> Vec<u32> {
    let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Value::Array(list) => list.iter().filter_map(one).collect(),
        value => one(value).into_iter().collect(),
    }
}

/// `chat_template.jinja` has precedence over the configuration, as in `transformers`; a processor's
/// file comes last.
fn template(
    folder: &Path,
    settings: &Value,
    warnings: &mut Vec<String>,
) -> Result<Option<String>, VocabularyError> {
    if let Some(bytes) = read(&folder.join("chat_template.jinja"), CONFIG_BYTES_MAX)? {
        if let Ok(text) = String::from_utf8(bytes) {
            return Ok(Some(text));
        }
        warnings.push("chat_template.jinja is not UTF-8 and was left out".into());
    }
    let template = &settings["chat_template"];
    if template.is_null() {
        let file = read_json(&folder.join("chat_template.json"), CONFIG_BYTES_MAX)?;
        return Ok(file.and_then(|file| file["chat_template"].as_str().map(String::from)));
    }
    let Some(list) = template.as_array() else {
        return Ok(template.as_str().map(String::from));
    };
    let default = list
        .iter()
        .find(|entry| entry["name"] == "default")
        .and_then(|entry| entry["template"].as_str());
    if default.is_none() {
        warnings.push(
            "tokenizer_config.json has chat templates but none named `default`: none was taken"
                .into(),
        );
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
