//! GGUF's tensor table: names, dimensions, kinds, and byte ranges that neither overlap nor leave
//! the file.

use std::collections::HashSet;
use std::io::Read;

use super::super::tensor::storage_bytes;
use super::super::unreadable::Unreadable;
use super::super::{ElementKind, SourceError, TensorInfo};
use super::reader::Reader;

const NAME_BYTES_MAX: u64 = 1024;
const DIMENSIONS_MAX: u32 = 4;
/// Name length, dimension count, one dimension, kind, offset.
const ENTRY_BYTES_MIN: u64 = 8 + 4 + 8 + 4 + 8;

/// What to do about a type that nobody here knows.
const ADVICE: &str =
    "take a file of types that llama.cpp has, such as Q8_0 or Q6_K, or the original weights";

/// Reads `count` entries and places them after the table, at a multiple of `alignment`.
pub(super) fn take<R: Read>(
    reader: &mut Reader<'_, R>,
    count: usize,
    alignment: u64,
) -> Result<Vec<TensorInfo>, SourceError> {
    let mut names = HashSet::new();
    let fitting = (reader.remaining() / ENTRY_BYTES_MIN) as usize;
    let mut tensors = Vec::with_capacity(count.min(fitting));
    let mut unknown = Unreadable::default();
    for _ in 0..count {
        let entry_offset = reader.offset();
        let entry = take_entry(reader, alignment)?;
        if !names.insert(entry.name().to_owned()) {
            let what = format!("tensor {}", entry.name());
            return Err(reader.unexpected(
                what,
                entry_offset,
                "each name once",
                "it a second time",
            ));
        }
        match entry {
            Entry::Known(tensor) => tensors.push(tensor),
            Entry::Unknown { name, number } => unknown.add(describe(number), &name),
        }
    }
    // Where a tensor ends is known by its type, so all are named at once.
    unknown.refuse(reader.label(), count, ADVICE)?;
    // The table ends inside the file and the alignment is small, so this cannot overflow.
    let data_start = reader.offset().next_multiple_of(alignment);
    tensors.sort_by_key(|tensor| tensor.offset);
    let mut free_from = data_start;
    let mut before: Option<(String, ElementKind)> = None;
    for tensor in &mut tensors {
        place(reader, tensor, data_start, free_from, before.as_ref())?;
        free_from = tensor.offset.saturating_add(tensor.bytes);
        before = Some((tensor.name.clone(), tensor.kind));
    }
    match tensors.last() {
        Some(last) if free_from > reader.file_bytes() => Err(SourceError::Ends {
            file: reader.label().to_owned(),
            what: format!("tensor {}", last.name),
            expected: free_from,
            found: reader.file_bytes(),
        }),
        _ => {
            check_layouts(reader, &tensors, alignment)?;
            Ok(tensors)
        }
    }
}

/// What a number is known for that llama.cpp has no layout for (any more).
fn describe(number: u32) -> String {
    let name = match number {
        4 => "Q4_2, dropped from llama.cpp in 2023",
        5 => "Q4_3, dropped from llama.cpp in 2023",
        31 => "Q4_0_4_4, which is Q4_0 in other order, dropped from llama.cpp in 2024",
        32 => "Q4_0_4_8, which is Q4_0 in other order, dropped from llama.cpp in 2024",
        33 => "Q4_0_8_8, which is Q4_0 in other order, dropped from llama.cpp in 2024",
        36 => "IQ4_NL_4_4, dropped from llama.cpp, or I2_S of bitnet.cpp",
        37 => "IQ4_NL_4_8, dropped from llama.cpp",
        38 => "IQ4_NL_8_8, dropped from llama.cpp",
        // Its numbers begin at 96 and have gaps.
        96..400 => "perhaps of the fork ik_llama.cpp",
        _ => return format!("type {number}"),
    };
    format!("type {number} ({name})")
}

/// One entry of the table.
enum Entry {
    Known(TensorInfo),
    /// Of an element type that nobody here knows the size of.
    Unknown {
        name: String,
        number: u32,
    },
}

impl Entry {
    fn name(&self) -> &str {
        match self {
            Self::Known(tensor) => &tensor.name,
            Self::Unknown { name, .. } => name,
        }
    }
}

/// name | dimension count u32 | dimensions u64, the contiguous one first | kind u32 | offset u64
/// from the data's start.
fn take_entry<R: Read>(reader: &mut Reader<'_, R>, alignment: u64) -> Result<Entry, SourceError> {
    let name = reader.take_name("tensor name", NAME_BYTES_MAX)?;
    let what = format!("tensor {name}");
    let count_offset = reader.offset();
    let count = reader.take_u32(&what)?;
    if !(1..=DIMENSIONS_MAX).contains(&count) {
        let expected = format!("1 to {DIMENSIONS_MAX} dimensions");
        return Err(reader.unexpected(what, count_offset, expected, count));
    }
    let mut shape = Vec::with_capacity(count as usize);
    for _ in 0..count {
        shape.push(reader.take_count(&what, usize::MAX as u64)?);
    }
    shape.reverse();

    let number = reader.take_u32(&what)?;
    let offset_offset = reader.offset();
    let offset = reader.take_u64(&what)?;
    let Some(kind) = ElementKind::from_gguf(number) else {
        return Ok(Entry::Unknown { name, number });
    };
    let bytes = storage_bytes(&shape, kind).map_err(|expected| {
        reader.unexpected(what.as_str(), count_offset, expected, format!("{shape:?}"))
    })?;
    if !offset.is_multiple_of(alignment) {
        let expected = format!("an offset divisible by {alignment}");
        return Err(reader.unexpected(what, offset_offset, expected, offset));
    }
    Ok(Entry::Known(TensorInfo { name, shape, kind, file: 0, offset, bytes }))
}

/// Makes the offset one from the start of the file, and checks it against the tensor before.
fn place<R: Read>(
    reader: &Reader<'_, R>,
    tensor: &mut TensorInfo,
    data_start: u64,
    free_from: u64,
    before: Option<&(String, ElementKind)>,
) -> Result<(), SourceError> {
    let offset = data_start.saturating_add(tensor.offset);
    if offset < free_from {
        let what = format!("tensor {}", tensor.name);
        let mut expected = format!("to begin at {free_from} or later");
        if let Some((name, kind)) = before {
            expected.push_str(&format!(", after tensor {name} of type {kind}"));
            if *kind == ElementKind::Q2_0 {
                expected
                    .push_str(" (which has other blocks in a fork: take a file of another type)");
            }
        }
        return Err(reader.unexpected(what, offset, expected, offset));
    }
    tensor.offset = offset;
    Ok(())
}

/// Two layouts go by the number of Q8_1: gguf-py counts the one of 2023, whose scales are f32. The
/// next tensor shows which it is.
fn check_layouts<R: Read>(
    reader: &Reader<'_, R>,
    tensors: &[TensorInfo],
    alignment: u64,
) -> Result<(), SourceError> {
    for (place, tensor) in
        tensors.iter().enumerate().filter(|(_, tensor)| tensor.kind == ElementKind::Q8_1)
    {
        let end = tensor.offset + tensor.bytes;
        let next = tensors.get(place + 1).map_or(reader.file_bytes(), |next| next.offset);
        if next > end.next_multiple_of(alignment) {
            let what = format!("tensor {}: Q8_1", tensor.name);
            let expected = format!("to end at {end}, in blocks of 36 bytes");
            let found = format!(
                "{next}, as with the blocks of 40 bytes of 2023: take a file of another type"
            );
            return Err(reader.unexpected(what, tensor.offset, expected, found));
        }
    }
    Ok(())
}
