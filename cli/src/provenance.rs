//! What a blob says about its making. A blob is a stranger's file, so what is read of it is
//! bounded.

use anyhow::ensure;
use hardtack::Engine;
use hardtack::format::SectionKind;
use serde::de::IgnoredAny;
use serde::{Serialize, Serializer};

/// Longest provenance that is read. Ours have some kilobytes, and a few hundred for a thousand
/// experts a layer.
pub const BYTES_MAX: usize = 16 << 20;

/// The section's bytes, if there is one.
///
/// # Errors
/// It is too long.
pub fn section(engine: &Engine) -> anyhow::Result<Option<&[u8]>> {
    let section = engine.section(SectionKind::Provenance);
    if let Some(found) = section.map(<[u8]>::len) {
        ensure!(
            found <= BYTES_MAX,
            "{}: section provenance: expected at most {BYTES_MAX} bytes, found {found}",
            engine.path().display()
        );
    }
    Ok(section)
}

/// What became of the routers, in words for people; a blob says `tuned` or `as they were`.
pub fn routers(said: &str) -> &str {
    if said == "as they were" { "not tuned" } else { said }
}

/// A text of JSON as a part of another one. It goes from text to text: as values it would take tens
/// of bytes for each of its own.
pub struct Json<'a>(&'a [u8]);

impl<'a> Json<'a> {
    /// The text, if it is JSON.
    pub fn new(text: &'a [u8]) -> Option<Self> {
        serde_json::from_slice::<IgnoredAny>(text).ok().map(|_| Self(text))
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_transcode::transcode(&mut serde_json::Deserializer::from_slice(self.0), serializer)
    }
}
