//! The blob onto the disk: to a temporary name beside its own, section after section, synced, then renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use hardtack_format::encoding::PANEL_ROWS;
use hardtack_format::{Encoding, TensorRef};
use hardtack_models::{LoadError, TensorSource};

use super::Progress;
use super::draft::{Content, Draft};
use super::error::BakeError;
use crate::quantize::encode_rows;
use crate::source::Checkpoint;

/// Numbers of a tensor that are in memory at once (as floats, four bytes each).
const ELEMENTS_AT_ONCE: usize = 8 << 20;

/// Writes the blob that the draft describes.
pub fn write(
    checkpoint: &Checkpoint,
    draft: &Draft<'_>,
    output: &Path,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), BakeError> {
    refuse_output(checkpoint, output)?;
    let mut file = PartialFile::create(output)?;
    let mut hashes = Vec::with_capacity(draft.contents.len());
    for ((key, content), record) in draft.contents.iter().zip(draft.layout.sections()) {
        file.start_section(record.offset)?;
        match content {
            Content::Bytes(bytes) => file.put(bytes)?,
            Content::Tensors(sources) => {
                let part = key.to_string();
                for (source, (_, tensor)) in sources.iter().zip(draft.layout.tensors(record)) {
                    file.pad_to(tensor.offset)?;
                    let mut written = |done_bytes| {
                        progress(Progress { done_bytes, total_bytes: draft.layout.file_bytes(), part: &part });
                    };
                    write_tensor(checkpoint, source, &tensor, &mut file, stop, &mut written)?;
                }
            }
        }
        assert_eq!(file.at, record.offset + record.bytes, "section {key} as laid out");
        hashes.push(*file.hasher.finalize().as_bytes());
    }
    file.finish(&draft.layout.head(&hashes))
}

/// Reads a tensor in parts of whole panels, encodes and writes them.
fn write_tensor(
    checkpoint: &Checkpoint,
    source: &TensorSource,
    tensor: &TensorRef,
    file: &mut PartialFile,
    stop: &AtomicBool,
    written: &mut dyn FnMut(u64),
) -> Result<(), BakeError> {
    let (rows, columns) = (source.rows as usize, source.columns as usize);
    let part_rows = (ELEMENTS_AT_ONCE / columns / PANEL_ROWS).max(1) * PANEL_ROWS;
    for matrix in 0..source.stack as usize {
        let mut first = 0;
        while first < rows {
            if stop.load(Ordering::Relaxed) {
                return Err(BakeError::Interrupted);
            }
            let count = part_rows.min(rows - first);
            let input = || checkpoint.path().to_owned();
            let values = source.load_rows(checkpoint, matrix * rows + first, count).map_err(|source| match source {
                // The reader names file and tensor itself.
                LoadError::Read { error, .. } => BakeError::Source(error),
                source => BakeError::Load { input: input(), source },
            })?;
            if tensor.encoding == Encoding::Plain {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                file.put(&bytes)?;
            } else {
                let encoded = encode_rows(tensor.encoding, &values, columns).map_err(|mut error| {
                    error.row += matrix * rows + first;
                    BakeError::Weights { input: input(), tensor: source.names().join(", "), source: error }
                })?;
                file.put(&encoded)?;
            }
            first += count;
            written(file.at);
        }
    }
    Ok(())
}

/// A bake may not destroy what it bakes from, nor put a file in the place of a folder or a device.
fn refuse_output(checkpoint: &Checkpoint, output: &Path) -> Result<(), BakeError> {
    let Ok(output_file) = fs::canonicalize(output) else { return Ok(()) };
    if !output_file.is_file() {
        return Err(BakeError::OverOther { path: output.to_owned() });
    }
    let own = checkpoint.files().iter().any(|file| fs::canonicalize(file).is_ok_and(|file| file == output_file));
    if own { Err(BakeError::OverInput { path: output.to_owned() }) } else { Ok(()) }
}

/// A file under a temporary name, which is removed unless it is finished.
struct PartialFile {
    file: Option<File>,
    temporary: PathBuf,
    output: PathBuf,
    /// Where the next byte goes.
    at: u64,
    /// Of the section so far.
    hasher: blake3::Hasher,
}

impl PartialFile {
    fn create(output: &Path) -> Result<Self, BakeError> {
        let mut name = output.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        let temporary = output.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&temporary);
        let file = file.map_err(|source| BakeError::Write { path: output.to_owned(), source })?;
        Ok(Self { file: Some(file), temporary, output: output.to_owned(), at: 0, hasher: blake3::Hasher::new() })
    }

    fn file(&mut self) -> &mut File {
        self.file.as_mut().expect("open until finished")
    }

    fn failed(&self, source: io::Error) -> BakeError {
        BakeError::Write { path: self.output.clone(), source }
    }

    /// Padding before a section is a hole of the file, which reads as zeros.
    fn start_section(&mut self, offset: u64) -> Result<(), BakeError> {
        self.file().seek(SeekFrom::Start(offset)).map_err(|error| self.failed(error))?;
        self.at = offset;
        self.hasher = blake3::Hasher::new();
        Ok(())
    }

    fn pad_to(&mut self, offset: u64) -> Result<(), BakeError> {
        let padding = [0; hardtack_format::limits::TENSOR_ALIGNMENT as usize];
        self.put(&padding[..(offset - self.at) as usize])
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), BakeError> {
        self.file().write_all(bytes).map_err(|error| self.failed(error))?;
        self.hasher.update(bytes);
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Writes the header and the index last, makes sure that all of it is on the disk, and gives the file its name.
    fn finish(mut self, head: &[u8]) -> Result<(), BakeError> {
        self.start_section(0)?;
        self.put(head)?;
        self.file().sync_all().map_err(|error| self.failed(error))?;
        self.file = None;
        fs::rename(&self.temporary, &self.output)
            .map_err(|source| BakeError::Write { path: self.output.clone(), source })?;
        // The new name itself is only safe once the folder is on the disk. Where folders cannot be synced, it is the
        // system's business.
        let folder = self.output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let Ok(folder) = File::open(folder) {
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
