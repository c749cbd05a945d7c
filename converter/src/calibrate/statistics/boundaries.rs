//! The stream before each layer, for all windows: in memory, or in a temporary file where that
//! would be too much.

use std::fs::File;
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
    /// A file without a name, which goes with the process.
    File {
        file: File,
        folder: PathBuf,
    },
}

impl Boundaries {
    /// Room for `layers` blocks of `length` numbers; a file in `folder` if they take more than
    /// `bytes_max`.
    pub fn new(
        layers: usize,
        length: usize,
        bytes_max: u64,
        folder: &Path,
    ) -> Result<Self, CalibrateError> {
        let place = if layers as u64 * length as u64 * 4 <= bytes_max {
            Place::Memory(vec![Vec::new(); layers])
        } else {
            let folder = folder.to_owned();
            let file = tempfile::tempfile_in(&folder)
                .map_err(|source| CalibrateError::Write { path: folder.clone(), source })?;
            Place::File { file, folder }
        };
        Ok(Self { length, place })
    }

    /// Keeps the block of a layer.
    pub fn put(&mut self, layer: usize, stream: &[f32]) -> Result<(), CalibrateError> {
        assert_eq!(stream.len(), self.length, "one block");
        match &mut self.place {
            Place::Memory(layers) => layers[layer] = stream.to_vec(),
            Place::File { file, folder } => {
                let at = (layer * self.length * 4) as u64;
                let written = file.seek(SeekFrom::Start(at)).and_then(|_| {
                    // In pieces, so that there is no second copy of the whole block.
                    stream.chunks(1 << 16).try_for_each(|piece| {
                        let bytes: Vec<u8> =
                            piece.iter().flat_map(|value| value.to_le_bytes()).collect();
                        file.write_all(&bytes)
                    })
                });
                written.map_err(|source| CalibrateError::Write { path: folder.clone(), source })?;
            }
        }
        Ok(())
    }

    /// The block of a layer.
    pub fn get(&self, layer: usize) -> Result<Vec<f32>, CalibrateError> {
        match &self.place {
            Place::Memory(layers) => Ok(layers[layer].clone()),
            Place::File { file, folder } => {
                let mut file = file;
                let mut stream = Vec::with_capacity(self.length);
                let mut bytes = vec![0; 1 << 18];
                let failed =
                    |source: io::Error| CalibrateError::Read { path: folder.clone(), source };
                file.seek(SeekFrom::Start((layer * self.length * 4) as u64)).map_err(failed)?;
                while stream.len() < self.length {
                    let count = ((self.length - stream.len()) * 4).min(bytes.len());
                    file.read_exact(&mut bytes[..count]).map_err(failed)?;
                    stream.extend(
                        bytes[..count]
                            .as_chunks::<4>()
                            .0
                            .iter()
                            .map(|value| f32::from_le_bytes(*value)),
                    );
                }
                Ok(stream)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_what_memory_keeps() {
        let folder = tempfile::tempdir().expect("folder");
        let block =
            |layer: usize| (0..70_000).map(|index| (index * 3 + layer) as f32).collect::<Vec<_>>();
        for bytes_max in [0, u64::MAX] {
            let mut boundaries =
                Boundaries::new(3, 70_000, bytes_max, folder.path()).expect("room");
            for layer in [2, 0, 1] {
                boundaries.put(layer, &block(layer)).expect("kept");
            }
            for layer in 0..3 {
                assert_eq!(boundaries.get(layer).expect("read"), block(layer));
            }
            assert_eq!(matches!(boundaries.place, Place::File { .. }), bytes_max == 0);
            if cfg!(unix) {
                assert_eq!(
                    std::fs::read_dir(folder.path()).expect("folder").count(),
                    0,
                    "a file has a name"
                );
            }
        }
    }
}
