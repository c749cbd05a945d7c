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
    /// Another file stands there.
    #[error("{}: expected a scratch file of an earlier bake or nothing there, found another file", path.display())]
    Occupied {
        /// The file.
        path: PathBuf,
    },
}
