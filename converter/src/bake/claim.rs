//! One calibrated bake at a time for an output: a locked file beside it says which process has it.
//!
//! The files that such a bake goes on from have names that follow from the output's, so two would
//! write into each other's.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::error::BakeError;
use crate::files::beside;

/// First line of the file, which distinguishes a file of ours from another.
const TITLE: &str = "hardtack bake: this output is being written\n";
/// Longest file of ours.
const BYTES_MAX: u64 = 1024;
/// Whoever ends removes the file, so what was locked may not be what is there; then it is tried
/// again.
const TRIES: u32 = 20;

/// An output that no other bake can take until this is dropped, or the process ends in whatever
/// way.
#[derive(Debug)]
pub struct Claim {
    /// Locked for as long as it is open.
    _file: File,
    path: PathBuf,
}

impl Claim {
    /// Takes an output.
    ///
    /// # Errors
    /// Another bake has it, or the file beside it cannot be written.
    pub fn take(output: &Path) -> Result<Self, BakeError> {
        let path = beside(output, "lock");
        let failed = |source| BakeError::Write { path: path.clone(), source };
        for attempt in 0..TRIES {
            let Some(mut file) = open(&path).map_err(failed)? else {
                return Err(BakeError::Occupied { path, found: "another file" });
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let holder = fs::read_to_string(&path).ok().and_then(|text| holder(&text));
                    let holder = holder.unwrap_or_else(|| "another process".to_owned());
                    return Err(BakeError::Claimed { path: output.to_owned(), holder });
                }
                // Some file systems have no locks. The scratch file's hashes still find what
                // another process does there.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
            let own = format!("{TITLE}process {}, attempt {attempt}\n", std::process::id());
            let written = file
                .set_len(0)
                .and_then(|()| file.rewind())
                .and_then(|()| file.write_all(own.as_bytes()));
            written.map_err(failed)?;
            // Where a locked file cannot be read, it cannot be removed either.
            let is_gone = match fs::read(&path) {
                Ok(found) => found != own.as_bytes(),
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            };
            if !is_gone {
                return Ok(Self { _file: file, path });
            }
        }
        Err(BakeError::Claimed {
            path: output.to_owned(),
            holder: "one process after another".to_owned(),
        })
    }
}

impl Drop for Claim {
    /// Removes the file while it is still locked.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Opens a file of ours, or makes one; none if something else is there. The name is known
/// beforehand, so a link that somebody put there is not followed.
fn open(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    for _ in 0..TRIES {
        match fs::symlink_metadata(path) {
            Ok(about) if !about.is_file() || about.len() > BYTES_MAX => return Ok(None),
            Ok(_) => match options.open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(mut file) => {
                    let mut text = Vec::new();
                    // An empty one is of a process that was ended before it wrote a word. One that
                    // cannot be read is locked.
                    let read = (&mut file).take(BYTES_MAX).read_to_end(&mut text);
                    let is_ours =
                        read.is_err() || text.is_empty() || text.starts_with(TITLE.as_bytes());
                    return Ok(is_ours.then_some(file));
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match options.clone().create_new(true).open(path) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    made => return made.map(Some),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("it appears and vanishes"))
}

/// The process that a file names.
fn holder(text: &str) -> Option<String> {
    let line = text.strip_prefix(TITLE)?.lines().next()?;
    let (process, _) = line.split_once(',')?;
    Some(process.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_taken_once_and_free_again_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("model.tack");
        let first = Claim::take(&output).unwrap();
        let said = Claim::take(&output).unwrap_err().to_string();
        assert!(said.contains(&format!("process {} is baking", std::process::id())), "{said}");
        assert!(
            Claim::take(&folder.path().join("other.tack")).is_ok(),
            "another output is another bake's"
        );
        drop(first);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            0,
            "nothing is left beside the output"
        );
        drop(Claim::take(&output).unwrap());
    }

    #[test]
    fn what_a_killed_bake_left_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("model.tack");
        let path = beside(&output, "lock");
        for left in [String::new(), format!("{TITLE}process 1, attempt 0\n")] {
            fs::write(&path, left).unwrap();
            drop(Claim::take(&output).unwrap());
            assert!(!path.exists());
        }
    }

    #[test]
    fn another_file_or_a_link_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("model.tack");
        let path = beside(&output, "lock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Claim::take(&output), Err(BakeError::Occupied { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        #[cfg(unix)]
        {
            let victim = folder.path().join("victim");
            for target in [Some("precious"), None] {
                let _ = fs::remove_file(&path);
                let _ = fs::remove_file(&victim);
                if let Some(text) = target {
                    fs::write(&victim, text).unwrap();
                }
                std::os::unix::fs::symlink(&victim, &path).unwrap();
                assert!(matches!(Claim::take(&output), Err(BakeError::Occupied { .. })));
                assert_eq!(fs::read_to_string(&victim).ok().as_deref(), target);
            }
        }
    }
}
