//! Reading and writing little-endian fields, every read with its offset and its limit.

use alloc::vec::Vec;

use crate::error::FormatError;

/// A place in a byte slice. Every take either returns a whole field and moves on, or says what was
/// missing where.
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    /// Offset of `bytes[0]` in the file, for messages.
    base: u64,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8], base: u64) -> Self {
        Self { bytes, base, at: 0 }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    pub(crate) fn take_bytes(&mut self, count: usize) -> Result<&'a [u8], FormatError> {
        let rest = &self.bytes[self.at..];
        if rest.len() < count {
            return Err(FormatError::Truncated {
                offset: self.offset(),
                needed: count as u64,
                found: rest.len() as u64,
            });
        }
        self.at += count;
        Ok(&rest[..count])
    }

    pub(crate) fn take_array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take_bytes(N)?);
        Ok(array)
    }

    pub(crate) fn take_u16(&mut self) -> Result<u16, FormatError> {
        Ok(u16::from_le_bytes(self.take_array()?))
    }

    pub(crate) fn take_u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.take_array()?))
    }

    pub(crate) fn take_u64(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(self.take_array()?))
    }

    /// Takes a `u32` that may not exceed `limit`.
    pub(crate) fn take_count(
        &mut self,
        field: &'static str,
        limit: u32,
    ) -> Result<u32, FormatError> {
        let offset = self.offset();
        let value = self.take_u32()?;
        if value <= limit {
            Ok(value)
        } else {
            Err(FormatError::OverLimit { field, offset, value: value.into(), limit: limit.into() })
        }
    }

    /// Takes a `u32` between 1 and `limit`.
    pub(crate) fn take_positive(
        &mut self,
        field: &'static str,
        limit: u32,
    ) -> Result<u32, FormatError> {
        let offset = self.offset();
        match self.take_count(field, limit)? {
            0 => Err(FormatError::Mismatch { field, offset, expected: 1, found: 0 }),
            value => Ok(value),
        }
    }

    /// Takes a finite `f32`.
    pub(crate) fn take_finite(&mut self, field: &'static str) -> Result<f32, FormatError> {
        let offset = self.offset();
        let value = f32::from_le_bytes(self.take_array()?);
        if value.is_finite() { Ok(value) } else { Err(FormatError::BadNumber { field, offset }) }
    }

    /// Takes a finite `f32` that is not below zero.
    pub(crate) fn take_not_negative(&mut self, field: &'static str) -> Result<f32, FormatError> {
        let offset = self.offset();
        let value = self.take_finite(field)?;
        if value >= 0.0 { Ok(value) } else { Err(FormatError::BadNumber { field, offset }) }
    }

    /// Takes a number that must be exactly `expected`.
    pub(crate) fn expect(&mut self, field: &'static str, expected: u32) -> Result<(), FormatError> {
        let offset = self.offset();
        let found = self.take_u32()?;
        expect_equal(field, offset, expected.into(), found.into())
    }

    /// Takes `count` bytes that must be zero.
    pub(crate) fn expect_zeros(
        &mut self,
        field: &'static str,
        count: usize,
    ) -> Result<(), FormatError> {
        let offset = self.offset();
        let bytes = self.take_bytes(count)?;
        match bytes.iter().position(|&byte| byte != 0) {
            None => Ok(()),
            Some(at) => Err(FormatError::Mismatch {
                field,
                offset: offset + at as u64,
                expected: 0,
                found: bytes[at].into(),
            }),
        }
    }

    /// The end of the field must be the end of the bytes.
    pub(crate) fn expect_end(&self, field: &'static str) -> Result<(), FormatError> {
        expect_equal(field, self.offset(), self.at as u64, self.bytes.len() as u64)
    }
}

pub(crate) fn expect_equal(
    field: &'static str,
    offset: u64,
    expected: u64,
    found: u64,
) -> Result<(), FormatError> {
    if expected == found {
        Ok(())
    } else {
        Err(FormatError::Mismatch { field, offset, expected, found })
    }
}

/// Appends little-endian fields.
pub(crate) trait Put {
    fn put_u16(&mut self, value: u16);
    fn put_u32(&mut self, value: u32);
    fn put_u64(&mut self, value: u64);
    fn put_f32(&mut self, value: f32);
}

impl Put for Vec<u8> {
    fn put_u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    fn put_f32(&mut self, value: f32) {
        self.extend_from_slice(&value.to_le_bytes());
    }
}
