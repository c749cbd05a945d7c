//! GGUF's tensor table: names, dimensions, kinds, and byte ranges that neither overlap nor leave the file.

use std::collections::HashSet;
use std::io::Read;

use super::super::tensor::storage_bytes;
use super::super::{ElementKind, SourceError, TensorInfo};
use super::reader::Reader;

const NAME_BYTES_MAX: u64 = 1024;
const DIMENSIONS_MAX: u32 = 4;
/// Name length, dimension count, one dimension, kind, offset.
const ENTRY_BYTES_MIN: u64 = 8 + 4 + 8 + 4 + 8;

/// Reads `count` entries and places them behind the table, at a multiple of `alignment`.
pub(super) fn take<R: Read>(
    reader: &mut Reader<'_, R>,
    count: usize,
    alignment: u64,
) -> Result<Vec<TensorInfo>, SourceError> {
    let mut names = HashSet::new();
    let fitting = (reader.remaining() / ENTRY_BYTES_MIN) as usize;
    let mut tensors = Vec::with_capacity(count.min(fitting));
    for _ in 0..count {
        let entry_offset = reader.offset();
        let tensor = take_entry(reader, alignment)?;
        if !names.insert(tensor.name.clone()) {
            let what = format!("tensor {}", tensor.name);
            return Err(reader.unexpected(what, entry_offset, "each name once", "it a second time"));
        }
        tensors.push(tensor);
    }
    // The table ends inside the file and the alignment is small, so this cannot overflow.
    let data_start = reader.offset().next_multiple_of(alignment);
    tensors.sort_by_key(|tensor| tensor.offset);
    let mut free_from = data_start;
    for tensor in &mut tensors {
        place(reader, tensor, data_start, free_from)?;
        free_from = tensor.offset + tensor.bytes;
    }
    Ok(tensors)
}

/// name | dimension count u32 | dimensions u64, the contiguous one first | kind u32 | offset u64 from the data's start.
fn take_entry<R: Read>(reader: &mut Reader<'_, R>, alignment: u64) -> Result<TensorInfo, SourceError> {
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

    let kind_offset = reader.offset();
    let number = reader.take_u32(&what)?;
    let Some(kind) = ElementKind::from_gguf(number) else {
        let found = format!("type {number}");
        return Err(reader.unexpected(what, kind_offset, "a known element type", found));
    };
    let bytes = storage_bytes(&shape, kind)
        .map_err(|expected| reader.unexpected(what.as_str(), count_offset, expected, format!("{shape:?}")))?;

    let offset_offset = reader.offset();
    let offset = reader.take_u64(&what)?;
    if !offset.is_multiple_of(alignment) {
        let expected = format!("an offset divisible by {alignment}");
        return Err(reader.unexpected(what, offset_offset, expected, offset));
    }
    Ok(TensorInfo { name, shape, kind, file: 0, offset, bytes })
}

/// Makes the offset one from the start of the file, and checks the range against the tensor before and the file's end.
fn place<R: Read>(
    reader: &Reader<'_, R>,
    tensor: &mut TensorInfo,
    data_start: u64,
    free_from: u64,
) -> Result<(), SourceError> {
    let offset = data_start.saturating_add(tensor.offset);
    let end = offset.saturating_add(tensor.bytes);
    if offset < free_from {
        let what = format!("tensor {}", tensor.name);
        let expected = format!("to begin at {free_from} or later, behind the tensor before");
        return Err(reader.unexpected(what, offset, expected, offset));
    }
    if end > reader.file_bytes() {
        return Err(SourceError::Ends {
            file: reader.label().to_owned(),
            what: format!("tensor {}", tensor.name),
            expected: end,
            found: reader.file_bytes(),
        });
    }
    tensor.offset = offset;
    Ok(())
}
