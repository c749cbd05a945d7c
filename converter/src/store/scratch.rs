//! The scratch file: its records in memory, its bytes on disk.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hardtack_format::Encoding;
use hardtack_format::encoding::PANEL_ROWS;
use hardtack_kernels::pack::unpack_row;

use super::blocks::{BLOCK_BYTES, BlockHash, BlockHasher, block_hash};
use super::error::StoreError;
use super::record::{self, HEAD_BYTES, Head, MAGIC, RECORD_BYTES};
use super::shape::{Key, Shape};

/// Encoded tensors, by section and role; of two under one key the later one counts.
#[derive(Debug)]
pub struct Store {
    disk: Mutex<Disk>,
    path: PathBuf,
    fingerprint: [u8; 32],
    end: u64,
    tensors: BTreeMap<Key, Tensor>,
}

/// Where a tensor is, and what it must be.
#[derive(Debug)]
struct Tensor {
    shape: Shape,
    at: u64,
    blocks: Vec<BlockHash>,
}

/// The file, and the block that was read last: rows are wanted in order, and many lie in one
/// block.
#[derive(Debug)]
struct Disk {
    file: File,
    /// Where the block begins; its bytes were found to be right.
    block: Option<(u64, Vec<u8>)>,
}

impl Store {
    /// Refuses a path where something else is, which [`open`](Self::open) would refuse after
    /// hours.
    ///
    /// # Errors
    /// There is another file, or it cannot be read.
    pub fn check_place(path: &Path) -> Result<(), StoreError> {
        let failed = |source| StoreError::Access { path: path.to_owned(), source };
        let occupied = || StoreError::Occupied { path: path.to_owned() };
        match fs::symlink_metadata(path) {
            Ok(about) if !about.is_file() => return Err(occupied()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
        let mut found = Vec::new();
        File::open(path)
            .and_then(|file| file.take(HEAD_BYTES as u64).read_to_end(&mut found))
            .map_err(failed)?;
        if found.is_empty() || record::is_scratch(&found) { Ok(()) } else { Err(occupied()) }
    }

    /// Opens the file at `path` with all whole records that it has, or starts it anew if there is
    /// none, or one of another fingerprint. Nobody else can open it until this is dropped.
    ///
    /// # Errors
    /// The file cannot be read or written, something else is there, or it is open already.
    pub fn open(path: &Path, fingerprint: [u8; 32]) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Access { path: path.to_owned(), source };
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Busy { path: path.to_owned() });
            }
            // Some file systems have no locks. The hashes still find what another process does
            // there.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let length = file.metadata().map_err(failed)?.len();
        let disk = Mutex::new(Disk { file, block: None });
        let mut store =
            Self { disk, path: path.to_owned(), fingerprint, end: 0, tensors: BTreeMap::new() };
        let mut head = [0; HEAD_BYTES];
        let known = head.len().min(length as usize);
        store.read_at(0, &mut head[..known])?;
        if known > 0 && (known < MAGIC.len() || !record::is_scratch(&head)) {
            return Err(StoreError::Occupied { path: path.to_owned() });
        }
        if known == HEAD_BYTES && head == record::file_head(fingerprint) {
            store.end = HEAD_BYTES as u64;
            store.read_records(length)?;
        } else {
            store.write_at(0, &record::file_head(fingerprint))?;
            store.end = HEAD_BYTES as u64;
        }
        let end = store.end;
        store.disk().file.set_len(end).map_err(failed)?;
        Ok(store)
    }

    fn read_records(&mut self, length: u64) -> Result<(), StoreError> {
        while length - self.end >= RECORD_BYTES as u64 {
            let mut bytes = [0; RECORD_BYTES];
            self.read_at(self.end, &mut bytes)?;
            let Some(head) = Head::from_bytes(&bytes) else { break };
            let at = self.end + RECORD_BYTES as u64;
            if length - at < head.bytes {
                break;
            }
            let (hash, blocks) = self.hash(&head, at)?;
            if hash != head.hash {
                break;
            }
            self.tensors.insert(head.key, Tensor { shape: head.shape, at, blocks });
            self.end = at + head.bytes;
        }
        Ok(())
    }

    fn hash(&self, head: &Head, mut at: u64) -> Result<([u8; 32], Vec<BlockHash>), StoreError> {
        let (mut hasher, end) = (BlockHasher::new(&head.named()), at + head.bytes);
        let mut buffer = vec![0; 1 << 20];
        while at < end {
            let count = buffer.len().min((end - at) as usize);
            self.read_at(at, &mut buffer[..count])?;
            hasher.update(&buffer[..count]);
            at += count as u64;
        }
        Ok(hasher.finish())
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
        let bytes = shape.bytes().expect("a shape of the format");
        let mut head = Head { key, shape, bytes, hash: [0; 32] };
        let (mut at, mut hasher) = (first, BlockHasher::new(&head.named()));
        for part in parts {
            let part = part?;
            self.write_at(at, part.as_ref())?;
            hasher.update(part.as_ref());
            at += part.as_ref().len() as u64;
        }
        assert_eq!(bytes, at - first, "a whole tensor");
        let (hash, blocks) = hasher.finish();
        head.hash = hash;
        // Last, so that a record always has its tensor.
        self.write_at(self.end, &head.to_bytes())?;
        self.end = at;
        self.tensors.insert(key, Tensor { shape, at: first, blocks });
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

    /// How a tensor is kept; none if it is not here.
    pub fn shape(&self, key: Key) -> Option<Shape> {
        self.tensors.get(&key).map(|tensor| tensor.shape)
    }

    /// The bytes of a tensor that is here.
    ///
    /// # Errors
    /// The file cannot be read, or has other bytes than were put there.
    pub fn bytes(&self, key: Key) -> Result<Vec<u8>, StoreError> {
        let tensor = &self.tensors[&key];
        let mut bytes = vec![0; tensor.shape.bytes().expect("checked when it was put") as usize];
        self.read_at(tensor.at, &mut bytes)?;
        for (number, (block, hash)) in bytes.chunks(BLOCK_BYTES).zip(&tensor.blocks).enumerate() {
            self.check(tensor.at + (number * BLOCK_BYTES) as u64, block, hash)?;
        }
        Ok(bytes)
    }

    /// Rows `first..first + count` of a tensor that is here, counted through its stack, as numbers.
    ///
    /// # Errors
    /// The file cannot be read, or has other bytes than were put there.
    pub fn rows(&self, key: Key, first: usize, count: usize) -> Result<Vec<f32>, StoreError> {
        let tensor = &self.tensors[&key];
        let shape = tensor.shape;
        let (rows, columns) = (shape.rows as usize, shape.columns as usize);
        if shape.encoding == Encoding::Plain {
            let mut bytes = vec![0; count * columns * 4];
            self.read_inside(tensor, first * columns * 4, &mut bytes)?;
            return Ok(bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|value| f32::from_le_bytes(*value))
                .collect());
        }
        let panel_bytes = shape.encoding.panel_bytes(shape.columns) as usize;
        let mut panel = vec![0; panel_bytes];
        let mut values = vec![0.0; count * columns];
        let mut loaded = None;
        for (row, values) in (first..first + count).zip(values.chunks_exact_mut(columns)) {
            let index = row / rows * rows.div_ceil(PANEL_ROWS) + row % rows / PANEL_ROWS;
            if loaded != Some(index) {
                self.read_inside(tensor, index * panel_bytes, &mut panel)?;
                loaded = Some(index);
            }
            unpack_row(shape.encoding, &panel, row % rows % PANEL_ROWS, values);
        }
        Ok(values)
    }

    /// Reads bytes of a tensor from `start` on, by way of whole blocks that are held to their
    /// hashes.
    fn read_inside(
        &self,
        tensor: &Tensor,
        start: usize,
        bytes: &mut [u8],
    ) -> Result<(), StoreError> {
        let length = tensor.shape.bytes().expect("checked when it was put") as usize;
        let disk = &mut *self.disk();
        let mut done = 0;
        while done < bytes.len() {
            let at = start + done;
            let (number, inside) = (at / BLOCK_BYTES, at % BLOCK_BYTES);
            let offset = tensor.at + (number * BLOCK_BYTES) as u64;
            if disk.block.as_ref().is_none_or(|(own, _)| *own != offset) {
                let mut block = disk.block.take().map(|(_, bytes)| bytes).unwrap_or_default();
                block.resize(BLOCK_BYTES.min(length - number * BLOCK_BYTES), 0);
                disk.read_at(offset, &mut block).map_err(|source| self.failed(source))?;
                self.check(offset, &block, &tensor.blocks[number])?;
                disk.block = Some((offset, block));
            }
            let (_, block) = disk.block.as_ref().expect("just read");
            let count = (bytes.len() - done).min(block.len() - inside);
            bytes[done..done + count].copy_from_slice(&block[inside..inside + count]);
            done += count;
        }
        Ok(())
    }

    fn check(&self, offset: u64, block: &[u8], expected: &BlockHash) -> Result<(), StoreError> {
        if block_hash(block) == *expected {
            Ok(())
        } else {
            Err(StoreError::Damaged { path: self.path.clone(), offset })
        }
    }

    /// Makes sure that all of it is on the disk.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.disk().file.sync_data().map_err(|source| self.failed(source))
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        // A block is put back only after it was checked, so a panic elsewhere leaves none that is
        // wrong.
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> Result<(), StoreError> {
        self.disk().read_at(at, bytes).map_err(|source| self.failed(source))
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let file = &mut self.disk().file;
        let written = file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(bytes));
        written.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> StoreError {
        StoreError::Access { path: self.path.clone(), source }
    }
}

impl Disk {
    fn read_at(&mut self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(at)).and_then(|_| self.file.read_exact(bytes))
    }
}

/// Opens a file that is there, or makes one. The name is known beforehand, so a link that somebody
/// put there is not followed.
fn open(path: &Path) -> Result<File, StoreError> {
    let failed = |source| StoreError::Access { path: path.to_owned(), source };
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    match fs::symlink_metadata(path) {
        Ok(about) if about.is_file() => options.open(path).map_err(failed),
        Ok(_) => Err(StoreError::Occupied { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            options.create_new(true).open(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}
