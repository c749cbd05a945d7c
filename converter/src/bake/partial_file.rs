//! A file that appears complete or not at all: written under a temporary name beside its own, synced, then renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use hardtack_format::limits::{MAGIC, TENSOR_ALIGNMENT};

use super::error::BakeError;

/// Temporary names that are tried: an earlier bake that was killed may have left one behind.
const NAMES_MAX: u32 = 100;

/// A file under a temporary name, which is removed unless it is finished.
pub struct PartialFile {
    file: Option<File>,
    temporary: PathBuf,
    output: PathBuf,
    /// Where the next byte goes.
    at: u64,
    /// Of the section so far.
    hasher: blake3::Hasher,
}

impl PartialFile {
    /// Begins the file that shall stand at `output`.
    pub fn create(output: &Path) -> Result<Self, BakeError> {
        refuse_occupied(output)?;
        let mut number = 0;
        loop {
            let mut name = output.file_name().unwrap_or_default().to_owned();
            name.push(format!(".{}-{number}.partial", std::process::id()));
            let temporary = output.with_file_name(name);
            match OpenOptions::new().write(true).create_new(true).open(&temporary) {
                Ok(file) => {
                    let output = output.to_owned();
                    return Ok(Self { file: Some(file), temporary, output, at: 0, hasher: blake3::Hasher::new() });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < NAMES_MAX => number += 1,
                Err(source) => return Err(BakeError::Write { path: output.to_owned(), source }),
            }
        }
    }

    /// Where the next byte goes.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The hash of the section so far.
    pub fn section_hash(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }

    fn file(&mut self) -> &mut File {
        self.file.as_mut().expect("open until finished")
    }

    fn failed(&self, source: io::Error) -> BakeError {
        BakeError::Write { path: self.output.clone(), source }
    }

    /// Padding before a section is a hole of the file, which reads as zeros.
    pub fn start_section(&mut self, offset: u64) -> Result<(), BakeError> {
        self.file().seek(SeekFrom::Start(offset)).map_err(|error| self.failed(error))?;
        self.at = offset;
        self.hasher = blake3::Hasher::new();
        Ok(())
    }

    /// Zeros up to an offset inside a section.
    pub fn pad_to(&mut self, offset: u64) -> Result<(), BakeError> {
        let padding = [0; TENSOR_ALIGNMENT as usize];
        self.put(&padding[..(offset - self.at) as usize])
    }

    /// Bytes of the section.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), BakeError> {
        self.file().write_all(bytes).map_err(|error| self.failed(error))?;
        self.hasher.update(bytes);
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Writes the header and the index last, makes sure that all of it is on the disk, and gives the file its name.
    pub fn finish(mut self, head: &[u8]) -> Result<(), BakeError> {
        self.start_section(0)?;
        self.put(head)?;
        self.file().sync_all().map_err(|error| self.failed(error))?;
        self.file = None;
        fs::rename(&self.temporary, &self.output)
            .map_err(|source| BakeError::Write { path: self.output.clone(), source })?;
        // The new name itself is only safe once the folder is on the disk. Where folders cannot be synced, it is the
        // system's business.
        if let Ok(folder) = File::open(folder_of(&self.output)) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl Drop for PartialFile {
    /// Removes what was not finished. After `finish` the temporary name is gone and this does nothing.
    fn drop(&mut self) {
        self.file = None;
        let _ = fs::remove_file(&self.temporary);
    }
}

/// The folder that a file stands in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file beside another: its name with an extension more.
#[cfg(feature = "calibrate")]
pub fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(extension);
    path.with_file_name(name)
}

/// Puts bytes where a file of our own may stand: written under a temporary name, synced, then renamed. The temporary name can
/// be guessed, so whatever is there is removed and never followed.
#[cfg(feature = "calibrate")]
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = beside(path, &format!("{}.partial", std::process::id()));
    let _ = fs::remove_file(&temporary);
    let written = File::create_new(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&temporary, path));
    if renamed.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    renamed
}

/// Only a blob may be replaced by a blob: neither a folder or a device, nor the checkpoint or any other file.
fn refuse_occupied(output: &Path) -> Result<(), BakeError> {
    let occupied = |found| Err(BakeError::Occupied { path: output.to_owned(), found });
    let Ok(metadata) = fs::metadata(output) else { return Ok(()) };
    if !metadata.is_file() {
        return occupied("a folder or a device");
    }
    let mut magic = [0; MAGIC.len()];
    match File::open(output).and_then(|mut file| file.read_exact(&mut magic)) {
        Ok(()) if magic == MAGIC => Ok(()),
        _ if metadata.len() == 0 => Ok(()),
        _ => occupied("another file"),
    }
}
