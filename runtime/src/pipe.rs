//! A file that numbers and bytes go into or come out of: what a cache is serialized through, in
//! one order for both.

use std::ops::RangeInclusive;

use crate::error::Error;

/// A file that is written, or one that is read and not trusted.
pub trait Pipe {
    /// Whether the file is read.
    fn reads(&self) -> bool;

    /// Writes these bytes, or fills them.
    ///
    /// # Errors
    /// What the system says, or the file is too short.
    fn bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error>;

    /// What is wrong with what was read last.
    fn refuse(&self, what: &'static str, expected: String, found: String) -> Error;

    /// What was read last is right for another model or cache.
    fn elsewhere(&self, what: &'static str, expected: String, found: String) -> Error {
        self.refuse(what, expected, found)
    }

    /// Writes a number, or reads one within bounds.
    ///
    /// # Errors
    /// What the system says, or the number is out of bounds.
    fn number(
        &mut self,
        what: &'static str,
        value: u64,
        bounds: RangeInclusive<u64>,
    ) -> Result<u64, Error> {
        let mut bytes = value.to_le_bytes();
        self.bytes(&mut bytes)?;
        let value = u64::from_le_bytes(bytes);
        if bounds.contains(&value) {
            return Ok(value);
        }
        let (least, most) = (bounds.start(), bounds.end());
        let expected = if least == most { least.to_string() } else { format!("{least} to {most}") };
        Err(self.refuse(what, expected, value.to_string()))
    }
}
