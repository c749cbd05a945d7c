//! The blob onto the disk, section after section: tensors are read in parts, encoded and written.

use std::sync::atomic::{AtomicBool, Ordering};

use hardtack_format::{Encoding, TensorRef, router_bonds};
use hardtack_models::TensorSource;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::draft::{Content, Draft};
use super::error::BakeError;
use super::options::Progress;
use super::partial_file::PartialFile;
use super::plan::{BakePlan, Pieces};
use crate::quantize::{PanelError, encode_rows};
use crate::recipe::load_rows;
use crate::source::Checkpoint;
use crate::store::{Key, Shape, Store};

/// Writes the blob that the draft describes. What the store has is taken from there, all else is
/// read and rounded.
pub fn write(
    checkpoint: &Checkpoint,
    draft: &Draft<'_>,
    store: Option<&Store>,
    plan: &BakePlan,
    mut file: PartialFile,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), BakeError> {
    let work = Work { checkpoint, pieces: plan.pieces, pool: pool(plan.pieces), stop };
    let records = draft.layout.sections();
    let mut hashes = vec![[0; 32]; records.len()];
    let mut provenance = None;
    for (index, ((key, content), record)) in draft.contents.iter().zip(records).enumerate() {
        file.start_section(record.offset)?;
        match content {
            Content::Bytes(bytes) => file.put(bytes)?,
            Content::Provenance(_) => {
                provenance = Some(index);
                continue;
            }
            Content::Tensors(sources) => {
                let part = key.to_string();
                for (source, (_, tensor)) in sources.iter().zip(draft.layout.tensors(record)) {
                    file.pad_to(tensor.offset)?;
                    let mut written = |done_bytes| {
                        progress(Progress {
                            done_bytes,
                            total_bytes: draft.layout.file_bytes(),
                            part: &part,
                        });
                    };
                    match store
                        .filter(|store| store.shape((*key, source.role)) == Some(shape(&tensor)))
                    {
                        Some(store) => {
                            copy(store, (*key, source.role), &mut file, stop)?;
                            written(file.at());
                        }
                        None => work.write(source, &tensor, &mut file, &mut written)?,
                    }
                }
            }
        }
        assert_eq!(file.at(), record.offset + record.bytes, "section {key} as laid out");
        hashes[index] = file.section_hash();
    }
    // Routers are bound to experts once both have their hashes.
    if let Some(index) = provenance {
        let mut provenance = draft.provenance.clone();
        provenance.bind(router_bonds(
            draft.contents.iter().map(|(key, _)| *key).zip(hashes.iter().copied()),
        ));
        file.start_section(records[index].offset)?;
        file.put(&provenance.to_bytes())?;
        assert_eq!(
            file.at(),
            records[index].offset + records[index].bytes,
            "provenance as laid out"
        );
        hashes[index] = file.section_hash();
    }
    file.finish(&draft.layout.head(&hashes))
}

fn shape(tensor: &TensorRef) -> Shape {
    let &TensorRef { encoding, stack, rows, columns, .. } = tensor;
    Shape { encoding, stack, rows, columns }
}

/// A tensor that is encoded already.
fn copy(
    store: &Store,
    key: Key,
    file: &mut PartialFile,
    stop: &AtomicBool,
) -> Result<(), BakeError> {
    if stop.load(Ordering::Relaxed) {
        return Err(BakeError::Interrupted);
    }
    file.put(&store.bytes(key)?)
}

/// What tensors are read from, and how.
struct Work<'a> {
    checkpoint: &'a Checkpoint,
    pieces: Pieces,
    /// Threads of its own, where there are to be fewer than usual.
    pool: Option<ThreadPool>,
    stop: &'a AtomicBool,
}

/// A pool that cannot be started leaves the usual one.
fn pool(pieces: Pieces) -> Option<ThreadPool> {
    let fewer = pieces.threads < rayon::current_num_threads();
    fewer.then(|| ThreadPoolBuilder::new().num_threads(pieces.threads).build().ok()).flatten()
}

impl Work<'_> {
    /// Reads a tensor in parts of whole panels, encodes and writes them.
    fn write(
        &self,
        source: &TensorSource,
        tensor: &TensorRef,
        file: &mut PartialFile,
        written: &mut dyn FnMut(u64),
    ) -> Result<(), BakeError> {
        let (rows, columns) = (source.rows as usize, source.columns as usize);
        let part_rows = self.pieces.rows(columns);
        for matrix in 0..source.stack as usize {
            for first in (0..rows).step_by(part_rows) {
                if self.stop.load(Ordering::Relaxed) {
                    return Err(BakeError::Interrupted);
                }
                let count = part_rows.min(rows - first);
                let values = load_rows(self.checkpoint, source, matrix * rows + first, count)?;
                if tensor.encoding == Encoding::Plain {
                    let bytes: Vec<u8> =
                        values.iter().flat_map(|value| value.to_le_bytes()).collect();
                    file.put(&bytes)?;
                } else {
                    let encoded =
                        self.encode(tensor.encoding, &values, columns).map_err(|mut error| {
                            error.row += matrix * rows + first;
                            let (input, tensor) =
                                (self.checkpoint.path().to_owned(), source.names().join(", "));
                            BakeError::Weights { input, tensor, source: error }
                        })?;
                    file.put(&encoded)?;
                }
                written(file.at());
            }
        }
        Ok(())
    }

    fn encode(
        &self,
        encoding: Encoding,
        values: &[f32],
        columns: usize,
    ) -> Result<Vec<u8>, PanelError> {
        match &self.pool {
            Some(pool) => pool.install(|| encode_rows(encoding, values, columns)),
            None => encode_rows(encoding, values, columns),
        }
    }
}
