//! Added tokens that are beside a `tokenizer.json`, written into it as `transformers` would add
//! them when it loads.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::vocabulary::error::VocabularyError;
use crate::vocabulary::findings::Findings;

/// The files beside a `tokenizer.json`; `Null` where one is absent.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// `tokenizer_config.json`.
    pub settings: Value,
    /// `special_tokens_map.json`.
    pub special: Value,
    /// `added_tokens.json`.
    pub added: Value,
}

/// Settings that name one token each, in the order in which `transformers` adds them.
const NAMED: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
/// Settings that name several.
const LISTED: [&str; 3] =
    ["additional_special_tokens", "extra_special_tokens", "model_specific_special_tokens"];
const FLAGS: [&str; 5] = ["single_word", "lstrip", "rstrip", "normalized", "special"];
/// Names that a message lists before it says how many more there are.
const SHOWN: usize = 4;

impl Beside {
    /// Names of the tokens that a setting names: a string, an object with `content`, or a list of
    /// these.
    pub fn named(&self, key: &str) -> Vec<&str> {
        let own = [&self.settings, &self.special].into_iter().map(|file| names(&file[key]));
        own.into_iter().find(|names| !names.is_empty()).unwrap_or_default()
    }

    /// Names of all special tokens.
    fn special(&self) -> Vec<&str> {
        let mut names: Vec<&str> = NAMED.iter().flat_map(|key| self.named(key)).collect();
        for value in LISTED.iter().flat_map(|key| [&self.settings[key], &self.special[key]]) {
            match value {
                Value::Array(list) => names.extend(list.iter().filter_map(name)),
                Value::Object(by_role) => names.extend(by_role.values().filter_map(name)),
                _ => {}
            }
        }
        let mut seen = HashSet::new();
        names.retain(|name| !name.is_empty() && seen.insert(*name));
        names
    }
}

fn names(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(list) => list.iter().filter_map(name).collect(),
        value => name(value).into_iter().collect(),
    }
}

fn name(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["content"].as_str())
}

/// What the files beside a `tokenizer.json` have to add.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Merged {
    /// Whether the `tokenizer.json` was changed.
    pub changed: bool,
    /// Added tokens of it that are special only by the other files.
    pub special: Vec<String>,
}

/// Adds to `added_tokens` what only the other files have.
pub(super) fn merge(
    tokenizer: &mut Value,
    beside: &Beside,
    findings: &mut Findings,
) -> Result<Merged, VocabularyError> {
    // Only such a file can be written to; any other is refused by whoever reads it next.
    if !tokenizer.is_object() || !tokenizer["model"].is_object() {
        return Ok(Merged::default());
    }
    let mut list = AddedList::read(tokenizer);
    let special = beside.special();
    if let Some(decoder) = beside.settings["added_tokens_decoder"].as_object() {
        let mut described: Vec<(u64, &Value)> =
            decoder.iter().filter_map(|(id, token)| Some((id.parse().ok()?, token))).collect();
        described.sort_unstable_by_key(|(id, _)| *id);
        for (id, token) in described {
            if let Some(content) = token["content"].as_str() {
                list.describe(content, id, token, findings);
            }
        }
    } else if let Some(added) = beside.added.as_object() {
        let mut numbered: Vec<(u64, &str)> = added
            .iter()
            .filter_map(|(content, id)| Some((id.as_u64()?, content.as_str())))
            .collect();
        numbered.sort_unstable();
        for (id, content) in numbered {
            list.place(content, Some(id), special.contains(&content), findings);
        }
    }
    for content in special {
        list.place(content, None, true, findings);
    }
    let AddedList { tokens, new, changed, special, .. } = list;
    if !new.is_empty() {
        findings.warnings.push(format!(
            "{} not in tokenizer.json, taken from the files beside it",
            listed(&new)
        ));
    }
    let new: HashSet<String> = new.into_iter().collect();
    if changed {
        write(tokenizer, tokens, &new)?;
    }
    Ok(Merged { changed, special })
}

/// Takes out the added tokens that the embedding has no row for. A `required` one would be missed.
pub(super) fn trim(
    tokenizer: &mut Value,
    rows: u32,
    required: impl Fn(&str) -> bool,
    findings: &mut Findings,
) -> bool {
    let Some(tokens) = tokenizer.get_mut("added_tokens").and_then(Value::as_array_mut) else {
        return false;
    };
    let mut beyond = Vec::new();
    tokens.retain(|token| {
        let fits = token["id"].as_u64().is_none_or(|id| id < u64::from(rows));
        if !fits {
            beyond.extend(token["content"].as_str().map(str::to_owned));
        }
        fits
    });
    if beyond.is_empty() {
        return false;
    }
    let missed: Vec<String> = beyond.iter().filter(|name| required(name)).cloned().collect();
    let what = format!("beyond the {rows} rows of the embedding");
    if missed.is_empty() {
        findings.warnings.push(format!("left out, {what}: {}", listed(&beyond)));
    } else {
        findings.problems.push(format!("{} {what}: a conversation needs it", listed(&missed)));
    }
    true
}

/// A few names and how many more.
fn listed(names: &[String]) -> String {
    let shown: Vec<String> =
        names.iter().take(SHOWN).map(|name| format!("`{}`", name.escape_debug())).collect();
    let more = names.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let count = if names.len() == 1 { "token" } else { "tokens" };
    format!("{count} {}{more}", shown.join(", "))
}

/// The entries of `added_tokens`, and what else has an id.
struct AddedList<'a> {
    tokens: Vec<Map<String, Value>>,
    /// Place of a content in `tokens`.
    places: HashMap<String, usize>,
    model: &'a Value,
    /// Ids of the model's pieces and of the added tokens.
    taken: HashSet<u64>,
    pieces: u64,
    new: Vec<String>,
    special: Vec<String>,
    changed: bool,
}

impl<'a> AddedList<'a> {
    fn read(tokenizer: &'a Value) -> Self {
        let model = &tokenizer["model"]["vocab"];
        let entries = tokenizer["added_tokens"].as_array().into_iter().flatten();
        let tokens: Vec<Map<String, Value>> =
            entries.filter_map(|token| token.as_object().cloned()).collect();
        let content =
            |token: &Map<String, Value>| token.get("content")?.as_str().map(str::to_owned);
        let places = tokens
            .iter()
            .enumerate()
            .filter_map(|(place, token)| Some((content(token)?, place)))
            .collect();
        let mut taken: HashSet<u64> = match model {
            Value::Object(ids) => ids.values().filter_map(Value::as_u64).collect(),
            Value::Array(pieces) => (0..pieces.len() as u64).collect(),
            _ => HashSet::new(),
        };
        let pieces = taken.len() as u64;
        taken.extend(tokens.iter().filter_map(|token| token.get("id")?.as_u64()));
        Self {
            tokens,
            places,
            model,
            taken,
            pieces,
            new: Vec::new(),
            special: Vec::new(),
            changed: false,
        }
    }

    /// The id of a piece of the model.
    fn model_id(&self, content: &str) -> Option<u64> {
        match self.model {
            Value::Object(ids) => ids.get(content)?.as_u64(),
            Value::Array(pieces) => {
                pieces.iter().position(|piece| piece[0] == content).map(|id| id as u64)
            }
            _ => None,
        }
    }

    /// An entry of `added_tokens_decoder`: its flags outrank those of `tokenizer.json`. Being
    /// special is a matter of the token's kind, for which the file need not change.
    fn describe(&mut self, content: &str, id: u64, described: &Value, findings: &mut Findings) {
        let Some(&place) = self.places.get(content) else {
            return self.add(content, Some(id), described, findings);
        };
        let own = &mut self.tokens[place];
        let is_special = own.get("special").and_then(Value::as_bool) == Some(true);
        if !is_special && described["special"] == true {
            self.special.push(content.to_owned());
        }
        for flag in FLAGS.into_iter().filter(|flag| *flag != "special") {
            let Some(value) = described[flag].as_bool() else { continue };
            if own.get(flag).and_then(Value::as_bool) != Some(value) {
                own.insert(flag.to_owned(), value.into());
                self.changed = true;
            }
        }
    }

    /// A token of which only the name, perhaps the id, and its being special are known.
    fn place(&mut self, content: &str, id: Option<u64>, special: bool, findings: &mut Findings) {
        if !self.places.contains_key(content) {
            self.add(content, id, &serde_json::json!({ "special": special }), findings);
        }
    }

    /// A token that `tokenizer.json` does not have among the added ones. Without an id it gets the
    /// model's, or the next.
    fn add(&mut self, content: &str, id: Option<u64>, described: &Value, findings: &mut Findings) {
        if content.is_empty() {
            return;
        }
        let of_model = self.model_id(content);
        let next = self.taken.iter().max().map_or(0, |last| last + 1).max(self.pieces);
        let id = of_model.or(id).unwrap_or(next);
        if of_model.is_none() && self.taken.contains(&id) {
            let name = content.escape_debug();
            findings.warnings.push(format!(
                "token `{name}` left out: its id {id} is another token's in tokenizer.json"
            ));
            return;
        }
        let special = described["special"].as_bool().unwrap_or(false);
        let mut token = Map::new();
        token.insert("id".to_owned(), id.into());
        token.insert("content".to_owned(), content.into());
        for flag in FLAGS {
            // A special token is not normalized, any other is, where nothing is said.
            let usual = if flag == "normalized" { !special } else { false };
            token.insert(flag.to_owned(), described[flag].as_bool().unwrap_or(usual).into());
        }
        self.taken.insert(id);
        self.places.insert(content.to_owned(), self.tokens.len());
        self.tokens.push(token);
        self.new.push(content.to_owned());
        self.changed = true;
    }
}

/// Puts the list back. The library numbers added tokens anew, one after another; where that would
/// give a new one another id, all of them become pieces of the model, which keep theirs and which
/// nothing merges to.
fn write(
    tokenizer: &mut Value,
    mut tokens: Vec<Map<String, Value>>,
    new: &HashSet<String>,
) -> Result<(), VocabularyError> {
    let id = |token: &Map<String, Value>| token.get("id").and_then(Value::as_u64);
    let content = |token: &Map<String, Value>| Some(token.get("content")?.as_str()?.to_owned());
    tokens.sort_by_key(|token| id(token).unwrap_or(u64::MAX));
    match &mut tokenizer["model"]["vocab"] {
        Value::Object(pieces) => {
            let mut next = pieces.len() as u64;
            let mut moved = false;
            for token in &tokens {
                let Some(content) = content(token) else { continue };
                if pieces.contains_key(&content) {
                    continue;
                }
                moved |= new.contains(&content) && id(token) != Some(next);
                next += 1;
            }
            for (content, id) in tokens
                .iter()
                .filter(|_| moved)
                .filter_map(|token| Some((content(token)?, id(token)?)))
            {
                pieces.entry(content).or_insert_with(|| id.into());
            }
        }
        Value::Array(pieces) => {
            let known: HashSet<&str> =
                pieces.iter().filter_map(|piece| piece[0].as_str()).collect();
            let mut next = pieces.len() as u64;
            for token in &tokens {
                let Some(content) =
                    content(token).filter(|content| !known.contains(content.as_str()))
                else {
                    continue;
                };
                if new.contains(&content) && id(token) != Some(next) {
                    let problem = format!("`{}` cannot be given its id", content.escape_debug());
                    return Err(VocabularyError::Field { field: "added_tokens", problem });
                }
                next += 1;
            }
        }
        _ => {}
    }
    tokenizer["added_tokens"] = tokens.into_iter().map(Value::Object).collect();
    Ok(())
}
