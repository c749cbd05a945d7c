//! The head of one GGUF file.

use std::io::Read;

use super::metadata::GgufMetadata;
use super::reader::Reader;
use super::tensors;
use crate::source::error::{SourceError, one_line, optional};
use crate::source::file::SourceFile;
use crate::source::tensor::TensorInfo;

const MAGIC: [u8; 4] = *b"GGUF";
const VERSIONS: std::ops::RangeInclusive<u32> = 2..=3;
const METADATA_COUNT_MAX: u64 = 1 << 16;
const TENSOR_COUNT_MAX: u64 = 1 << 16;
/// The tensors begin at, and each lies at, a multiple of this where the file names no other
/// alignment.
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

/// Parses the head of one file. A piece of a file that was cut by bytes looks like a damaged one,
/// and is known by its name.
pub fn read(source: &SourceFile) -> Result<Gguf, SourceError> {
    parse(Reader::new(source.stream(), &source.label, source.bytes)).map_err(|error| match error {
        SourceError::NotAModel { .. }
        | SourceError::Ends { .. }
        | SourceError::Unexpected { .. } => {
            let name = source.path.file_name().unwrap_or_default().to_string_lossy();
            let is_piece = |rest: &str| {
                rest.contains(|own: char| own.is_ascii_digit()) || rest.contains("split")
            };
            match name.split_once(".gguf").filter(|(_, rest)| is_piece(rest)) {
                Some((stem, rest)) => SourceError::Piece {
                    file: source.label.clone(),
                    ending: one_line(rest),
                    whole: one_line(&format!("{stem}.gguf")),
                },
                None => error,
            }
        }
        error => error,
    })
}

fn parse<R: Read>(mut reader: Reader<'_, R>) -> Result<Gguf, SourceError> {
    check_magic(&mut reader)?;
    let version_offset = reader.offset();
    let version = reader.take_u32("version")?;
    if !VERSIONS.contains(&version) {
        let (expected, found) = match version {
            1 => (
                "2 or 3: convert the model again, with llama.cpp of August 2023 or later",
                "1".to_owned(),
            ),
            _ if (1..=*VERSIONS.end()).contains(&version.swap_bytes()) => (
                "a little-endian file: convert it with gguf-py's gguf_convert_endian",
                "a big-endian file".to_owned(),
            ),
            _ => ("2 or 3", version.to_string()),
        };
        return Err(reader.unexpected("version", version_offset, expected, found));
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
        match &magic {
            _ if magic == MAGIC => return Ok(()),
            // The numbers 0x67676d6c and so on, stored with the low byte first.
            b"lmgg" | b"fmgg" | b"tjgg" | b"algg" => {
                "a GGML file from before GGUF: convert the model again from its original weights"
                    .to_owned()
            }
            _ => format!("\"{}\"", magic.escape_ascii()),
        }
    };
    Err(SourceError::NotAModel {
        file: reader.label().to_owned(),
        expected: "the magic \"GGUF\" (or a folder with config.json)".into(),
        found,
    })
}

pub fn alignment(metadata: &GgufMetadata) -> Result<u64, SourceError> {
    let key = "general.alignment";
    let alignment = optional(metadata.get_u32(key))?.unwrap_or(ALIGNMENT_DEFAULT);
    if alignment.is_power_of_two() && alignment <= ALIGNMENT_MAX {
        return Ok(alignment.into());
    }
    Err(metadata.wrong(key, "a power of two up to 1048576", alignment.to_string()))
}
const _: () = assert!(ALIGNMENT_MAX == 1_048_576, "the message above names it");
