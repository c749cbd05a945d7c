//! The stream before each layer, for all windows: in memory, or in a temporary file where that would be too much.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::calibrate::error::CalibrateError;

/// One block of numbers for each layer.
#[derive(Debug)]
pub struct Boundaries {
    /// Numbers of one layer.
    length: usize,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Memory(Vec<Vec<f32>>),
    File { file: File, path: PathBuf },
}

impl Boundaries {
    /// Room for `layers` blocks of `length` numbers; a file in `folder` if they take more than `bytes_max`.
    pub fn new(layers: usize, length: usize, bytes_max: u64, folder: &Path) -> Result<Self, CalibrateError> {
        let place = if layers as u64 * length as u64 * 4 <= bytes_max {
            Place::Memory(vec![Vec::new(); layers])
        } else {
            let (file, path) = temporary(folder)?;
            Place::File { file, path }
        };
        Ok(Self { length, place })
    }

    /// Keeps the block of a layer.
    pub fn put(&mut self, layer: usize, stream: &[f32]) -> Result<(), CalibrateError> {
        assert_eq!(stream.len(), self.length, "one block");
        match &mut self.place {
            Place::Memory(layers) => layers[layer] = stream.to_vec(),
            Place::File { file, path } => {
                let at = (layer * self.length * 4) as u64;
                let written = file.seek(SeekFrom::Start(at)).and_then(|_| {
                    // In pieces, so that there is no second copy of the whole block.
                    stream.chunks(1 << 16).try_for_each(|piece| {
                        let bytes: Vec<u8> = piece.iter().flat_map(|value| value.to_le_bytes()).collect();
                        file.write_all(&bytes)
                    })
                });
                written.map_err(|source| CalibrateError::Write { path: path.clone(), source })?;
            }
        }
        Ok(())
    }

    /// The block of a layer.
    pub fn get(&self, layer: usize) -> Result<Vec<f32>, CalibrateError> {
        match &self.place {
            Place::Memory(layers) => Ok(layers[layer].clone()),
            Place::File { file, path } => {
                let mut file = file;
                let mut stream = Vec::with_capacity(self.length);
                let mut bytes = vec![0; 1 << 18];
                let failed = |source: io::Error| CalibrateError::Read { path: path.clone(), source };
                file.seek(SeekFrom::Start((layer * self.length * 4) as u64)).map_err(failed)?;
                while stream.len() < self.length {
                    let count = ((self.length - stream.len()) * 4).min(bytes.len());
                    file.read_exact(&mut bytes[..count]).map_err(failed)?;
                    stream.extend(bytes[..count].as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)));
                }
                Ok(stream)
            }
        }
    }
}

impl Drop for Boundaries {
    fn drop(&mut self) {
        if let Place::File { path, .. } = &self.place {
            let _ = fs::remove_file(path);
        }
    }
}

/// A new file of our own.
fn temporary(folder: &Path) -> Result<(File, PathBuf), CalibrateError> {
    let mut number = 0;
    loop {
        let path = folder.join(format!("calibration.{}-{number}.partial", std::process::id()));
        match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 100 => number += 1,
            Err(source) => return Err(CalibrateError::Write { path, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_what_memory_keeps() {
        let folder = tempfile::tempdir().expect("folder");
        let block = |layer: usize| (0..70_000).map(|index| (index * 3 + layer) as f32).collect::<Vec<_>>();
        for bytes_max in [0, u64::MAX] {
            let mut boundaries = Boundaries::new(3, 70_000, bytes_max, folder.path()).expect("room");
            for layer in [2, 0, 1] {
                boundaries.put(layer, &block(layer)).expect("kept");
            }
            for layer in 0..3 {
                assert_eq!(boundaries.get(layer).expect("read"), block(layer));
            }
            let files = fs::read_dir(folder.path()).expect("folder").count();
            assert_eq!(files, usize::from(bytes_max == 0));
            drop(boundaries);
            assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 0);
        }
    }
}
