//! The header of a safetensors file: a length, then JSON with a kind, a shape and a byte range for
//! each tensor.

use std::collections::HashSet;
use std::fmt;

use safetensors::tensor::TensorInfo as Entry;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::error::one_line;
use super::file::SourceFile;
use super::tensor::storage_bytes;
use super::{ElementKind, SourceError, TensorInfo};

/// The largest header the format allows.
const HEADER_BYTES_MAX: u64 = 100_000_000;
const LENGTH_BYTES: u64 = 8;
pub(super) const TENSOR_COUNT_MAX: usize = 1 << 20;
pub(super) const NAME_BYTES_MAX: usize = 1024;
const DIMENSIONS_MAX: usize = 8;

/// Parses the beginning of a safetensors file of `file_bytes` bytes; `bytes` must reach to the end
/// of the header.
///
/// Tensors come in the order of their bytes, which follow each other without gaps to the end of the
/// file.
pub fn parse_safetensors_header(
    bytes: &[u8],
    file_bytes: u64,
) -> Result<Vec<TensorInfo>, SourceError> {
    parse("safetensors", bytes, file_bytes)
}

/// Reads and parses the header of an open safetensors file.
pub(super) fn read(source: &SourceFile) -> Result<Vec<TensorInfo>, SourceError> {
    let mut length = [0; LENGTH_BYTES as usize];
    if source.bytes >= LENGTH_BYTES {
        source.read_at(0, &mut length, "header length")?;
    }
    let end = header_end(&source.label, u64::from_le_bytes(length), source.bytes)?;
    let mut bytes = vec![0; end as usize];
    source.read_at(0, &mut bytes, "header")?;
    parse(&source.label, &bytes, source.bytes)
}

/// Checks a header length against the limit and the file, before anything of that size is
/// allocated.
fn header_end(file: &str, header_bytes: u64, file_bytes: u64) -> Result<u64, SourceError> {
    if header_bytes > HEADER_BYTES_MAX {
        return Err(SourceError::Unexpected {
            file: file.to_owned(),
            what: "header length".into(),
            offset: 0,
            expected: format!("at most {HEADER_BYTES_MAX} bytes"),
            found: format!("{header_bytes} bytes"),
        });
    }
    let end = LENGTH_BYTES + header_bytes;
    if end > file_bytes {
        return Err(ends(file, "header".into(), end, file_bytes));
    }
    Ok(end)
}

fn parse(file: &str, bytes: &[u8], file_bytes: u64) -> Result<Vec<TensorInfo>, SourceError> {
    let available = file_bytes.min(bytes.len() as u64);
    let Some((length, _)) = bytes.split_first_chunk::<{ LENGTH_BYTES as usize }>() else {
        return Err(ends(file, "header length".into(), LENGTH_BYTES, available));
    };
    let end = header_end(file, u64::from_le_bytes(*length), available)?;
    let json = &bytes[LENGTH_BYTES as usize..end as usize];
    let Header(mut entries) = serde_json::from_slice(json).map_err(|error| SourceError::Json {
        file: file.to_owned(),
        detail: one_line(&error.to_string()),
    })?;
    entries.sort_by_key(|(_, entry)| entry.data_offsets);

    let mut tensors = Vec::with_capacity(entries.len());
    let mut expected_start = 0;
    for (name, entry) in entries {
        let tensor = lay_out(file, name, entry, end, expected_start, file_bytes)?;
        expected_start += tensor.bytes;
        tensors.push(tensor);
    }
    if end + expected_start != file_bytes {
        return Err(SourceError::Unexpected {
            file: file.to_owned(),
            what: "end of the last tensor".into(),
            offset: end + expected_start,
            expected: format!("a file of {} bytes", end + expected_start),
            found: format!("{file_bytes} bytes"),
        });
    }
    Ok(tensors)
}

/// Checks one tensor: its bytes begin where the last tensor ended, are as many as the shape needs,
/// and are in the file.
fn lay_out(
    file: &str,
    name: String,
    entry: Entry,
    data_start: u64,
    expected_start: u64,
    file_bytes: u64,
) -> Result<TensorInfo, SourceError> {
    let wrong = |item: &str, expected: String, found: String| SourceError::Unexpected {
        file: file.to_owned(),
        what: format!("tensor {name}: {item}"),
        offset: data_start.saturating_add(entry.data_offsets.0 as u64),
        expected,
        found,
    };
    let Some(kind) = ElementKind::from_safetensors(entry.dtype) else {
        return Err(wrong("dtype", "a known kind".into(), entry.dtype.to_string()));
    };
    if entry.shape.len() > DIMENSIONS_MAX {
        let found = entry.shape.len().to_string();
        return Err(wrong("dimensions", format!("at most {DIMENSIONS_MAX}"), found));
    }
    let bytes = storage_bytes(&entry.shape, kind)
        .map_err(|expected| wrong("shape", expected, format!("{:?}", entry.shape)))?;
    let (start, end) = (entry.data_offsets.0 as u64, entry.data_offsets.1 as u64);
    if start != expected_start {
        let expected = format!("data to begin at {expected_start}");
        return Err(wrong("data_offsets", expected, start.to_string()));
    }
    if end.checked_sub(start) != Some(bytes) {
        let expected = format!("{bytes} bytes for {kind} {:?}", entry.shape);
        return Err(wrong("data_offsets", expected, format!("{start} to {end}")));
    }
    let file_end = data_start.saturating_add(end);
    if file_end > file_bytes {
        return Err(ends(file, format!("tensor {name}"), file_end, file_bytes));
    }
    let offset = data_start + start;
    Ok(TensorInfo { name, shape: entry.shape, kind, file: 0, offset, bytes })
}

fn ends(file: &str, what: String, expected: u64, found: u64) -> SourceError {
    SourceError::Ends { file: file.to_owned(), what, expected, found }
}

/// The JSON object of the header. Not the crate's own `Metadata`: that one cannot say which tensor
/// is wrong, takes the last of two tensors of one name, and `read_metadata` wants the whole file in
/// memory.
struct Header(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object that maps names to tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut names = HashSet::new();
        let mut entries = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
                return Err(A::Error::custom("tensor name too long or with control characters"));
            }
            if entries.len() == TENSOR_COUNT_MAX {
                return Err(A::Error::custom(format!("more than {TENSOR_COUNT_MAX} tensors")));
            }
            let entry = map
                .next_value::<Entry>()
                .map_err(|error| A::Error::custom(format!("tensor {name}: {error}")))?;
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("tensor {name} appears twice")));
            }
            entries.push((name, entry));
        }
        Ok(Header(entries))
    }
}
