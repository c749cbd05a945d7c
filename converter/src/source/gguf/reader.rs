//! Little-endian numbers and strings taken one after another, never past the end, each error naming
//! the byte.

use std::io::Read;

use super::super::SourceError;

/// A forward reader that knows where it is and how much is left.
pub(super) struct Reader<'a, R> {
    input: R,
    label: &'a str,
    offset: u64,
    file_bytes: u64,
}

impl<'a, R: Read> Reader<'a, R> {
    pub fn new(input: R, label: &'a str, file_bytes: u64) -> Self {
        Self { input, label, offset: 0, file_bytes }
    }

    pub fn label(&self) -> &'a str {
        self.label
    }

    pub fn offset(&self) -> u64 {
        self.offset
    }

    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    pub fn remaining(&self) -> u64 {
        self.file_bytes - self.offset
    }

    pub fn take<const N: usize>(&mut self, what: &str) -> Result<[u8; N], SourceError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, what)?;
        Ok(bytes)
    }

    pub fn take_u32(&mut self, what: &str) -> Result<u32, SourceError> {
        self.take(what).map(u32::from_le_bytes)
    }

    pub fn take_u64(&mut self, what: &str) -> Result<u64, SourceError> {
        self.take(what).map(u64::from_le_bytes)
    }

    /// A u64 that may not exceed `limit`, so that it also fits a `usize`.
    pub fn take_count(&mut self, what: &str, limit: u64) -> Result<usize, SourceError> {
        let offset = self.offset;
        let count = self.take_u64(what)?;
        match usize::try_from(count) {
            Ok(fitting) if count <= limit => Ok(fitting),
            _ => Err(self.unexpected(what, offset, format!("at most {limit}"), count)),
        }
    }

    /// `count` numbers of `N` bytes; memory is taken only after the file is known to hold them.
    pub fn take_many<const N: usize, T>(
        &mut self,
        what: &str,
        count: usize,
        decode: fn([u8; N]) -> T,
    ) -> Result<Vec<T>, SourceError> {
        self.check_left(what, (count as u64).saturating_mul(N as u64))?;
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(decode(self.take(what)?));
        }
        Ok(values)
    }

    /// A u64 length, and as many bytes of UTF-8.
    pub fn take_string(&mut self, what: &str, bytes_max: u64) -> Result<String, SourceError> {
        let offset = self.offset;
        let length = self.take_count(what, bytes_max)?;
        self.check_left(what, length as u64)?;
        let mut bytes = vec![0; length];
        self.fill(&mut bytes, what)?;
        String::from_utf8(bytes).map_err(|error| {
            let place = error.utf8_error().valid_up_to();
            let found = format!("byte {:#04x} at {place} in it", error.as_bytes()[place]);
            self.unexpected(what, offset, "UTF-8", found)
        })
    }

    /// A string that names something: it will be shown in messages, so it may hold no control
    /// characters.
    pub fn take_name(&mut self, what: &str, bytes_max: u64) -> Result<String, SourceError> {
        let offset = self.offset;
        let name = self.take_string(what, bytes_max)?;
        if name.is_empty() || name.chars().any(char::is_control) {
            let expected = "a name without control characters";
            return Err(self.unexpected(what, offset, expected, format!("{name:?}")));
        }
        Ok(name)
    }

    pub fn unexpected(
        &self,
        what: impl Into<String>,
        offset: u64,
        expected: impl Into<String>,
        found: impl ToString,
    ) -> SourceError {
        SourceError::Unexpected {
            file: self.label.to_owned(),
            what: what.into(),
            offset,
            expected: expected.into(),
            found: found.to_string(),
        }
    }

    fn check_left(&self, what: &str, bytes: u64) -> Result<(), SourceError> {
        if bytes <= self.remaining() {
            return Ok(());
        }
        Err(SourceError::Ends {
            file: self.label.to_owned(),
            what: what.to_owned(),
            expected: self.offset.saturating_add(bytes),
            found: self.file_bytes,
        })
    }

    fn fill(&mut self, target: &mut [u8], what: &str) -> Result<(), SourceError> {
        self.check_left(what, target.len() as u64)?;
        self.input
            .read_exact(target)
            .map_err(|source| SourceError::Io { file: self.label.to_owned(), source })?;
        self.offset += target.len() as u64;
        Ok(())
    }
}
