//! What can go wrong with the scratch file; every message is one line.

use std::path::PathBuf;

/// A scratch file of encoded tensors that is no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The system refuses to read or write it.
    #[error("{}: {source}", path.display())]
    Access {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another file is there.
    #[error("{}: expected a scratch file of an earlier bake or nothing there, found another file", path.display())]
    Occupied {
        /// The file.
        path: PathBuf,
    },
    /// It is open already, here or in another process.
    #[error("{}: another bake is using this file; wait for it, or choose another output", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// Its bytes are not those that were put there.
    #[error(
        "{}: offset {offset}: expected the bytes that were put there, found others: something else wrote to this file; \
         bake again, which starts from the last good tensor",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the block begins that has changed.
        offset: u64,
    },
}
