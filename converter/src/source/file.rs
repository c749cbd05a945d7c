//! One open file, read at any position by any thread, never past its end.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::SourceError;
use super::error::one_line;

/// An open regular file and its length when it was opened.
#[derive(Debug)]
pub(super) struct SourceFile {
    pub path: PathBuf,
    /// The path as error messages show it.
    pub label: String,
    pub bytes: u64,
    file: File,
}

impl SourceFile {
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let label = one_line(&path.display().to_string());
        let io = |source| SourceError::Io { file: label.clone(), source };
        // Asked before opening, because to open a pipe is to wait for its other end.
        if !std::fs::metadata(path).map_err(io)?.is_file() {
            return Err(SourceError::NotAModel {
                file: label,
                expected: "a file".into(),
                found: "something else".into(),
            });
        }
        let file = File::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        Ok(Self { path: path.to_owned(), bytes, label, file })
    }

    /// Fills `target` from `offset` on; `what` names the item in errors.
    pub fn read_at(&self, offset: u64, target: &mut [u8], what: &str) -> Result<(), SourceError> {
        read_exact_at(&self.file, offset, target).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => SourceError::Ends {
                file: self.label.clone(),
                what: what.to_owned(),
                expected: offset.saturating_add(target.len() as u64),
                found: self.file.metadata().map_or(self.bytes, |metadata| metadata.len()),
            },
            _ => SourceError::Io { file: self.label.clone(), source },
        })
    }

    /// The whole file, which may hold at most `bytes_max`.
    pub fn read_all(&self, bytes_max: u64) -> Result<Vec<u8>, SourceError> {
        if self.bytes > bytes_max {
            return Err(SourceError::Unexpected {
                file: self.label.clone(),
                what: "end of file".into(),
                offset: self.bytes,
                expected: format!("at most {bytes_max} bytes"),
                found: format!("{} bytes", self.bytes),
            });
        }
        let mut bytes = vec![0; self.bytes as usize];
        self.read_at(0, &mut bytes, "text")?;
        Ok(bytes)
    }

    /// A second cursor into the file, for parsers that read forward.
    pub fn stream(&self) -> impl io::Read + '_ {
        io::BufReader::new(Stream { source: self, offset: 0 })
    }
}

struct Stream<'a> {
    source: &'a SourceFile,
    offset: u64,
}

impl io::Read for Stream<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let count = read_some_at(&self.source.file, self.offset, target)?;
        self.offset += count as u64;
        Ok(count)
    }
}

fn read_exact_at(file: &File, mut offset: u64, mut target: &mut [u8]) -> io::Result<()> {
    while !target.is_empty() {
        match read_some_at(file, offset, target) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                offset += count as u64;
                target = &mut target[count..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(unix)]
fn read_some_at(file: &File, offset: u64, target: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, target, offset)
}

/// `seek_read` moves the cursor, but takes its position from the argument, so that threads do not
/// disturb each other.
#[cfg(windows)]
fn read_some_at(file: &File, offset: u64, target: &mut [u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, target, offset)
}
