//! The bytes of a blob: mapped from the file, or read into memory of our own.
//!
//! A mapped file that is truncated by someone else while it is in use raises SIGBUS on the next access. Where that can
//! happen, use [`Load::Resident`].

use std::fs::File;
use std::io::{self, Read};
use std::ops::Deref;
use std::path::Path;

use memmap2::{Mmap, MmapOptions};

/// How the weights come into memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Load {
    /// Mapped: pages are read when they are first used, shared with other processes, and given back under pressure.
    #[default]
    Mmap,
    /// Read into anonymous memory before the first token, in huge pages where the system gives them: one lookup of an
    /// address then serves 2 MiB in place of 4 KiB.
    Resident,
}

/// The bytes of an open blob.
#[derive(Debug)]
pub enum BlobFile {
    /// Mapped.
    Mapped(Mmap),
    /// Our own copy.
    Resident(Mmap),
}

impl BlobFile {
    /// Maps a file for reading.
    ///
    /// # Errors
    /// What the system says.
    pub fn map(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        // SAFETY: the mapping is private and read-only. Another process could still change the file's bytes while they are
        // borrowed; the format is validated from the same bytes that are used, and no value read from weights is ever used
        // as an index, so changed bytes give wrong numbers and not wrong accesses. Shrinking the file raises SIGBUS, which
        // the module's documentation warns of.
        Ok(Self::Mapped(unsafe { Mmap::map(&file)? }))
    }

    /// Tells the system that all of it will be read soon. A system that cannot be told reads pages when they are first used.
    pub fn read_ahead(&self) {
        #[cfg(unix)]
        if let Self::Mapped(map) = self {
            _ = map.advise(memmap2::Advice::WillNeed);
        }
    }

    /// Reads a file into memory of our own.
    ///
    /// # Errors
    /// What the system says; also if it has no such room.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        // A mapping has at least one byte; an empty file is refused by whoever reads it.
        let mut memory = MmapOptions::new().len(length.max(1)).map_anon()?;
        ask_for_huge_pages(&memory);
        file.read_exact(&mut memory[..length])?;
        Ok(Self::Resident(memory.make_read_only()?))
    }
}

/// A system without huge pages, or one that gives them unasked, goes on with what it has.
#[cfg(target_os = "linux")]
fn ask_for_huge_pages(memory: &memmap2::MmapMut) {
    _ = memory.advise(memmap2::Advice::HugePage);
}

#[cfg(not(target_os = "linux"))]
fn ask_for_huge_pages(_memory: &memmap2::MmapMut) {}

impl AsRef<[u8]> for BlobFile {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Deref for BlobFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) | Self::Resident(map) => map,
        }
    }
}
