//! GGUF files, versions 2 and 3: metadata, then where each tensor lies, then the tensors.
//!
//! Layout: magic "GGUF" | version u32 | tensor count u64 | metadata count u64 | metadata | tensor table | padding to the
//! alignment | tensors. All numbers are little-endian; nothing here trusts any of them.

mod metadata;
mod reader;
mod tensors;

use std::io::Read;

use super::error::optional;
use super::file::SourceFile;
use super::{SourceError, TensorInfo};
pub use metadata::GgufMetadata;
use reader::Reader;

const MAGIC: [u8; 4] = *b"GGUF";
const VERSIONS: std::ops::RangeInclusive<u32> = 2..=3;
const METADATA_COUNT_MAX: u64 = 1 << 16;
const TENSOR_COUNT_MAX: u64 = 1 << 16;
/// The tensors begin at, and each lies at, a multiple of this where the file names no other alignment.
const ALIGNMENT_DEFAULT: u32 = 32;
const ALIGNMENT_MAX: u32 = 1 << 20;

/// The head of a GGUF file.
#[derive(Debug)]
pub struct Gguf {
    /// The keys and their values.
    pub metadata: GgufMetadata,
    /// The tensors, in the order of their bytes.
    pub tensors: Vec<TensorInfo>,
}

/// Parses a GGUF file that lies in memory.
pub fn parse_gguf(bytes: &[u8]) -> Result<Gguf, SourceError> {
    parse(Reader::new(bytes, "gguf", bytes.len() as u64))
}

/// Parses the head of an open file; the weights stay where they are.
pub(super) fn open(source: &SourceFile) -> Result<Gguf, SourceError> {
    let gguf = parse(Reader::new(source.stream(), &source.label, source.bytes))?;
    let parts = optional(gguf.metadata.get_u32("split.count"))?.unwrap_or(1);
    if parts > 1 {
        return Err(SourceError::KeyKind {
            file: source.label.clone(),
            key: "split.count".into(),
            expected: "1 (merge the parts of a split model first)",
            found: parts.to_string(),
        });
    }
    Ok(gguf)
}

fn parse<R: Read>(mut reader: Reader<'_, R>) -> Result<Gguf, SourceError> {
    check_magic(&mut reader)?;
    let version_offset = reader.offset();
    let version = reader.take_u32("version")?;
    if !VERSIONS.contains(&version) {
        let found =
            if VERSIONS.contains(&version.swap_bytes()) { "a big-endian file".to_owned() } else { version.to_string() };
        return Err(reader.unexpected("version", version_offset, "2 or 3", found));
    }
    let tensor_count = reader.take_count("tensor count", TENSOR_COUNT_MAX)?;
    let metadata_count = reader.take_count("metadata count", METADATA_COUNT_MAX)?;
    let metadata = GgufMetadata::take(&mut reader, metadata_count)?;
    let alignment = alignment(&metadata)?;
    let tensors = tensors::take(&mut reader, tensor_count, alignment)?;
    Ok(Gguf { metadata, tensors })
}

fn check_magic<R: Read>(reader: &mut Reader<'_, R>) -> Result<(), SourceError> {
    let found = if reader.remaining() < MAGIC.len() as u64 {
        format!("a file of {} bytes", reader.remaining())
    } else {
        let magic: [u8; MAGIC.len()] = reader.take("magic")?;
        if magic == MAGIC {
            return Ok(());
        }
        format!("\"{}\"", magic.escape_ascii())
    };
    Err(SourceError::NotAModel {
        file: reader.label().to_owned(),
        expected: "the magic \"GGUF\" (or a folder with config.json)".into(),
        found,
    })
}

fn alignment(metadata: &GgufMetadata) -> Result<u64, SourceError> {
    let key = "general.alignment";
    let alignment = optional(metadata.get_u32(key))?.unwrap_or(ALIGNMENT_DEFAULT);
    if alignment.is_power_of_two() && alignment <= ALIGNMENT_MAX {
        return Ok(alignment.into());
    }
    Err(metadata.wrong(key, "a power of two up to 1048576", alignment.to_string()))
}
const _: () = assert!(ALIGNMENT_MAX == 1_048_576, "the message above names it");
