//! A session in a file: its tokens and what the cache made of them, bound to the model and to how
//! the cache is kept.
//!
//! | field | bytes |
//! |---|---|
//! | magic | 8 |
//! | length of the caller's note | 8 |
//! | the note | its length |
//! | root hash of the blob | 32 |
//! | kind of cache: 0 f16, 1 f32, 2 ring | 8 |
//! | of a ring: reach, units, number of rungs, two numbers for each rung | 8 each |
//! | position: tokens of the text | 8 |
//! | position of the first token that is listed | 8 |
//! | the listed tokens, up to the position | 4 each |
//! | each layer's cache, in the order of an exact cache or a ring | |
//! | BLAKE3 of everything before | 32 |
//!
//! All numbers are little-endian. The file is not trusted: every number has its bounds, no memory
//! is allocated for a number alone, and the hash is checked before the session may go on. The note
//! comes first, so that it can be read where the model or the cache is another one.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use crate::backend::Forward;
use crate::cache::size::KvSize;
use crate::error::Error;
use crate::history::History;
use crate::options::BATCH_MAX;
use crate::pipe::Pipe;
use crate::whole_file::{Replacement, target};

const MAGIC: [u8; 8] = *b"HTSAVED\x03";
/// Tokens that are read at once.
const TOKENS_AT_ONCE: usize = BATCH_MAX;
/// Most bytes of a note.
pub const NOTE_BYTES_MAX: usize = 16 << 20;
/// Bytes that are read at once.
const BYTES_AT_ONCE: usize = 64 << 10;

/// What a file holds beside the session itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// What the caller wrote.
    pub note: Vec<u8>,
}

/// What of a session is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Everything.
    Whole,
    /// The note beside an empty session: a few bytes, for a file that is written often.
    #[cfg_attr(not(feature = "text"), allow(dead_code, reason = "conversations write it"))]
    Note,
}

/// What a file is about.
pub struct Content<'a> {
    /// Root hash of the blob.
    pub model: [u8; 32],
    /// The model's vocabulary size.
    pub vocabulary: u32,
    /// How the cache is kept.
    pub size: KvSize,
    /// Most tokens.
    pub capacity: usize,
    /// The tokens.
    pub history: &'a mut History,
    /// Where the cache is.
    pub forward: &'a mut dyn Forward,
}

/// Replaces a file by a session. A symbolic link stays one, and what it leads to is replaced.
///
/// # Errors
/// A note that is too long, or what the system says.
pub fn save(
    path: &Path,
    content: &mut Content<'_>,
    note: &[u8],
    written: Written,
) -> Result<(), Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let replacement = Replacement::create(&target(path).map_err(failed)?).map_err(failed)?;
    write(path, replacement.file(), content, note, written)?;
    replacement.commit().map_err(failed)?;
    Ok(())
}

/// Writes a session; `path` is for the errors.
///
/// # Errors
/// As [`save`].
pub fn write(
    path: &Path,
    file: &File,
    content: &mut Content<'_>,
    note: &[u8],
    written: Written,
) -> Result<(), Error> {
    if note.len() > NOTE_BYTES_MAX {
        let expected = format!("at most {NOTE_BYTES_MAX} bytes");
        return Err(Error::Setting {
            setting: "a session's note",
            expected,
            found: note.len().to_string(),
        });
    }
    let failed = |source| Error::File { path: path.to_owned(), source };
    let mut writer = Writer { path, file: BufWriter::new(file), hasher: blake3::Hasher::new() };
    same(&mut writer, "magic", &MAGIC, "", "")?;
    serialize_note(&mut writer, &mut note.to_owned())?;
    serialize(&mut writer, content, written)?;
    let hash = *writer.hasher.finalize().as_bytes();
    writer.file.write_all(&hash).map_err(failed)?;
    writer.file.flush().map_err(failed)
}

/// Reads a session. After an error neither cache nor tokens are of use.
///
/// # Errors
/// The file cannot be read, is of another model or another cache, or is damaged.
pub fn restore(path: &Path, content: &mut Content<'_>) -> Result<Restored, Error> {
    let mut reader = Reader::open(path)?;
    let mut session = Restored::default();
    same(&mut reader, "magic", &MAGIC, "a session of this version", "something else")?;
    serialize_note(&mut reader, &mut session.note)?;
    serialize(&mut reader, content, Written::Whole)?;
    reader.check_hash()?;
    Ok(session)
}

/// Reads the note alone, whatever model and cache the session is of; the whole file's hash is
/// checked.
///
/// # Errors
/// The file cannot be read or is damaged.
#[cfg(feature = "text")]
pub fn note(path: &Path) -> Result<Vec<u8>, Error> {
    let mut reader = Reader::open(path)?;
    let mut note = Vec::new();
    same(&mut reader, "magic", &MAGIC, "a session of this version", "something else")?;
    serialize_note(&mut reader, &mut note)?;
    let failed = |source| Error::File { path: path.to_owned(), source };
    let length = reader.file.get_ref().metadata().map_err(failed)?.len();
    let mut rest = length.saturating_sub(reader.offset).saturating_sub(32);
    let mut bytes = vec![0; BYTES_AT_ONCE];
    while rest > 0 {
        let some = rest.min(BYTES_AT_ONCE as u64) as usize;
        reader.bytes(&mut bytes[..some])?;
        rest -= some as u64;
    }
    reader.check_hash()?;
    Ok(note)
}

/// Everything between the note and the hash.
fn serialize(
    pipe: &mut dyn Pipe,
    content: &mut Content<'_>,
    written: Written,
) -> Result<(), Error> {
    let mut model = content.model;
    pipe.bytes(&mut model)?;
    if model != content.model {
        return Err(pipe.elsewhere(
            "model",
            "the model that is open".to_owned(),
            "a session of another model".to_owned(),
        ));
    }
    let numbers: Vec<(&'static str, u64)> = match content.size {
        KvSize::F16(_) => vec![("kind of cache", 0)],
        KvSize::F32(_) => vec![("kind of cache", 1)],
        KvSize::Ring(size) => {
            let head = [
                ("kind of cache", 2),
                ("reach", size.reach as u64),
                ("units", size.units() as u64),
            ];
            head.into_iter().chain(size.ladder.numbers()).collect()
        }
    };
    for (what, value) in numbers {
        let found = pipe.number(what, value, 0..=u64::MAX)?;
        if found != value {
            return Err(pipe.elsewhere(what, value.to_string(), found.to_string()));
        }
    }
    let history = &mut *content.history;
    let (start, held) = match written {
        Written::Whole => {
            (history.first() as u64, (history.first() + history.tokens().len()) as u64)
        }
        Written::Note => (0, 0),
    };
    let position = pipe.number("tokens", held, 0..=u64::MAX)?;
    if position > content.capacity as u64 {
        return Err(pipe.elsewhere(
            "tokens",
            format!("0 to {}", content.capacity),
            position.to_string(),
        ));
    }
    let listed = position.min(history.tokens_max() as u64);
    let first = pipe.number("first token listed", start, position - listed..=position)?;
    if pipe.reads() {
        history.begin_at(first as usize);
    }
    serialize_tokens(pipe, (position - first) as usize, content.vocabulary, history)?;
    content.forward.serialize(pipe, position as usize)
}

fn serialize_tokens(
    pipe: &mut dyn Pipe,
    count: usize,
    vocabulary: u32,
    history: &mut History,
) -> Result<(), Error> {
    let mut bytes = [0; TOKENS_AT_ONCE * 4];
    let mut tokens = [0; TOKENS_AT_ONCE];
    for first in (0..count).step_by(TOKENS_AT_ONCE) {
        let some = (count - first).min(TOKENS_AT_ONCE);
        let (bytes, tokens) = (&mut bytes[..some * 4], &mut tokens[..some]);
        if !pipe.reads() {
            for (bytes, token) in bytes.as_chunks_mut().0.iter_mut().zip(&history.tokens()[first..])
            {
                *bytes = token.to_le_bytes();
            }
        }
        pipe.bytes(bytes)?;
        if pipe.reads() {
            for (&bytes, token) in bytes.as_chunks().0.iter().zip(&mut *tokens) {
                *token = u32::from_le_bytes(bytes);
                if *token >= vocabulary {
                    return Err(pipe.refuse(
                        "token",
                        format!("below {vocabulary}"),
                        token.to_string(),
                    ));
                }
            }
            history.push(tokens);
        }
    }
    Ok(())
}

fn serialize_note(pipe: &mut dyn Pipe, note: &mut Vec<u8>) -> Result<(), Error> {
    let bytes =
        pipe.number("bytes of the note", note.len() as u64, 0..=NOTE_BYTES_MAX as u64)? as usize;
    for first in (0..bytes).step_by(BYTES_AT_ONCE) {
        let end = bytes.min(first + BYTES_AT_ONCE);
        if pipe.reads() {
            note.resize(end, 0);
        }
        pipe.bytes(&mut note[first..end])?;
    }
    Ok(())
}

/// Writes these bytes, or reads just them.
fn same<const N: usize>(
    pipe: &mut dyn Pipe,
    what: &'static str,
    bytes: &[u8; N],
    expected: &str,
    found: &str,
) -> Result<(), Error> {
    let mut copy = *bytes;
    pipe.bytes(&mut copy)?;
    if copy == *bytes {
        Ok(())
    } else {
        Err(pipe.refuse(what, expected.to_owned(), found.to_owned()))
    }
}

struct Writer<'a> {
    path: &'a Path,
    file: BufWriter<&'a File>,
    hasher: blake3::Hasher,
}

impl Pipe for Writer<'_> {
    fn reads(&self) -> bool {
        false
    }

    fn bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.hasher.update(bytes);
        self.file
            .write_all(bytes)
            .map_err(|source| Error::File { path: self.path.to_owned(), source })
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

impl<'a> Reader<'a> {
    fn open(path: &'a Path) -> Result<Self, Error> {
        let file =
            File::open(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        Ok(Self { path, file: BufReader::new(file), hasher: blake3::Hasher::new(), offset: 0 })
    }

    /// The file ends with the hash of everything read so far.
    fn check_hash(&mut self) -> Result<(), Error> {
        let hash = *self.hasher.finalize().as_bytes();
        let mut found = [0; 32];
        self.bytes(&mut found)?;
        if found != hash {
            let found = "another: the file is damaged".to_owned();
            return Err(self.refuse("hash", "that of the content".to_owned(), found));
        }
        match self.file.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.refuse(
                "end",
                "nothing after the hash".to_owned(),
                "more bytes".to_owned(),
            )),
            Err(source) => Err(Error::File { path: self.path.to_owned(), source }),
        }
    }
}

impl Pipe for Reader<'_> {
    fn reads(&self) -> bool {
        true
    }

    fn bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        match self.file.read_exact(bytes) {
            Ok(()) => {}
            Err(source) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(self.refuse(
                    "length",
                    format!("{} more bytes", bytes.len()),
                    "the file's end".to_owned(),
                ));
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

    fn elsewhere(&self, what: &'static str, expected: String, found: String) -> Error {
        Error::SavedElsewhere { path: self.path.to_owned(), what, expected, found }
    }
}
