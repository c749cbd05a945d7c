//! The bytes of a blob: mapped from a file, or in memory of our own, or the program's.
//!
//! A mapped file that is truncated by someone else while it is in use raises SIGBUS on the next
//! access. Where that can happen, use [`Load::Resident`].

use std::fs::File;
use std::io;
use std::ops::{Deref, Range};

use memmap2::{Mmap, MmapMut, MmapOptions};

/// How the weights come into memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Load {
    /// Mapped: pages are read when they are first used, shared with other processes, and given back
    /// under pressure.
    #[default]
    Mmap,
    /// Read into anonymous memory before the first token, in huge pages where the system grants
    /// them. One lookup of an address then serves 2 MiB in place of 4 KiB.
    Resident,
}

/// The bytes of an open blob.
#[derive(Debug)]
pub enum BlobFile {
    /// Mapped.
    Mapped(Mmap),
    /// Our own copy.
    Resident(Mmap),
    /// A part of the program.
    Static(&'static [u8]),
}

impl BlobFile {
    /// Maps a part of a file for reading. It begins in memory as far after a page's first byte as
    /// in the file.
    ///
    /// # Errors
    /// What the system says.
    pub fn map(file: &File, range: &Range<u64>) -> io::Result<Self> {
        let length = length(range)?;
        // SAFETY: the mapping is private and read-only. Another process could still change the
        // file's bytes while they are borrowed; the format is validated from the same bytes that
        // are used, and no value read from weights is ever used as an index, so changed bytes give
        // wrong numbers and not wrong accesses. Shrinking the file raises SIGBUS, which the module'
        // s documentation warns of.
        Ok(Self::Mapped(unsafe { MmapOptions::new().offset(range.start).len(length).map(file)? }))
    }

    /// Advises the system that all of it will be read soon. One that takes no advice reads pages
    /// when they are first used.
    pub fn read_ahead(&self) {
        #[cfg(unix)]
        if let Self::Mapped(map) = self {
            _ = map.advise(memmap2::Advice::WillNeed);
        }
    }

    /// Reads a part of a file into memory of our own.
    ///
    /// # Errors
    /// What the system says; also if it has no such room.
    pub fn read(file: &File, range: &Range<u64>) -> io::Result<Self> {
        let length = length(range)?;
        let mut memory = anonymous(length)?;
        read_exact_at(file, range.start, &mut memory[..length])?;
        Ok(Self::Resident(memory.make_read_only()?))
    }

    /// Copies bytes into memory of our own.
    ///
    /// # Errors
    /// The system has no such room.
    pub fn copy(bytes: &[u8]) -> io::Result<Self> {
        let mut memory = anonymous(bytes.len())?;
        memory[..bytes.len()].copy_from_slice(bytes);
        Ok(Self::Resident(memory.make_read_only()?))
    }
}

fn length(range: &Range<u64>) -> io::Result<usize> {
    usize::try_from(range.end.saturating_sub(range.start)).map_err(io::Error::other)
}

/// A mapping has at least one byte; an empty blob is refused by whoever reads it.
fn anonymous(length: usize) -> io::Result<MmapMut> {
    let memory = MmapOptions::new().len(length.max(1)).map_anon()?;
    ask_for_huge_pages(&memory);
    Ok(memory)
}

/// The place of the caller's next reading stays where it is.
#[cfg(unix)]
fn read_exact_at(file: &File, at: u64, bytes: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(not(unix))]
fn read_exact_at(mut file: &File, at: u64, bytes: &mut [u8]) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    let before = file.stream_position()?;
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(bytes)?;
    file.seek(SeekFrom::Start(before)).map(drop)
}

/// A system without huge pages, or one that grants them unasked, goes on with what it has.
#[cfg(target_os = "linux")]
fn ask_for_huge_pages(memory: &MmapMut) {
    _ = memory.advise(memmap2::Advice::HugePage);
}

#[cfg(not(target_os = "linux"))]
fn ask_for_huge_pages(_memory: &MmapMut) {}

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
            Self::Static(bytes) => bytes,
        }
    }
}
