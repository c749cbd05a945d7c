//! A task's file: its text, unpacked where it is packed.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use bzip2::read::MultiBzDecoder;

/// Longest file, packed or not.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Most files of a folder.
const FILES_MAX: usize = 1000;

/// A file that was read.
pub struct Source {
    pub path: PathBuf,
    pub text: String,
    /// The file's own bytes, where the text was unpacked from them.
    pub packed: Option<Vec<u8>>,
}

impl Source {
    /// What the file is called in messages about its items.
    pub fn place(&self, item: usize) -> String {
        format!("{}: item {item}", self.path.file_name().unwrap_or_default().to_string_lossy())
    }

    /// Every form of the file's contents.
    pub fn contents(&self) -> impl Iterator<Item = &[u8]> {
        [self.text.as_bytes()].into_iter().chain(self.packed.as_deref())
    }
}

/// A file; one that ends in `.bz2` is unpacked.
pub fn of_file(path: &Path) -> anyhow::Result<Source> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("{shown}"))?;
    let bytes = take(file).with_context(|| format!("{shown}"))?;
    let (unpacked, packed) = if path.extension().is_some_and(|ending| ending == "bz2") {
        let unpacked =
            take(MultiBzDecoder::new(&bytes[..])).with_context(|| format!("{shown}: bzip2"))?;
        (unpacked, Some(bytes))
    } else {
        (bytes, None)
    };
    let text = String::from_utf8(unpacked).with_context(|| format!("{shown}: expected UTF-8"))?;
    Ok(Source { path: path.to_owned(), text, packed })
}

/// Every `.csv` file of a folder, by name.
pub fn of_folder(path: &Path) -> anyhow::Result<Vec<Source>> {
    let shown = path.display();
    let mut paths = Vec::new();
    for entry in
        fs::read_dir(path).with_context(|| format!("{shown}: expected a folder of CSV files"))?
    {
        let path = entry.with_context(|| format!("{shown}"))?.path();
        if path.extension().is_some_and(|ending| ending == "csv") {
            ensure!(paths.len() < FILES_MAX, "{shown}: more than {FILES_MAX} files");
            paths.push(path);
        }
    }
    ensure!(!paths.is_empty(), "{shown}: expected .csv files, found none");
    paths.sort();
    paths.iter().map(|path| of_file(path)).collect()
}

fn take(reader: impl Read) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= FILE_BYTES_MAX, "longer than {FILE_BYTES_MAX} bytes");
    Ok(bytes)
}
