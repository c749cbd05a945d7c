//! A blob on its way to where it runs: found, mapped or read, and checked.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use hardtack_format::limits::TENSOR_ALIGNMENT;
use hardtack_format::{FormatError, Index, Network};

use crate::error::Error;
use crate::options::Options;
use crate::os::{BlobFile, Load};
use crate::plan::fixed::Fixed;
use crate::recognize::not_a_blob;

/// Where a blob is.
#[derive(Clone, Debug)]
pub enum Source<'a> {
    /// In a file that has a name.
    Path(&'a Path),
    /// In a part of a file that is open.
    File(&'a File, Range<u64>),
    /// In memory that is not to be kept.
    Bytes(&'a [u8]),
    /// In memory that stays.
    Static(&'static [u8]),
}

/// A blob with what is known of it.
pub struct Opened {
    pub file: BlobFile,
    pub index: Index,
    pub network: Network,
    pub fixed: Fixed,
}

impl Source<'_> {
    /// What messages call it.
    pub fn name(&self) -> PathBuf {
        match self {
            Self::Path(path) => path.to_path_buf(),
            Self::File(_, range) => {
                format!("the file's bytes {} to {}", range.start, range.end).into()
            }
            Self::Bytes(_) | Self::Static(_) => "the blob in memory".into(),
        }
    }

    /// How it comes into memory, where the options leave a choice.
    pub fn load(&self, wanted: Load) -> Load {
        match self {
            Self::Path(_) | Self::File(..) => wanted,
            Self::Bytes(_) => Load::Resident,
            Self::Static(_) => Load::Mmap,
        }
    }

    /// Its bytes before anything is planned: mapped, so that little of them is read, or copied
    /// where they cannot be kept.
    fn first(&self, load: Load) -> Result<BlobFile, Error> {
        let failed = |source| Error::File { path: self.name(), source };
        match self {
            Self::Path(path) => {
                let file = open(path).map_err(failed)?;
                let length = file.metadata().map_err(failed)?.len();
                BlobFile::map(&file, &(0..length)).map_err(failed)
            }
            Self::File(file, range) => {
                let length = file.metadata().map_err(failed)?.len();
                if range.start > range.end || range.end > length {
                    let (setting, expected) =
                        ("range", format!("a part of the file's bytes 0 to {length}"));
                    return Err(Error::Setting {
                        setting,
                        expected,
                        found: format!("{} to {}", range.start, range.end),
                    });
                }
                match load {
                    Load::Mmap => {
                        self.expect_aligned(range.start)?;
                        BlobFile::map(file, range).map_err(failed)
                    }
                    // Where tables are cast, wherever in the file they are.
                    Load::Resident if !range.start.is_multiple_of(TENSOR_ALIGNMENT) => {
                        BlobFile::read(file, range).map_err(failed)
                    }
                    Load::Resident => BlobFile::map(file, range).map_err(failed),
                }
            }
            Self::Bytes(bytes) => BlobFile::copy(bytes).map_err(failed),
            Self::Static(bytes) => {
                self.expect_aligned(bytes.as_ptr().addr() as u64)?;
                Ok(BlobFile::Static(bytes))
            }
        }
    }

    /// Tables of floats and whole lines of the cache are read where they lie.
    fn expect_aligned(&self, start: u64) -> Result<(), Error> {
        if start.is_multiple_of(TENSOR_ALIGNMENT) {
            return Ok(());
        }
        let advice = match self {
            Self::File(..) => {
                "align it there (such as by `zipalign -P 16`), or open it with `Load::Resident`"
            }
            _ => {
                "align it (such as by `#[repr(align(64))]`), or have it copied by `Engine::from_bytes`"
            }
        };
        Err(Error::Alignment { path: self.name(), start, alignment: TENSOR_ALIGNMENT, advice })
    }

    /// All of it in memory of our own.
    fn read(&self) -> io::Result<Option<BlobFile>> {
        match self {
            Self::Path(path) => {
                let file = open(path)?;
                let length = file.metadata()?.len();
                BlobFile::read(&file, &(0..length)).map(Some)
            }
            Self::File(file, range) => BlobFile::read(file, range).map(Some),
            Self::Bytes(_) | Self::Static(_) => Ok(None),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(file)
}

impl Opened {
    /// Checks a blob whole, weights' content excepted.
    pub fn new(source: &Source<'_>, options: &Options) -> Result<Self, Error> {
        if let Source::Path(path) = source
            && let Some(error) = not_a_blob(path)
        {
            return Err(error);
        }
        let file = source.first(source.load(options.load))?;
        let (index, network, fixed) = bind(&file, options.verify)
            .map_err(|error| Error::Blob { path: source.name(), source: error })?;
        Ok(Self { file, index, network, fixed })
    }

    /// Reads the blob into memory of our own, or has the system read it meanwhile.
    pub fn read(&mut self, source: &Source<'_>, options: &Options) -> Result<(), Error> {
        match (source.load(options.load), &self.file) {
            (Load::Mmap, _) => self.file.read_ahead(),
            (Load::Resident, BlobFile::Resident(_)) => {}
            (Load::Resident, _) => {
                let read = source
                    .read()
                    .map_err(|error| Error::File { path: source.name(), source: error })?;
                let Some(file) = read else { return Ok(()) };
                self.file = file;
                // What was read may be another file by now.
                let invalid = |error| Error::Blob { path: source.name(), source: error };
                (self.index, self.network, _) =
                    bind(&self.file, options.verify).map_err(invalid)?;
            }
        }
        Ok(())
    }
}

fn bind(file: &[u8], verify: bool) -> Result<(Index, Network, Fixed), FormatError> {
    let index = Index::read(file)?;
    let (network, fixed) = {
        let blob = index.blob(file).expect("the bytes that it was read from");
        if verify {
            blob.verify()?;
        }
        let network = Network::bind(&blob)?;
        let fixed = Fixed::of(&blob, &network);
        (network, fixed)
    };
    Ok((index, network, fixed))
}
