//! Tensors that were encoded ahead of the blob, in a scratch file: quantized matrices and tuned gates, one record each.
//!
//! A bake that was stopped goes on with what the file holds: every record carries a hash, and whatever is cut off or damaged
//! behind the last good one is dropped. The file is bound by a fingerprint to what it was made from.

mod error;
mod record;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use hardtack_format::encoding::PANEL_ROWS;
use hardtack_format::{Encoding, Role, SectionKey};
use hardtack_kernels::pack::unpack_row;

pub use error::StoreError;
use record::{HEAD_BYTES, Head, MAGIC, RECORD_BYTES};

/// The section and the role of a tensor.
pub type Key = (SectionKey, Role);

/// How a tensor is kept: `stack` matrices of `rows` by `columns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Its encoding.
    pub encoding: Encoding,
    /// Equal matrices one after another.
    pub stack: u32,
    /// Rows of each.
    pub rows: u32,
    /// Columns of each.
    pub columns: u32,
}

/// Encoded tensors, by section and role; of two under one key the later one counts.
#[derive(Debug)]
pub struct Store {
    file: File,
    path: PathBuf,
    fingerprint: [u8; 32],
    end: u64,
    tensors: BTreeMap<Key, (Shape, u64)>,
}

impl Store {
    /// Refuses a path where something else stands, which [`open`](Self::open) would refuse after hours.
    ///
    /// # Errors
    /// There is another file, or it cannot be read.
    pub fn check(path: &Path) -> Result<(), StoreError> {
        let failed = |source| StoreError::Access { path: path.to_owned(), source };
        let mut found = Vec::new();
        match File::open(path) {
            Ok(file) => file.take(MAGIC.len() as u64).read_to_end(&mut found).map_err(failed)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        if found.is_empty() || found == MAGIC { Ok(()) } else { Err(StoreError::Occupied { path: path.to_owned() }) }
    }

    /// Opens the file at `path` with all whole records that it has, or begins it anew if there is none, or one of another
    /// fingerprint.
    ///
    /// # Errors
    /// The file cannot be read or written, or something else stands there.
    pub fn open(path: &Path, fingerprint: [u8; 32]) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Access { path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut store = Self { file, path: path.to_owned(), fingerprint, end: 0, tensors: BTreeMap::new() };
        let mut head = [0; HEAD_BYTES];
        if length > 0 {
            let found = (&store.file).read(&mut head[..MAGIC.len()]).map_err(failed)?;
            if head[..found] != MAGIC[..found.min(MAGIC.len())] || found < MAGIC.len() {
                return Err(StoreError::Occupied { path: path.to_owned() });
            }
        }
        let is_ours = length >= HEAD_BYTES as u64
            && (&store.file).read_exact(&mut head[MAGIC.len()..]).is_ok()
            && head[MAGIC.len()..] == fingerprint;
        if is_ours {
            store.end = HEAD_BYTES as u64;
            store.read_records(length)?;
        } else {
            head[..MAGIC.len()].copy_from_slice(&MAGIC);
            head[MAGIC.len()..].copy_from_slice(&fingerprint);
            store.write_at(0, &head)?;
            store.end = HEAD_BYTES as u64;
        }
        store.file.set_len(store.end).map_err(failed)?;
        Ok(store)
    }

    fn read_records(&mut self, length: u64) -> Result<(), StoreError> {
        while length - self.end >= RECORD_BYTES as u64 {
            let mut bytes = [0; RECORD_BYTES];
            self.read_at(self.end, &mut bytes)?;
            let Some(head) = Head::from_bytes(&bytes) else { break };
            let at = self.end + RECORD_BYTES as u64;
            if length - at < head.bytes || self.hash(at, head.bytes)? != head.hash {
                break;
            }
            self.tensors.insert(head.key, (head.shape, at));
            self.end = at + head.bytes;
        }
        Ok(())
    }

    fn hash(&self, mut at: u64, bytes: u64) -> Result<[u8; 32], StoreError> {
        let (mut hasher, end) = (blake3::Hasher::new(), at + bytes);
        let mut buffer = vec![0; 1 << 20];
        while at < end {
            let count = buffer.len().min((end - at) as usize);
            self.read_at(at, &mut buffer[..count])?;
            hasher.update(&buffer[..count]);
            at += count as u64;
        }
        Ok(*hasher.finalize().as_bytes())
    }

    /// Adds a tensor: panels as [`crate::quantize::encode_rows`] makes them, matrix after matrix.
    ///
    /// # Errors
    /// The file cannot be written.
    ///
    /// # Panics
    /// If the bytes are not those of the shape.
    pub fn put(&mut self, key: Key, shape: Shape, bytes: &[u8]) -> Result<(), StoreError> {
        self.put_parts(key, shape, std::iter::once(Ok(bytes)))
    }

    /// Adds a tensor whose bytes come in parts. If one of them fails, the tensor is not there.
    ///
    /// # Errors
    /// The file cannot be written, or a part fails.
    ///
    /// # Panics
    /// If the bytes are not those of the shape.
    pub fn put_parts<B: AsRef<[u8]>, E: From<StoreError>>(
        &mut self,
        key: Key,
        shape: Shape,
        parts: impl Iterator<Item = Result<B, E>>,
    ) -> Result<(), E> {
        let first = self.end + RECORD_BYTES as u64;
        let (mut at, mut hasher) = (first, blake3::Hasher::new());
        for part in parts {
            let part = part?;
            self.write_at(at, part.as_ref())?;
            hasher.update(part.as_ref());
            at += part.as_ref().len() as u64;
        }
        assert_eq!(shape.bytes(), Some(at - first), "a whole tensor");
        let head = Head { key, shape, bytes: at - first, hash: *hasher.finalize().as_bytes() };
        // Last, so that a record always has its tensor.
        self.write_at(self.end, &head.to_bytes())?;
        self.end = at;
        self.tensors.insert(key, (shape, first));
        Ok(())
    }

    /// What its tensors were made from.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Everything that is here.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.tensors.keys().copied()
    }

    /// How a tensor is kept; nothing if it is not here.
    pub fn shape(&self, key: Key) -> Option<Shape> {
        self.tensors.get(&key).map(|(shape, _)| *shape)
    }

    /// The bytes of a tensor that is here.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn bytes(&self, key: Key) -> Result<Vec<u8>, StoreError> {
        let (shape, at) = self.tensors[&key];
        let mut bytes = vec![0; shape.bytes().expect("checked when it was put") as usize];
        self.read_at(at, &mut bytes)?;
        Ok(bytes)
    }

    /// Rows `first..first + count` of a tensor that is here, counted through its stack, as numbers.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn rows(&self, key: Key, first: usize, count: usize) -> Result<Vec<f32>, StoreError> {
        let (shape, at) = self.tensors[&key];
        let (rows, columns) = (shape.rows as usize, shape.columns as usize);
        if shape.encoding == Encoding::Plain {
            let mut bytes = vec![0; count * columns * 4];
            self.read_at(at + (first * columns * 4) as u64, &mut bytes)?;
            return Ok(bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect());
        }
        let panel_bytes = shape.encoding.panel_bytes(shape.columns) as usize;
        let mut panel = vec![0; panel_bytes];
        let mut values = vec![0.0; count * columns];
        let mut loaded = None;
        for (row, values) in (first..first + count).zip(values.chunks_exact_mut(columns)) {
            let index = row / rows * rows.div_ceil(PANEL_ROWS) + row % rows / PANEL_ROWS;
            if loaded != Some(index) {
                self.read_at(at + (index * panel_bytes) as u64, &mut panel)?;
                loaded = Some(index);
            }
            unpack_row(shape.encoding, &panel, row % rows % PANEL_ROWS, values);
        }
        Ok(values)
    }

    /// Makes sure that all of it is on the disk.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(|source| self.failed(source))
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> Result<(), StoreError> {
        let mut file = &self.file;
        let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(bytes));
        read.map_err(|source| self.failed(source))
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let mut file = &self.file;
        let written = file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(bytes));
        written.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> StoreError {
        StoreError::Access { path: self.path.clone(), source }
    }
}

impl Shape {
    /// Bytes of a tensor of this shape; nothing if they are beyond what the format allows.
    pub fn bytes(self) -> Option<u64> {
        self.encoding.tensor_bytes(self.stack, self.rows, self.columns)
    }
}
