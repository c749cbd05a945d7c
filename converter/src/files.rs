//! Files that this program makes beside an output: their names, and how one appears whole or not
//! at all.
//!
//! A temporary name has a random part, is made anew and never through a link. Whoever writes holds
//! a lock on the file, which the system releases when the process ends, however it ends: a partial
//! file whose lock is free belongs to nobody.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
#[cfg(feature = "calibrate")]
use std::io::Write;
use std::path::Path;
#[cfg(feature = "calibrate")]
use std::path::PathBuf;

use tempfile::NamedTempFile;

/// Random letters of a temporary name.
const RANDOM_LETTERS: usize = 12;
const EXTENSION: &str = "partial";
/// Another bake may take a file for a dead one between its making and its locking. Then another is
/// made, at most this many times.
const ATTEMPTS_MAX: usize = 8;

/// The folder of a file.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file beside another: its name with an extension more.
#[cfg(feature = "calibrate")]
pub fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(extension);
    path.with_file_name(name)
}

/// Writes a whole file of our own, in place of an earlier one.
#[cfg(feature = "calibrate")]
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = temporary(path)?;
    file.write_all(bytes)?;
    persist(file, path)
}

/// A new and locked file beside `output`, under its name with a random part. It is removed when it
/// is dropped.
pub fn temporary(output: &Path) -> io::Result<NamedTempFile> {
    let mut prefix = output.file_name().unwrap_or_default().to_owned();
    prefix.push(".");
    let suffix = format!(".{EXTENSION}");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(&suffix).rand_bytes(RANDOM_LETTERS);
    // As any file that a program makes, and not for its owner alone: it will be the output.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    for _ in 0..ATTEMPTS_MAX {
        let file = builder.tempfile_in(folder_of(output))?;
        match file.as_file().try_lock() {
            // It may have been locked by another bake, taken for a dead one and removed.
            Ok(()) if file.path().exists() => return Ok(file),
            Ok(()) | Err(fs::TryLockError::WouldBlock) => {}
            // A file system without locks: nobody will take the file for a dead one there.
            Err(fs::TryLockError::Error(_)) => return Ok(file),
        }
    }
    Err(io::Error::other("every temporary file was removed by somebody else"))
}

/// Syncs a temporary file and renames it.
pub fn persist(file: NamedTempFile, output: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(output).map(drop).map_err(|error| error.error)
}

/// Removes the temporary files of bakes to this output that are no more. What cannot be looked at
/// or removed stays.
pub fn remove_dead(output: &Path) {
    let Some(name) = output.file_name() else { return };
    let Ok(entries) = fs::read_dir(folder_of(output)) else { return };
    for entry in entries.flatten().filter(|entry| is_temporary(&entry.file_name(), name)) {
        // Never through a link, and nothing but a file.
        if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let dead = File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
        if dead {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// `output.RANDOM.partial`, or that of a file beside the output, such as
/// `output.tables.RANDOM.partial`.
fn is_temporary(name: &OsStr, output: &OsStr) -> bool {
    let (name, output) = (name.to_string_lossy(), output.to_string_lossy());
    let rest = name.strip_prefix(&*output).and_then(|rest| rest.strip_prefix('.'));
    let rest =
        rest.and_then(|rest| rest.strip_suffix(EXTENSION)).and_then(|rest| rest.strip_suffix('.'));
    let Some(random) = rest.and_then(|rest| rest.rsplit('.').next()) else { return false };
    random.len() == RANDOM_LETTERS && random.bytes().all(|letter| letter.is_ascii_alphanumeric())
}
