//! A file that is replaced as a whole: whoever reads it sees the old content or the new one, after
//! a crash too.

#[cfg(feature = "text")]
use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

/// Links that are followed on the way to a file.
const LINKS_MAX: usize = 40;
/// Temporary names that are tried; each is one of 2^64.
const NAMES_MAX: usize = 16;

/// The file that a path leads to: symbolic links are followed, one to a file that is not there yet
/// included.
///
/// # Errors
/// Links lead nowhere or in a circle.
pub fn target(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&path) {
            Ok(link) => path = path.parent().unwrap_or(Path::new("")).join(link),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

/// Opens a file to read and write, making an empty one that only its owner can read where there is
/// none.
///
/// # Errors
/// What the system says.
#[cfg(feature = "text")]
pub fn open_private(target: &Path) -> io::Result<File> {
    private(OpenOptions::new().read(true).write(true).create(true).truncate(false)).open(target)
}

/// A new content under a temporary name. Unless it is committed it goes away.
#[derive(Debug)]
pub struct Replacement {
    file: Option<File>,
    temporary: PathBuf,
    target: PathBuf,
}

impl Replacement {
    /// An empty file beside the target, under a name that nobody can foresee. It has the mode of
    /// the file that it is going to replace, or else only its owner can read it.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(target: &Path) -> io::Result<Self> {
        let name =
            target.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?;
        let mut failure = io::Error::from(io::ErrorKind::AlreadyExists);
        for _ in 0..NAMES_MAX {
            let mut hidden = OsString::from(".");
            hidden.push(name);
            // The standard library's hash keys are random numbers of the system.
            hidden
                .push(format!(".{:016x}.partial", RandomState::new().hash_one(std::process::id())));
            let temporary = target.with_file_name(hidden);
            // `create_new` never opens what is there, nor follows a link.
            match private(OpenOptions::new().write(true).create_new(true)).open(&temporary) {
                Ok(file) => {
                    // Says that somebody is at it; some file systems have no locks.
                    let _ = file.try_lock();
                    let made = Self { file: Some(file), temporary, target: target.to_owned() };
                    if let (Ok(old), Some(file)) = (fs::metadata(target), &made.file) {
                        file.set_permissions(old.permissions())?;
                    }
                    return Ok(made);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => failure = error,
                Err(error) => return Err(error),
            }
        }
        Err(failure)
    }

    /// The file to write.
    ///
    /// # Panics
    /// Never: the file is there until it is committed.
    pub fn file(&self) -> &File {
        self.file.as_ref().expect("not committed yet")
    }

    /// Takes the target's place, once everything is on the disk.
    ///
    /// # Errors
    /// What the system says; the target is as it was.
    pub fn commit(mut self) -> io::Result<File> {
        self.file().sync_all()?;
        fs::rename(&self.temporary, &self.target)?;
        let file = self.file.take().expect("not committed yet");
        // Not every system syncs folders, and the content is safe without.
        let folder = self.target.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
            let _ = folder.sync_all();
        }
        Ok(file)
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Removes what killed programs have left beside a file: new contents that nobody holds a lock on.
#[cfg(feature = "text")]
pub fn remove_leftovers(target: &Path) {
    let Some(name) = target.file_name().and_then(OsStr::to_str) else { return };
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
    let Ok(entries) = fs::read_dir(folder.unwrap_or(Path::new("."))) else { return };
    for entry in entries.flatten() {
        let found = entry.file_name();
        let middle = found.to_str().and_then(|found| found.strip_prefix('.')?.strip_prefix(name));
        let number = middle.and_then(|rest| rest.strip_prefix('.')?.strip_suffix(".partial"));
        let is_ours = number.is_some_and(|number| {
            number.len() == 16 && number.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        if is_ours
            && entry.file_type().is_ok_and(|kind| kind.is_file())
            && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok())
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether two handles, or a handle and a path, are of one file.
#[cfg(feature = "text")]
pub fn is_same_file(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let (Ok(held), Ok(found)) = (file.metadata(), fs::metadata(path)) else { return false };
        (held.dev(), held.ino()) == (found.dev(), found.ino())
    }
    #[cfg(not(unix))]
    {
        _ = file;
        path.exists()
    }
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options
}
