//! A session in a file: its tokens and what the cache made of them, bound to the model and to how the cache is kept.
//!
//! Little-endian. Magic (8 bytes), root hash of the blob (32), kind of cache (u64: 0 half floats, 1 floats, 2 ring), for a
//! ring reach, units, number of steps and two numbers for each (u64), tokens (u64), each token (u32), bytes of a note of the caller's (u64), the note, then each layer: what
//! [`Pipe`] is given by an exact cache or a ring, in their order; at the end BLAKE3 of everything before it (32). The file
//! is not trusted: every number has its bounds, nothing is allocated for a number alone, and the hash is checked before
//! the session may go on.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::ops::RangeInclusive;
use std::path::Path;

use crate::error::Error;
use crate::kv::KvSize;
use crate::state::State;

const MAGIC: [u8; 8] = *b"HTSAVED\x02";
/// Tokens that are read at once.
const TOKENS_AT_ONCE: usize = 4096;
/// Most bytes of a note.
pub const NOTE_BYTES_MAX: usize = 16 << 20;
/// Bytes of a note that are read at once.
const NOTE_AT_ONCE: usize = 64 << 10;

/// A file that numbers and bytes go into or come out of.
pub trait Pipe {
    /// Whether they come out.
    const READS: bool;
    /// Writes these bytes, or fills them.
    fn bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error>;
    /// What is wrong with what was read last.
    fn refuse(&self, what: &'static str, expected: String, found: String) -> Error;

    /// Writes a number, or reads one within bounds.
    fn number(&mut self, what: &'static str, value: u64, bounds: RangeInclusive<u64>) -> Result<u64, Error> {
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

/// What a session is beside its cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The tokens that it holds.
    pub tokens: Vec<u32>,
    /// What the caller wrote beside them.
    pub note: Vec<u8>,
}

/// What a file is about.
pub struct Content<'a> {
    /// Root hash of the blob.
    pub model: &'a [u8; 32],
    /// The model's vocabulary size.
    pub vocabulary: u32,
    /// How the cache is kept.
    pub size: KvSize,
    /// Most tokens.
    pub capacity: usize,
    /// Where the cache is.
    pub state: &'a mut State,
}

/// Writes a session, under a temporary name first.
///
/// # Errors
/// What the system says.
pub fn save(path: &Path, content: Content<'_>, session: &mut Restored) -> Result<(), Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    let temporary = path.with_file_name(name);
    let write = || -> Result<(), Error> {
        let file = File::create(&temporary).map_err(failed)?;
        let mut writer = Writer { path, file: BufWriter::new(file), hasher: blake3::Hasher::new() };
        pass(&mut writer, content, session)?;
        let hash = *writer.hasher.finalize().as_bytes();
        writer.file.write_all(&hash).map_err(failed)?;
        let file = writer.file.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)?;
        fs::rename(&temporary, path).map_err(failed)
    };
    let result = write();
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// Reads a session. After an error the cache holds nothing of use.
///
/// # Errors
/// The file cannot be read, is of another model or another cache, or is damaged.
pub fn restore(path: &Path, content: Content<'_>) -> Result<Restored, Error> {
    let file = File::open(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    let mut reader = Reader { path, file: BufReader::new(file), hasher: blake3::Hasher::new(), offset: 0 };
    let mut session = Restored::default();
    pass(&mut reader, content, &mut session)?;
    let hash = *reader.hasher.finalize().as_bytes();
    let mut found = [0; 32];
    reader.bytes(&mut found)?;
    if found != hash {
        return Err(reader.refuse("hash", "that of the content".to_owned(), "another: the file is damaged".to_owned()));
    }
    match reader.file.read(&mut [0]) {
        Ok(0) => Ok(session),
        Ok(_) => Err(reader.refuse("end", "nothing behind the hash".to_owned(), "more bytes".to_owned())),
        Err(source) => Err(Error::File { path: path.to_owned(), source }),
    }
}

/// Everything but the hash.
fn pass<P: Pipe>(pipe: &mut P, content: Content<'_>, session: &mut Restored) -> Result<(), Error> {
    same(pipe, "magic", &MAGIC, "a session of this version", "something else")?;
    same(pipe, "model", content.model, "the model that is open", "a session of another model")?;
    let numbers: Vec<(&'static str, u64)> = match content.size {
        KvSize::F16(_) => vec![("kind of cache", 0)],
        KvSize::F32(_) => vec![("kind of cache", 1)],
        KvSize::Ring(size) => {
            let head = [("kind of cache", 2), ("reach", size.reach as u64), ("units", size.units() as u64)];
            head.into_iter().chain(size.ladder.numbers()).collect()
        }
    };
    for (what, value) in numbers {
        pipe.number(what, value, value..=value)?;
    }
    let count = pipe.number("tokens", session.tokens.len() as u64, 0..=content.capacity as u64)? as usize;
    pass_tokens(pipe, count, content.vocabulary, &mut session.tokens)?;
    pass_note(pipe, &mut session.note)?;
    content.state.pass(pipe, count)
}

fn pass_tokens<P: Pipe>(pipe: &mut P, count: usize, vocabulary: u32, tokens: &mut Vec<u32>) -> Result<(), Error> {
    let mut bytes = [0; TOKENS_AT_ONCE * 4];
    for first in (0..count).step_by(TOKENS_AT_ONCE) {
        let some = (count - first).min(TOKENS_AT_ONCE);
        let bytes = &mut bytes[..some * 4];
        if !P::READS {
            for (bytes, token) in bytes.as_chunks_mut().0.iter_mut().zip(&tokens[first..]) {
                *bytes = token.to_le_bytes();
            }
        }
        pipe.bytes(bytes)?;
        if P::READS {
            for &bytes in bytes.as_chunks().0 {
                let token = u32::from_le_bytes(bytes);
                if token >= vocabulary {
                    return Err(pipe.refuse("token", format!("below {vocabulary}"), token.to_string()));
                }
                tokens.push(token);
            }
        }
    }
    Ok(())
}

fn pass_note<P: Pipe>(pipe: &mut P, note: &mut Vec<u8>) -> Result<(), Error> {
    let bytes = pipe.number("bytes of the note", note.len() as u64, 0..=NOTE_BYTES_MAX as u64)? as usize;
    for first in (0..bytes).step_by(NOTE_AT_ONCE) {
        let end = bytes.min(first + NOTE_AT_ONCE);
        if P::READS {
            note.resize(end, 0);
        }
        pipe.bytes(&mut note[first..end])?;
    }
    Ok(())
}

/// Writes these bytes, or reads just them.
fn same<const N: usize>(
    pipe: &mut impl Pipe,
    what: &'static str,
    bytes: &[u8; N],
    expected: &str,
    found: &str,
) -> Result<(), Error> {
    let mut passed = *bytes;
    pipe.bytes(&mut passed)?;
    if passed == *bytes { Ok(()) } else { Err(pipe.refuse(what, expected.to_owned(), found.to_owned())) }
}

struct Writer<'a> {
    path: &'a Path,
    file: BufWriter<File>,
    hasher: blake3::Hasher,
}

impl Pipe for Writer<'_> {
    const READS: bool = false;

    fn bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(|source| Error::File { path: self.path.to_owned(), source })
    }

    fn refuse(&self, what: &'static str, expected: String, found: String) -> Error {
        unreachable!("{what}: a session of ours has {expected}, not {found}")
    }
}

struct Reader<'a> {
    path: &'a Path,
    file: BufReader<File>,
    hasher: blake3::Hasher,
    /// Bytes read.
    offset: u64,
}

impl Pipe for Reader<'_> {
    const READS: bool = true;

    fn bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        match self.file.read_exact(bytes) {
            Ok(()) => {}
            Err(source) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(self.refuse("length", format!("{} more bytes", bytes.len()), "the file's end".to_owned()));
            }
            Err(source) => return Err(Error::File { path: self.path.to_owned(), source }),
        }
        self.offset += bytes.len() as u64;
        self.hasher.update(bytes);
        Ok(())
    }

    fn refuse(&self, what: &'static str, expected: String, found: String) -> Error {
        Error::Saved { path: self.path.to_owned(), offset: self.offset, what, expected, found }
    }
}
