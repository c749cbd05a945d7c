//! The blob while it is written: under a temporary name beside its own, synced, then renamed.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use hardtack_format::limits::{MAGIC, TENSOR_ALIGNMENT};
use tempfile::NamedTempFile;

use super::error::BakeError;
use crate::files::{folder_of, persist, remove_dead, temporary};

/// A file under a temporary name, which is removed unless it is finished.
pub struct PartialFile {
    file: NamedTempFile,
    output: PathBuf,
    /// Where the next byte goes.
    at: u64,
    /// Of the section so far.
    hasher: blake3::Hasher,
}

impl PartialFile {
    /// Begins the file that goes to `output`, after removing what dead bakes left beside it.
    pub fn create(output: &Path) -> Result<Self, BakeError> {
        refuse_occupied(output)?;
        remove_dead(output);
        let file = temporary(output)
            .map_err(|source| BakeError::Write { path: output.to_owned(), source })?;
        Ok(Self { file, output: output.to_owned(), at: 0, hasher: blake3::Hasher::new() })
    }

    /// Refuses a file of this many bytes where there is no room for it, or where the process may
    /// not write one so long.
    pub fn expect_room(&self, bytes: u64) -> Result<(), BakeError> {
        let (room, of) = room(self.file.as_file());
        if bytes <= room {
            return Ok(());
        }
        let path = self.output.clone();
        Err(BakeError::Room { path, needed: bytes, room, of })
    }

    /// Where the next byte goes.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The hash of the section so far.
    pub fn section_hash(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }

    fn failed(&self, source: io::Error) -> BakeError {
        BakeError::Write { path: self.output.clone(), source }
    }

    /// Padding before a section is a hole of the file, which reads as zeros.
    pub fn start_section(&mut self, offset: u64) -> Result<(), BakeError> {
        self.file
            .as_file_mut()
            .seek(SeekFrom::Start(offset))
            .map_err(|error| self.failed(error))?;
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
        self.file.as_file_mut().write_all(bytes).map_err(|error| self.failed(error))?;
        self.hasher.update(bytes);
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Writes the header and the index last, makes sure that all of it is on the disk, and names
    /// the file.
    pub fn finish(mut self, head: &[u8]) -> Result<(), BakeError> {
        self.start_section(0)?;
        self.put(head)?;
        persist(self.file, &self.output)
            .map_err(|source| BakeError::Write { path: self.output.clone(), source })?;
        // The new name itself is only safe once the folder is on the disk. Where folders cannot be
        // synced, it is the system's business.
        if let Ok(folder) = File::open(folder_of(&self.output)) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

/// Bytes that a file may have, by the room of its file system and by what the process may write.
#[cfg(unix)]
fn room(file: &File) -> (u64, &'static str) {
    let disk =
        rustix::fs::fstatvfs(file).map_or(u64::MAX, |of| of.f_bavail.saturating_mul(of.f_frsize));
    let limit =
        rustix::process::getrlimit(rustix::process::Resource::Fsize).current.unwrap_or(u64::MAX);
    if limit < disk {
        (limit, "the process may write no longer file")
    } else {
        (disk, "the file system has no more")
    }
}

#[cfg(not(unix))]
fn room(_: &File) -> (u64, &'static str) {
    (u64::MAX, "")
}

/// Only a blob may be replaced by a blob: neither a folder or a device, nor the checkpoint or any
/// other file.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_dead_bake_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("m.tack");
        let alive = PartialFile::create(&output).unwrap();
        let write = |name: &str| fs::write(folder.path().join(name), "x").unwrap();
        let dead = ["m.tack.abcdefghij12.partial", "m.tack.tables.ABCDEFGHIJ12.partial"];
        let others = [
            "m.tack.partial",
            "m.tack.download.partial",
            "other.tack.abcdefghij12.partial",
            "m.tack.codes",
        ];
        dead.iter().chain(&others).for_each(|name| write(name));
        #[cfg(unix)]
        std::os::unix::fs::symlink(
            "m.tack.codes",
            folder.path().join("m.tack.abcdefghij34.partial"),
        )
        .unwrap();

        let second = PartialFile::create(&output).unwrap();
        let found = names(folder.path());
        assert!(dead.iter().all(|name| !found.iter().any(|own| own == name)), "{found:?}");
        assert!(others.iter().all(|name| found.iter().any(|own| own == name)), "{found:?}");
        // The link, and the two files that are being written.
        assert_eq!(found.len(), others.len() + 2 + usize::from(cfg!(unix)), "{found:?}");

        alive.finish(&MAGIC).unwrap();
        drop(second);
        let found = names(folder.path());
        assert_eq!(found.len(), others.len() + 1 + usize::from(cfg!(unix)), "{found:?}");
        assert!(output.is_file());
    }

    #[test]
    fn there_is_no_room_for_everything() {
        let folder = tempfile::tempdir().unwrap();
        let file = PartialFile::create(&folder.path().join("m.tack")).unwrap();
        assert!(file.expect_room(1 << 10).is_ok());
        if cfg!(unix) {
            let error = file.expect_room(u64::MAX).unwrap_err();
            assert!(matches!(error, BakeError::Room { needed: u64::MAX, .. }), "{error}");
        }
    }
}
