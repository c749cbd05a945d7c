//! The steps of a section, each of a kind that is known: how much longer each can make a text, and
//! what its regular expressions come to.
//!
//! Growth is counted in bytes, at its worst. Unicode's own normalizations have known bounds (UAX
//! #15, "maximum expansion factor"): 3 for NFC and NFD, 11 for NFKC and NFKD.

use crate::charsmap;
use crate::demand::Survey;
use crate::error::{SurveyError, short, within};
use crate::limits::{GROWTH_MAX, SETTING_BYTES_MAX, STEPS_MAX};
use crate::regex::classes;
use crate::section::Value;

/// What a section is for; the same name can mean other things in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Normalizer,
    PreTokenizer,
    PostProcessor,
    Decoder,
}

impl Section {
    const fn name(self) -> &'static str {
        match self {
            Self::Normalizer => "normalizer",
            Self::PreTokenizer => "pre_tokenizer",
            Self::PostProcessor => "post_processor",
            Self::Decoder => "decoder",
        }
    }

    /// Where a sequence keeps its steps.
    const fn list(self) -> &'static str {
        match self {
            Self::Normalizer => "normalizers",
            Self::PreTokenizer => "pretokenizers",
            Self::PostProcessor => "processors",
            Self::Decoder => "decoders",
        }
    }

    const fn kinds(self) -> &'static str {
        match self {
            Self::Normalizer => {
                "BertNormalizer, ByteLevel, Lowercase, NFC, NFD, NFKC, NFKD, Nmt, Precompiled, Prepend, \
                 Replace, Sequence, Strip, StripAccents"
            }
            Self::PreTokenizer => {
                "BertPreTokenizer, ByteLevel, CharDelimiterSplit, Delimiter, Digits, FixedLength, \
                 Metaspace, Punctuation, Sequence, Split, UnicodeScripts, Whitespace, WhitespaceSplit"
            }
            Self::PostProcessor => {
                "BertProcessing, ByteLevel, RobertaProcessing, Sequence, TemplateProcessing"
            }
            Self::Decoder => {
                "BPEDecoder, ByteFallback, ByteLevel, CTC, Fuse, Metaspace, Replace, Sequence, Strip, WordPiece"
            }
        }
    }
}

/// Adds a section to what is known of the file.
pub fn add(section: Section, value: &Value<'_>, survey: &mut Survey) -> Result<(), SurveyError> {
    if *value == Value::Null {
        return Ok(());
    }
    survey.steps += 1;
    within(
        "steps of normalizers, pre-tokenizers, processors and decoders",
        survey.steps,
        STEPS_MAX,
    )?;
    let unknown = |found: &str| SurveyError::Kind {
        section: section.name(),
        expected: section.kinds(),
        found: short(found),
    };
    let kind = value.get("type").and_then(Value::text).ok_or_else(|| unknown("no type"))?;
    let growth = match (section, kind) {
        (_, "Sequence") => {
            let steps = value.get(section.list()).and_then(Value::list);
            let steps = steps.ok_or_else(|| unknown("a Sequence without its list"))?;
            return steps.iter().try_for_each(|step| add(section, step, survey));
        }
        (Section::Normalizer, "Strip" | "StripAccents" | "Nmt") => 1.0,
        // The longest is U+2C65 of 3 bytes for U+023A of 2.
        (Section::Normalizer, "Lowercase") => 1.5,
        (Section::Normalizer, "NFC" | "NFD") => 3.0,
        (Section::Normalizer, "NFKC" | "NFKD") => 11.0,
        // Every byte becomes a character of one or two.
        (Section::Normalizer, "ByteLevel") => 2.0,
        // Spaces on both sides of an ideograph of 3 bytes, NFD, and lowercase.
        (Section::Normalizer, "BertNormalizer") => 5.0 / 3.0 * 3.0 * 1.5,
        (Section::Normalizer, "Prepend") => 1.0 + setting(value, "prepend")? as f64,
        (Section::Normalizer, "Replace") => replace(value, survey)?,
        (Section::Normalizer, "Precompiled") => {
            let map = value.get("precompiled_charsmap").and_then(Value::text);
            charsmap::growth(map.ok_or(SurveyError::Charsmap("expected a text"))?)?
        }
        (
            Section::PreTokenizer,
            "BertPreTokenizer" | "CharDelimiterSplit" | "Delimiter" | "Digits" | "FixedLength"
            | "Punctuation" | "UnicodeScripts" | "Whitespace" | "WhitespaceSplit",
        ) => 1.0,
        // A byte each, and a space before.
        (Section::PreTokenizer, "ByteLevel") => {
            survey.classes += 8;
            if value.get("add_prefix_space") == Some(&Value::Bool(false)) { 2.0 } else { 4.0 }
        }
        // A space becomes a character of up to 4 bytes, and one more comes before.
        (Section::PreTokenizer, "Metaspace") => 5.0,
        (Section::PreTokenizer, "Split") => {
            pattern(value, survey)?;
            1.0
        }
        (
            Section::PostProcessor,
            "BertProcessing" | "ByteLevel" | "RobertaProcessing" | "TemplateProcessing",
        )
        | (
            Section::Decoder,
            "BPEDecoder" | "ByteFallback" | "ByteLevel" | "CTC" | "Fuse" | "Metaspace" | "Strip"
            | "WordPiece",
        ) => 1.0,
        // Texts are decoded from a table of ours: only its expression is compiled.
        (Section::Decoder, "Replace") => {
            pattern(value, survey)?;
            1.0
        }
        (_, other) => return Err(unknown(other)),
    };
    survey.growth *= growth;
    if survey.growth > GROWTH_MAX {
        return Err(SurveyError::Growth { found: survey.growth, limit: GROWTH_MAX });
    }
    Ok(())
}

/// Bytes of a string that is short in every published tokenizer.
fn setting(value: &Value<'_>, name: &'static str) -> Result<usize, SurveyError> {
    let bytes = value.get(name).and_then(Value::text).map_or(0, str::len);
    within("bytes of a normalizer's setting", bytes, SETTING_BYTES_MAX).map(|()| bytes)
}

/// What `Replace` makes of a text at its worst: the content for every match, of which a regular
/// expression may have one between any two letters.
fn replace(value: &Value<'_>, survey: &mut Survey) -> Result<f64, SurveyError> {
    let content = setting(value, "content")? as f64;
    match pattern(value, survey)? {
        Some(0) => Ok(1.0 + content),
        Some(least) => Ok((content / least as f64).max(1.0)),
        None => Ok(1.0 + content),
    }
}

/// Reads a pattern and returns the bytes of a plain one, `None` for a regular expression.
fn pattern(value: &Value<'_>, survey: &mut Survey) -> Result<Option<usize>, SurveyError> {
    const EXPECTED: &str = "{\"String\": text}, {\"Regex\": text}";
    let wrong = || SurveyError::Kind {
        section: "pattern",
        expected: EXPECTED,
        found: "something else".to_owned(),
    };
    let pattern = value.get("pattern").ok_or_else(wrong)?;
    let (text, is_plain) = match (pattern.get("String"), pattern.get("Regex")) {
        (Some(text), None) => (text, true),
        (None, Some(text)) => (text, false),
        _ => return Err(wrong()),
    };
    let text = text.text().ok_or_else(wrong)?;
    if is_plain {
        within("bytes of a pattern", text.len(), SETTING_BYTES_MAX)?;
        survey.classes += 1;
        return Ok(Some(text.len()));
    }
    survey.classes += 1 + classes(text)?;
    within(
        "character classes of all regular expressions",
        survey.classes,
        crate::limits::CLASSES_MAX,
    )?;
    Ok(None)
}
