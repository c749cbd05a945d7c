//! The fixed records of a blob: header, section records and tensor records, each way.

use alloc::vec::Vec;

use crate::cursor::{Cursor, Put, expect_equal};
use crate::encoding::Encoding;
use crate::error::FormatError;
use crate::limits::*;
use crate::role::{Role, SectionKey, SectionKind};

/// A BLAKE3 hash.
pub type Hash = [u8; 32];

/// The fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Length of the whole file.
    pub file_bytes: u64,
    /// How many section records follow the header.
    pub section_count: u32,
    /// How many tensor records follow the section records.
    pub tensor_count: u32,
    /// BLAKE3 of the header's fields before this one and of the index. As the index holds every
    /// section's hash, this names the whole blob.
    pub root: Hash,
}

impl Header {
    /// Bytes of the index after the header. Cannot overflow within the limits.
    pub const fn index_bytes(&self) -> usize {
        self.section_count as usize * SECTION_RECORD_BYTES
            + self.tensor_count as usize * TENSOR_RECORD_BYTES
    }

    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&MAGIC);
        out.put_u32(VERSION);
        out.put_u32(HEADER_BYTES as u32);
        out.put_u64(self.file_bytes);
        out.put_u32(self.section_count);
        out.put_u32(self.tensor_count);
        out.resize(HEADER_HASHED_BYTES, 0);
        out.extend_from_slice(&self.root);
        out.resize(HEADER_BYTES, 0);
        out
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut cursor = Cursor::new(bytes, 0);
        let magic = u64::from_le_bytes(cursor.take_array()?);
        expect_equal("magic", 0, u64::from_le_bytes(MAGIC), magic)?;
        cursor.expect("version", VERSION)?;
        cursor.expect("header_bytes", HEADER_BYTES as u32)?;
        let file_bytes_at = cursor.offset();
        let file_bytes = cursor.take_u64()?;
        if file_bytes > FILE_BYTES_MAX {
            return Err(FormatError::OverLimit {
                field: "file_bytes",
                offset: file_bytes_at,
                value: file_bytes,
                limit: FILE_BYTES_MAX,
            });
        }
        let section_count = cursor.take_positive("section_count", SECTIONS_MAX)?;
        let tensor_count = cursor.take_positive("tensor_count", TENSORS_MAX)?;
        cursor.expect_zeros("header reserved", HEADER_HASHED_BYTES - 32)?;
        let root = cursor.take_array()?;
        cursor.expect_zeros("header reserved", HEADER_BYTES - HEADER_HASHED_BYTES - 32)?;
        Ok(Self { file_bytes, section_count, tensor_count, root })
    }
}

/// Where a section of `bytes` begins after the file's first `end` bytes: large ones on a page,
/// small ones without a page's padding.
pub const fn section_offset(end: u64, bytes: u64) -> u64 {
    end.next_multiple_of(if bytes >= LARGE_SECTION_BYTES {
        SECTION_ALIGNMENT
    } else {
        TENSOR_ALIGNMENT
    })
}

/// One section of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionRecord {
    /// What it is.
    pub key: SectionKey,
    /// Number of its first tensor record.
    pub first_tensor: u32,
    /// How many tensors it holds.
    pub tensor_count: u32,
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length without padding.
    pub bytes: u64,
    /// BLAKE3 of its bytes.
    pub hash: Hash,
}

impl SectionRecord {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.put_u16(self.key.kind as u16);
        out.put_u16(0);
        out.put_u32(self.key.layer);
        out.put_u32(self.key.expert);
        out.put_u32(self.first_tensor);
        out.put_u32(self.tensor_count);
        out.put_u32(0);
        out.put_u64(self.offset);
        out.put_u64(self.bytes);
        out.extend_from_slice(&self.hash);
    }

    pub(crate) fn from_bytes(bytes: &[u8], base: u64) -> Result<Self, FormatError> {
        let mut cursor = Cursor::new(bytes, base);
        let number = cursor.take_u16()?;
        let kind = SectionKind::from_number(number).ok_or(FormatError::Unknown {
            field: "section kind",
            offset: base,
            value: number.into(),
        })?;
        cursor.expect_zeros("section reserved", 2)?;
        let layer = cursor.take_count("section layer", LAYERS_MAX - 1)?;
        let expert = cursor.take_count("section expert", EXPERTS_MAX - 1)?;
        let first_tensor = cursor.take_count("section first_tensor", TENSORS_MAX)?;
        let tensor_count = cursor.take_count("section tensor_count", TENSORS_MAX)?;
        cursor.expect_zeros("section reserved", 4)?;
        let offset = cursor.take_u64()?;
        let bytes_at = cursor.offset();
        let bytes = cursor.take_u64()?;
        let limit = if kind.has_tensors() { FILE_BYTES_MAX } else { PLAIN_SECTION_BYTES_MAX };
        if bytes > limit {
            return Err(FormatError::OverLimit {
                field: "section bytes",
                offset: bytes_at,
                value: bytes,
                limit,
            });
        }
        let hash = cursor.take_array()?;
        Ok(Self {
            key: SectionKey { kind, layer, expert },
            first_tensor,
            tensor_count,
            offset,
            bytes,
            hash,
        })
    }
}

/// One tensor of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorRecord {
    /// Number of its section.
    pub section: u32,
    /// What it is for.
    pub role: Role,
    /// How its bytes mean numbers.
    pub encoding: Encoding,
    /// How many equal matrices are one after another.
    pub stack: u32,
    /// Rows of each matrix (outputs).
    pub rows: u32,
    /// Columns of each matrix (inputs).
    pub columns: u32,
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length, which follows from the encoding and the shape.
    pub bytes: u64,
}

impl TensorRecord {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.put_u32(self.section);
        out.put_u16(self.role as u16);
        out.put_u16(self.encoding as u16);
        out.put_u32(self.stack);
        out.put_u32(self.rows);
        out.put_u32(self.columns);
        out.put_u32(0);
        out.put_u64(self.offset);
        out.put_u64(self.bytes);
    }

    pub(crate) fn from_bytes(bytes: &[u8], base: u64) -> Result<Self, FormatError> {
        let mut cursor = Cursor::new(bytes, base);
        let section = cursor.take_count("tensor section", SECTIONS_MAX - 1)?;
        let role_at = cursor.offset();
        let number = cursor.take_u16()?;
        let role = Role::from_number(number).ok_or(FormatError::Unknown {
            field: "tensor role",
            offset: role_at,
            value: number.into(),
        })?;
        let encoding_at = cursor.offset();
        let number = cursor.take_u16()?;
        let encoding = Encoding::from_number(number).ok_or(FormatError::Unknown {
            field: "tensor encoding",
            offset: encoding_at,
            value: number.into(),
        })?;
        let stack = cursor.take_positive("tensor stack", STACK_MAX)?;
        let rows = cursor.take_positive("tensor rows", DIMENSION_MAX)?;
        let columns = cursor.take_positive("tensor columns", DIMENSION_MAX)?;
        cursor.expect_zeros("tensor reserved", 4)?;
        let offset = cursor.take_u64()?;
        let bytes_at = cursor.offset();
        let bytes = cursor.take_u64()?;
        let expected = encoding.tensor_bytes(stack, rows, columns).unwrap_or(u64::MAX);
        expect_equal("tensor bytes", bytes_at, expected, bytes)?;
        Ok(Self { section, role, encoding, stack, rows, columns, offset, bytes })
    }
}
