//! What a session's cache writes, kept in memory for another session to read: how sessions on a
//! device are forked.

use std::path::PathBuf;

use crate::error::Error;
use crate::pipe::Pipe;

/// What was written.
#[derive(Debug, Default)]
pub struct Recording(Vec<u8>);

/// What is left to be read.
#[derive(Debug)]
pub struct Replay<'a>(&'a [u8]);

impl Recording {
    /// Reads it from the start.
    pub fn replay(&self) -> Replay<'_> {
        Replay(&self.0)
    }
}

impl Pipe for Recording {
    fn reads(&self) -> bool {
        false
    }

    fn bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        let room = self.0.try_reserve(bytes.len());
        room.map_err(|_| Error::Allocation { bytes: bytes.len() as u64 })?;
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn refuse(&self, what: &'static str, expected: String, found: String) -> Error {
        refused(what, expected, found)
    }
}

impl Pipe for Replay<'_> {
    fn reads(&self) -> bool {
        true
    }

    fn bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        let Some((read, rest)) = self.0.split_at_checked(bytes.len()) else {
            let expected = format!("{} more bytes", bytes.len());
            return Err(refused("length", expected, "the end".to_owned()));
        };
        bytes.copy_from_slice(read);
        self.0 = rest;
        Ok(())
    }

    fn refuse(&self, what: &'static str, expected: String, found: String) -> Error {
        refused(what, expected, found)
    }
}

fn refused(what: &'static str, expected: String, found: String) -> Error {
    Error::Saved { path: PathBuf::from("a fork"), offset: 0, what, expected, found }
}
