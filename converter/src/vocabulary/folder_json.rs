//! Reads from a `tokenizer.json` what the vocabulary table needs: pieces, kinds, and what is put
//! around a text.

use std::collections::HashMap;

use hardtack_format::vocabulary::TokenKind;
use serde_json::Value;

use crate::vocabulary::error::VocabularyError;
use crate::vocabulary::markers::Evidence;
use crate::vocabulary::piece::{Alphabet, SPACE_SIGN, byte_of_piece, token_bytes};

/// The tokens of a tokenizer in order of id, padded with unused ones.
pub(super) struct TokenList {
    /// Kind and bytes of each id.
    pub tokens: Vec<(TokenKind, Vec<u8>)>,
    ids: HashMap<String, u32>,
}

impl TokenList {
    /// The id of the token of that name.
    pub fn id(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    /// Makes control tokens of added ones that another file calls special.
    pub fn make_control(&mut self, names: &[String]) {
        for name in names {
            if let Some(id) = self.id(name) {
                self.tokens[id as usize] = (TokenKind::Control, name.as_bytes().to_vec());
            }
        }
    }

    /// Sets the kind of added tokens that steer. A piece of the model stays text: `tokenizers`
    /// would not find it either.
    pub fn mark(&mut self, evidence: &Evidence<'_>) {
        for (name, &id) in &self.ids {
            let token = &mut self.tokens[id as usize];
            let kind = evidence.kind(id, name, token.0, || true);
            if kind != token.0 {
                *token = (kind, name.as_bytes().to_vec());
            }
        }
    }
}

/// What a tokenizer puts around a text.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Wrapping {
    /// The token before it.
    pub begin: Option<u32>,
    /// Whether a token follows it.
    pub end: bool,
}

/// All tokens: those of the model, then the added ones, which may rename them.
pub(super) fn tokens(
    tokenizer: &Value,
    vocabulary_size: u32,
) -> Result<TokenList, VocabularyError> {
    let alphabet = alphabet(tokenizer)?;
    let mut list = TokenList {
        tokens: vec![(TokenKind::Unused, Vec::new()); vocabulary_size as usize],
        ids: HashMap::new(),
    };
    let unknown = unknown_piece(&tokenizer["model"]);
    let mut count = 0;
    for (piece, id) in model_pieces(&tokenizer["model"])? {
        let kind = match piece {
            _ if Some(piece) == unknown => TokenKind::Unknown,
            _ if alphabet == Alphabet::SentencePiece && byte_of_piece(piece).is_some() => {
                TokenKind::Byte
            }
            _ => TokenKind::Normal,
        };
        count = count.max(list.put(id, piece, kind, alphabet));
    }
    for added in tokenizer["added_tokens"].as_array().into_iter().flatten() {
        let (Some(id), Some(content)) = (added["id"].as_u64(), added["content"].as_str()) else {
            return Err(field("added_tokens", "an entry has no id or no content"));
        };
        let kind = match added["special"].as_bool() {
            _ if Some(content) == unknown => TokenKind::Unknown,
            Some(true) => TokenKind::Control,
            _ => TokenKind::UserDefined,
        };
        count = count.max(list.put(id, content, kind, alphabet));
    }
    if count > u64::from(vocabulary_size) {
        return Err(VocabularyError::TooManyTokens { tokenizer: count, model: vocabulary_size });
    }
    Ok(list)
}

impl TokenList {
    /// Places a token and returns the table length that it wants.
    fn put(&mut self, id: u64, piece: &str, kind: TokenKind, alphabet: Alphabet) -> u64 {
        let place = usize::try_from(id).ok().and_then(|index| self.tokens.get_mut(index));
        if let (Some(place), Ok(id)) = (place, u32::try_from(id)) {
            *place = (kind, token_bytes(piece, kind, alphabet));
            self.ids.insert(piece.into(), id);
        }
        id.saturating_add(1)
    }
}

fn model_pieces(model: &Value) -> Result<Vec<(&str, u64)>, VocabularyError> {
    match (model["type"].as_str(), &model["vocab"]) {
        (Some("BPE") | None, Value::Object(vocabulary)) => {
            let id = |id: &Value| {
                id.as_u64().ok_or_else(|| field("model.vocab", "an id is not a number"))
            };
            vocabulary.iter().map(|(piece, value)| Ok((piece.as_str(), id(value)?))).collect()
        }
        (Some("Unigram"), Value::Array(pieces)) => {
            let piece = |entry: &'_ Value| entry[0].as_str().is_some();
            if !pieces.iter().all(piece) {
                return Err(field("model.vocab", "an entry has no piece"));
            }
            Ok((0..).zip(pieces).filter_map(|(id, entry)| Some((entry[0].as_str()?, id))).collect())
        }
        (Some("BPE" | "Unigram") | None, _) => {
            Err(field("model.vocab", "is absent or has the wrong form"))
        }
        (Some(other), _) => Err(VocabularyError::Model(other.into())),
    }
}

fn unknown_piece(model: &Value) -> Option<&str> {
    let by_id = || model["vocab"].get(model["unk_id"].as_u64()? as usize)?[0].as_str();
    model["unk_token"].as_str().or_else(by_id)
}

/// The decoder says how bytes are written.
fn alphabet(tokenizer: &Value) -> Result<Alphabet, VocabularyError> {
    let decoders = steps(&tokenizer["decoder"], "decoders");
    let is = |step: &&Value, name: &str| step["type"] == name;
    if decoders.iter().any(|step| is(step, "ByteLevel")) {
        return Ok(Alphabet::ByteLevel);
    }
    let space = |step: &&Value| {
        is(step, "Metaspace") || (is(step, "Replace") && step["pattern"]["String"] == SPACE_SIGN)
    };
    if decoders.iter().any(space) {
        return Ok(Alphabet::SentencePiece);
    }
    let found: Vec<_> = decoders.iter().filter_map(|step| step["type"].as_str()).collect();
    Err(field(
        "decoder",
        &format!("`{}` is not supported: ByteLevel and SentencePiece are", found.join(", ")),
    ))
}

/// SentencePiece puts a space before a text; its decoder takes it away.
pub(super) fn strips_leading_space(tokenizer: &Value) -> bool {
    steps(&tokenizer["decoder"], "decoders").iter().any(|step| match step["type"].as_str() {
        Some("Strip") => step["content"] == " " && step["start"].as_u64() > Some(0),
        Some("Metaspace") => match step["prepend_scheme"].as_str() {
            Some(scheme) => scheme != "never",
            None => step["add_prefix_space"] != false,
        },
        _ => false,
    })
}

/// What the post-processor puts around a single text.
pub(super) fn wrapping(tokenizer: &Value) -> Wrapping {
    let steps = steps(&tokenizer["post_processor"], "processors");
    let Some(template) = steps.into_iter().find(|step| step["type"] == "TemplateProcessing") else {
        return Wrapping::default();
    };
    let special = |part: Option<&Value>| -> Option<u32> {
        let name = part?["SpecialToken"]["id"].as_str()?;
        let id = template["special_tokens"][name]["ids"][0].as_u64()?;
        u32::try_from(id).ok()
    };
    let parts = template["single"].as_array();
    Wrapping {
        begin: special(parts.and_then(|parts| parts.first())),
        end: special(parts.and_then(|parts| parts.last())).is_some(),
    }
}

/// A step, or the steps of a sequence.
fn steps<'a>(value: &'a Value, list: &str) -> Vec<&'a Value> {
    match value[list].as_array() {
        Some(steps) => steps.iter().collect(),
        None if value.is_null() => Vec::new(),
        None => vec![value],
    }
}

fn field(field: &'static str, problem: &str) -> VocabularyError {
    VocabularyError::Field { field, problem: problem.into() }
}
