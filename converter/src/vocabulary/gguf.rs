//! Text sections from the tokenizer that a GGUF file carries in its metadata.

use std::collections::HashSet;

use hardtack_format::vocabulary::{self, TextRules, TokenKind};

use crate::vocabulary::error::VocabularyError;
use crate::vocabulary::findings::Findings;
use crate::vocabulary::gguf_json;
use crate::vocabulary::gguf_keys::{Family, GgufVocabulary};
use crate::vocabulary::markers::{Evidence, looks_like_a_mark};
use crate::vocabulary::piece::{Alphabet, byte_of_piece, token_bytes};
use crate::vocabulary::pre_tokenizer;
use crate::vocabulary::rules::{NamedEnd, end_ids};
use crate::vocabulary::sections::TextSections;

/// Makes the sections; `vocabulary_size` is the number of rows of the embedding, up to which the
/// table is padded.
///
/// # Errors
/// The tokenizer is of a kind that the runtime does not have, or parts of it are missing.
pub fn from_gguf(
    meta: &GgufVocabulary,
    vocabulary_size: u32,
) -> Result<TextSections, VocabularyError> {
    let mut sections = TextSections::default();
    sections.set_template(meta.template.clone());
    if meta.tokens.is_empty() {
        sections
            .warnings
            .push("the GGUF file has no tokenizer: the blob will speak token ids only".into());
        return Ok(sections);
    }
    let family = family(meta, &mut sections.warnings)?;
    check_columns(meta, &family, vocabulary_size)?;

    let mut findings = Findings::default();
    let mut kinds: Vec<TokenKind> = (0..meta.tokens.len()).map(|index| kind(meta, index)).collect();
    mark(meta, &family, &mut kinds, sections.template.as_deref(), &mut findings);
    let table =
        table(meta, &family, &kinds, vocabulary_size, sections.template.is_some(), &mut findings)?;
    sections.vocabulary = Some(table);
    sections.tokenizer = Some(gguf_json::write(meta, &family, &kinds, &mut findings.warnings)?);
    sections.report(findings);
    Ok(sections)
}

fn family(meta: &GgufVocabulary, warnings: &mut Vec<String>) -> Result<Family, VocabularyError> {
    match meta.model.as_str() {
        "llama" => {
            Ok(Family::SentencePiece { space_prefix: meta.add_space_prefix.unwrap_or(true) })
        }
        "gpt2" => {
            let name = meta.pre.as_deref().unwrap_or_else(|| {
                warnings
                    .push("the GGUF file does not name its pre-tokenizer: `default` is used, as llama.cpp does".into());
                "default"
            });
            let known = pre_tokenizer::by_name(name);
            known.map(Family::ByteLevel).ok_or_else(|| VocabularyError::PreTokenizer(name.into()))
        }
        other => Err(VocabularyError::Model(other.into())),
    }
}

fn check_columns(
    meta: &GgufVocabulary,
    family: &Family,
    vocabulary_size: u32,
) -> Result<(), VocabularyError> {
    let tokens = meta.tokens.len();
    if tokens as u64 > u64::from(vocabulary_size) {
        return Err(VocabularyError::TooManyTokens {
            tokenizer: tokens as u64,
            model: vocabulary_size,
        });
    }
    let scores_needed = matches!(family, Family::SentencePiece { .. });
    for (column, found, may_be_empty) in
        [("token_type", meta.kinds.len(), true), ("scores", meta.scores.len(), !scores_needed)]
    {
        if found != tokens && !(found == 0 && may_be_empty) {
            return Err(VocabularyError::Column { column, found, tokens });
        }
    }
    if let Family::ByteLevel(_) = family
        && meta.merges.as_ref().is_none_or(Vec::is_empty)
    {
        let is_long = |index: &usize| {
            kind(meta, *index) == TokenKind::Normal && meta.tokens[*index].chars().nth(1).is_some()
        };
        let long = (0..tokens).filter(is_long).count();
        if meta.merges.is_none() || long > 0 {
            return Err(VocabularyError::NoMerges { long });
        }
    }
    Ok(())
}

/// Corrects the kinds of tokens that steer: those that the file types as words, as some conversions
/// do, and those that it calls user-defined and a template uses as marks.
fn mark(
    meta: &GgufVocabulary,
    family: &Family,
    kinds: &mut [TokenKind],
    template: Option<&str>,
    findings: &mut Findings,
) {
    let reachable = Reachable::new(meta, family);
    let named: Vec<u32> = [meta.bos, meta.eos, meta.eot].into_iter().flatten().collect();
    let evidence = Evidence { template, named: &named };
    let mut corrected = Vec::new();
    for ((id, name), kind) in (0..).zip(&meta.tokens).zip(kinds) {
        let right = evidence.kind(id, name, *kind, || reachable.contains(name));
        if right != *kind && *kind == TokenKind::Normal {
            corrected.push(format!("`{}`", name.escape_debug()));
        }
        *kind = right;
    }
    if !corrected.is_empty() {
        findings.warnings.push(format!(
            "the file types tokens that steer the model as words; they are taken for what they are: {}",
            corrected.join(", ")
        ));
    }
}

/// Which marks plain text can come to by merging.
struct Reachable<'a> {
    /// What merges make.
    joined: HashSet<String>,
    /// All pieces, where any two that make a third do.
    pieces: HashSet<&'a str>,
}

impl<'a> Reachable<'a> {
    fn new(meta: &'a GgufVocabulary, family: &Family) -> Self {
        let joined = meta.merges.iter().flatten().filter_map(|merge| {
            let (left, right) = merge.split_once(' ')?;
            Some(format!("{left}{right}"))
        });
        let pieces = match family {
            Family::ByteLevel(_) => HashSet::new(),
            Family::SentencePiece { .. } => meta.tokens.iter().map(String::as_str).collect(),
        };
        Self { joined: joined.filter(|piece| looks_like_a_mark(piece)).collect(), pieces }
    }

    fn contains(&self, name: &str) -> bool {
        let splits = || name.char_indices().skip(1).map(|(at, _)| name.split_at(at));
        let is_piece = |piece| self.pieces.contains(piece);
        self.joined.contains(name)
            || splits().any(|(left, right)| is_piece(left) && is_piece(right))
    }
}

/// GGUF's token types, from `llama_token_type` of llama.cpp: 1 normal, 2 unknown, 3 control, 4
/// user-defined, 5 unused, 6 byte.
fn kind(meta: &GgufVocabulary, index: usize) -> TokenKind {
    let known = match meta.kinds.get(index) {
        Some(2) => TokenKind::Unknown,
        Some(3) => TokenKind::Control,
        Some(4) => TokenKind::UserDefined,
        Some(5) => TokenKind::Unused,
        Some(6) => TokenKind::Byte,
        _ => TokenKind::Normal,
    };
    match known {
        TokenKind::Byte if byte_of_piece(&meta.tokens[index]).is_none() => TokenKind::Normal,
        known => known,
    }
}

fn table(
    meta: &GgufVocabulary,
    family: &Family,
    kinds: &[TokenKind],
    vocabulary_size: u32,
    has_template: bool,
    findings: &mut Findings,
) -> Result<Vec<u8>, VocabularyError> {
    let (alphabet, add_begin, strip_leading_space) = match family {
        Family::ByteLevel(pre) => (Alphabet::ByteLevel, pre.add_begin, false),
        Family::SentencePiece { space_prefix } => (Alphabet::SentencePiece, true, *space_prefix),
    };
    let tokens = meta
        .tokens
        .iter()
        .zip(kinds)
        .map(|(piece, &kind)| (kind, token_bytes(piece, kind, alphabet)));
    let mut tokens: Vec<_> = tokens.collect();
    let named =
        [("tokenizer.ggml.eos_token_id", meta.eos), ("tokenizer.ggml.eot_token_id", meta.eot)];
    let named: Vec<NamedEnd> =
        named.into_iter().filter_map(|(place, id)| Some(NamedEnd::by_id(place, id?))).collect();
    let count = tokens.len() as u64;
    let in_table = |id: &u32| u64::from(*id) < count;
    let begin = meta.bos.filter(in_table);
    let end = meta.eos.filter(in_table);
    let rules = TextRules {
        begin,
        end,
        add_begin: begin.is_some() && meta.add_bos.unwrap_or(add_begin),
        add_end: end.is_some() && meta.add_eos.unwrap_or(false),
        strip_leading_space,
        ends: end_ids(&named, &tokens, has_template, findings),
    };
    tokens.resize(vocabulary_size as usize, (TokenKind::Unused, Vec::new()));
    Ok(vocabulary::write(&rules, &tokens)?)
}
