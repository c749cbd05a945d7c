//! One reading of the whole file: its sections as values, its vocabulary and merges counted as they
//! go by.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::demand::{ModelKind, Survey};
use crate::error::SurveyError;
use crate::growth::{self, Section};
use crate::limits::SETTING_BYTES_MAX;
use crate::section::{Limited, Room, Value};

/// Reads a `tokenizer.json`. It takes memory for little more than its normalizers and the like.
///
/// # Errors
/// It is none, or asks for more than any published tokenizer.
pub fn survey(json: &[u8]) -> Result<Survey, SurveyError> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let layout = |error: serde_json::Error| SurveyError::Layout(error.to_string());
    let file = FileVisitor.deserialize(&mut reader).map_err(layout)?;
    reader.end().map_err(layout)?;
    let model = file.model.ok_or_else(|| SurveyError::Layout("expected a model".to_owned()))?;
    let kind = model.kind()?;
    let mut survey = Survey {
        model: kind,
        tokens: model.vocabulary.count,
        merges: model.merges.count,
        pairs: model.merges.lists,
        piece_bytes: model.vocabulary.text_bytes,
        added: file.added,
        growth: 1.0,
        classes: 0,
        bytes: json.len(),
        steps: 0,
    };
    for (section, value) in file.sections {
        growth::add(section, &value, &mut survey)?;
    }
    Ok(survey)
}

#[derive(Default)]
struct File<'a> {
    sections: Vec<(Section, Value<'a>)>,
    model: Option<Model>,
    added: usize,
}

struct FileVisitor;

impl<'a> DeserializeSeed<'a> for FileVisitor {
    type Value = File<'a>;

    fn deserialize<D: Deserializer<'a>>(self, from: D) -> Result<File<'a>, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for FileVisitor {
    type Value = File<'a>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a tokenizer")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut from: A) -> Result<File<'a>, A::Error> {
        let mut file = File::default();
        let mut seen = [false; 6];
        while let Some(key) = from.next_key_seed(Limited(&mut Room::default()))? {
            let section = match key.text().unwrap_or_default() {
                "normalizer" => Section::Normalizer,
                "pre_tokenizer" => Section::PreTokenizer,
                "post_processor" => Section::PostProcessor,
                "decoder" => Section::Decoder,
                "model" => {
                    once::<A::Error>(&mut seen[4])?;
                    file.model = Some(from.next_value_seed(ModelVisitor)?);
                    continue;
                }
                "added_tokens" => {
                    once::<A::Error>(&mut seen[5])?;
                    file.added = from.next_value_seed(Entries)?.count;
                    continue;
                }
                _ => {
                    from.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            once::<A::Error>(&mut seen[section as usize])?;
            let value = from.next_value_seed(Limited(&mut Room::default()))?;
            file.sections.push((section, value));
        }
        Ok(file)
    }
}

/// Readers differ in which of two they take.
fn once<E: Error>(seen: &mut bool) -> Result<(), E> {
    if std::mem::replace(seen, true) {
        Err(E::custom("a section that is there twice"))
    } else {
        Ok(())
    }
}

#[derive(Default)]
struct Model {
    named: Option<String>,
    vocabulary: Counts,
    merges: Counts,
    has_merges: bool,
    has_prefix: bool,
}

impl Model {
    /// Files of the first years do not name the kind.
    fn kind(&self) -> Result<ModelKind, SurveyError> {
        const EXPECTED: &str = "BPE, Unigram, WordPiece, WordLevel";
        Ok(match self.named.as_deref() {
            Some("BPE") => ModelKind::Bpe,
            Some("Unigram") => ModelKind::Unigram,
            Some("WordPiece") => ModelKind::WordPiece,
            Some("WordLevel") => ModelKind::WordLevel,
            Some(other) => {
                let found = crate::error::short(other);
                return Err(SurveyError::Kind { section: "model", expected: EXPECTED, found });
            }
            None if self.has_merges => ModelKind::Bpe,
            None if self.vocabulary.is_list => ModelKind::Unigram,
            None if self.has_prefix => ModelKind::WordPiece,
            None => ModelKind::WordLevel,
        })
    }
}

struct ModelVisitor;

impl<'a> DeserializeSeed<'a> for ModelVisitor {
    type Value = Model;

    fn deserialize<D: Deserializer<'a>>(self, from: D) -> Result<Model, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for ModelVisitor {
    type Value = Model;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a model")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut from: A) -> Result<Model, A::Error> {
        let mut model = Model::default();
        let mut seen: Vec<String> = Vec::new();
        while let Some(key) = from.next_key_seed(Limited(&mut Room::default()))? {
            let key = key.text().unwrap_or_default().to_owned();
            if seen.contains(&key) || seen.len() > 64 {
                return Err(A::Error::custom(
                    "a model with too many settings, or one that is there twice",
                ));
            }
            match key.as_str() {
                "vocab" => model.vocabulary = from.next_value_seed(Entries)?,
                "merges" => {
                    model.merges = from.next_value_seed(Entries)?;
                    model.has_merges = true;
                }
                _ => {
                    let value = from.next_value_seed(Limited(&mut Room::default()))?;
                    let bytes = value.text().map_or(0, str::len);
                    if bytes > SETTING_BYTES_MAX {
                        return Err(A::Error::custom(format_args!(
                            "a setting of the model of {bytes} bytes, the limit is {SETTING_BYTES_MAX}"
                        )));
                    }
                    model.has_prefix |= key == "continuing_subword_prefix";
                    if key == "type" {
                        model.named = value.text().map(str::to_owned);
                    }
                }
            }
            seen.push(key);
        }
        Ok(model)
    }
}

/// What a list or a map holds.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    count: usize,
    is_list: bool,
    /// Elements of a list that are lists.
    lists: usize,
    /// Bytes of the first text of each of them.
    text_bytes: usize,
}

/// Counts the entries of a list or a map; null is empty.
struct Entries;

impl<'a> DeserializeSeed<'a> for Entries {
    type Value = Counts;

    fn deserialize<D: Deserializer<'a>>(self, from: D) -> Result<Counts, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Entries {
    type Value = Counts;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a list or a map")
    }

    fn visit_unit<E: Error>(self) -> Result<Counts, E> {
        Ok(Counts { is_list: true, ..Counts::default() })
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut from: A) -> Result<Counts, A::Error> {
        let mut counts = Counts { is_list: true, ..Counts::default() };
        while let Some(first) = from.next_element_seed(Element)? {
            counts.count += 1;
            counts.lists += usize::from(first.is_some());
            counts.text_bytes += first.unwrap_or(0);
        }
        Ok(counts)
    }

    fn visit_map<A: MapAccess<'a>>(self, mut from: A) -> Result<Counts, A::Error> {
        let mut counts = Counts::default();
        while from.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            counts.count += 1;
        }
        Ok(counts)
    }
}

/// An element of a list: the bytes of its first text if it is a list itself, `None` otherwise.
struct Element;

impl<'a> DeserializeSeed<'a> for Element {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'a>>(self, from: D) -> Result<Option<usize>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Element {
    type Value = Option<usize>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("an element")
    }

    fn visit_unit<E: Error>(self) -> Result<Option<usize>, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Option<usize>, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Option<usize>, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Option<usize>, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Option<usize>, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Option<usize>, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut from: A) -> Result<Option<usize>, A::Error> {
        let text = from.next_element::<std::borrow::Cow<'a, str>>()?;
        while from.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Some(text.map_or(0, |text| text.len())))
    }

    fn visit_map<A: MapAccess<'a>>(self, mut from: A) -> Result<Option<usize>, A::Error> {
        while from.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_counted_by_their_form() {
        let of = |model: &str| survey(format!(r#"{{"model":{model}}}"#).as_bytes());
        let bpe = of(r#"{"vocab":{"a":0,"b":1},"merges":["a b",["a","b"],["b","a"]]}"#).unwrap();
        assert_eq!((bpe.model, bpe.tokens, bpe.merges, bpe.pairs), (ModelKind::Bpe, 2, 3, 2));
        let unigram = of(r#"{"type":"Unigram","vocab":[["abc",-1],["d",0.5]]}"#).unwrap();
        assert_eq!(
            (unigram.model, unigram.tokens, unigram.piece_bytes),
            (ModelKind::Unigram, 2, 4)
        );
        assert!(of(r#"{"type":"BPE","vocab":{},"vocab":{}}"#).is_err());
        assert!(of("null").is_err() && survey(b"{}").is_err() && survey(b"[]").is_err());
    }
}
