//! What can go wrong when a blob is opened or run.

use std::path::PathBuf;

use hardtack_format::FormatError;

use crate::memory::room::Bound;

/// A failure of the runtime. Every message is one line.
///
/// ```
/// use hardtack::{Engine, Error, SessionOptions};
///
/// # fn main() -> Result<(), hardtack::Error> {
/// let engine = Engine::open("tests/data/tiny.tack")?;
/// let mut session = engine.session(&SessionOptions::new().context(4))?;
/// match session.read(&[1, 2, 3, 4, 5]) {
///     Err(Error::ContextFull { capacity, .. }) => println!("only {capacity} tokens fit"),
///     other => other?,
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The blob.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a valid blob.
    #[error("{}: {source}", path.display())]
    Blob {
        /// The blob.
        path: PathBuf,
        /// The rule it breaks.
        source: FormatError,
    },
    /// The path is something else than a blob, and is known by name.
    #[error("{} is {found}: {advice}", path.display())]
    NotABlob {
        /// What was given.
        path: PathBuf,
        /// What it is, with its article.
        found: String,
        /// What to do next.
        advice: String,
    },
    /// A saved session that cannot be restored.
    #[error("{}: {what} before byte {offset}: expected {expected}, found {found}", path.display())]
    Saved {
        /// The session's file.
        path: PathBuf,
        /// Bytes read until then.
        offset: u64,
        /// What is wrong.
        what: &'static str,
        /// What it may be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A saved session that is whole, but of another model or of a cache that is kept in another
    /// way.
    #[error("{}: {what}: expected {expected}, found {found}", path.display())]
    SavedElsewhere {
        /// The session's file.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// What this session has.
        expected: String,
        /// What the saved one has.
        found: String,
    },
    /// A session's file that another program has open.
    #[error("{}: another program has this conversation open; end it, or take another file", path.display())]
    SavedInUse {
        /// The session's file.
        path: PathBuf,
    },
    /// Something that needs text is asked of a blob without it.
    #[error("{}: no {section} section: {advice}", path.display())]
    NoText {
        /// The blob.
        path: PathBuf,
        /// What is missing.
        section: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// A tokenizer or a text that cannot be used.
    #[cfg(feature = "text")]
    #[error(transparent)]
    Text(#[from] crate::text::TextError),
    /// A chat template that cannot be used or rendered.
    #[cfg(feature = "text")]
    #[error(transparent)]
    Template(#[from] crate::text::TemplateError),
    /// A message that is too long for the context, with everything older forgotten.
    #[error("this message makes a prompt of {found}, {room} fit the context")]
    MessageSize {
        /// What was found, in tokens or bytes.
        found: String,
        /// What fits.
        room: String,
    },
    /// No tier of kernels has this name on this processor.
    #[error("kernels '{name}' are not available here; available: {available}")]
    Kernels {
        /// The name asked for.
        name: String,
        /// The names that would work.
        available: String,
    },
    /// The thread pool cannot be started.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the pool said.
        reason: String,
    },
    /// A setting outside its range.
    #[error("{setting}: expected {expected}, found {found}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// Its range.
        expected: String,
        /// What was asked for.
        found: String,
    },
    /// The plan does not fit the memory it may use.
    #[error("{needed} bytes are needed ({parts}), but the limit is {limit}; {advice}")]
    Memory {
        /// Everything together.
        needed: u64,
        /// What it is made of.
        parts: String,
        /// What was allowed.
        limit: u64,
        /// What would fit.
        advice: String,
    },
    /// The plan does not fit what the system would give.
    #[error(
        "{needed} bytes must be in memory ({parts}), but {bound} has no more than {room} left; {advice}"
    )]
    SystemMemory {
        /// Everything that must stay in memory.
        needed: u64,
        /// What the plan is made of.
        parts: String,
        /// What the process has of it and may still take.
        room: u64,
        /// What has no more.
        bound: Bound,
        /// What would fit.
        advice: String,
    },
    /// A blob begins where it cannot be used in place.
    #[error("{}: expected to begin at a multiple of {alignment} bytes, found {start}: {advice}", path.display())]
    Alignment {
        /// The blob.
        path: PathBuf,
        /// Where it begins, in its file or in memory.
        start: u64,
        /// Where it may begin.
        alignment: u64,
        /// What to do.
        advice: &'static str,
    },
    /// A device fails, or is not there, or has no more memory.
    #[cfg(feature = "cuda")]
    #[error(transparent)]
    Device(#[from] hardtack_kernels_cuda::CudaError),
    /// The system has no more memory.
    #[error("the system has no room for {bytes} bytes")]
    Allocation {
        /// What was asked for at once.
        bytes: u64,
    },
    /// A token id the model does not have.
    #[error("token {token} is not below the vocabulary size {vocabulary}")]
    Token {
        /// The id.
        token: u32,
        /// The model's vocabulary size.
        vocabulary: u32,
    },
    /// The caller's filters of a [`Sampler`](crate::Sampler) forbid every token.
    #[error("the sampler's filters leave no token")]
    NoToken,
    /// The session's context is full.
    #[error(
        "the context is full: {position} tokens are kept, {more} more were given, {capacity} fit"
    )]
    ContextFull {
        /// Tokens kept.
        position: usize,
        /// Tokens given.
        more: usize,
        /// Tokens that fit.
        capacity: usize,
    },
}
