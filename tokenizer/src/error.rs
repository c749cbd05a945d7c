//! Why a `tokenizer.json` is refused, in one line each.

/// A `tokenizer.json` that is not given to the library.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SurveyError {
    /// It is no JSON, or not laid out as a tokenizer.
    #[error("{0}")]
    Layout(String),
    /// A kind that no library knows, or that is not accepted here.
    #[error("{section}: expected one of {expected}, found {found:?}")]
    Kind {
        /// Where.
        section: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is, cut short.
        found: String,
    },
    /// More of something than any published tokenizer has.
    #[error("{what}: {found}, the limit is {limit}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        found: u64,
        /// The most there may be.
        limit: u64,
    },
    /// Its normalizers can make a text this many times as long.
    #[error("its normalizers can make a text {found:.0} times as long, the limit is {limit:.0}")]
    Growth {
        /// How many times.
        found: f64,
        /// The most.
        limit: f64,
    },
    /// A table of characters that is not what it says.
    #[error("precompiled_charsmap: {0}")]
    Charsmap(&'static str),
    /// A regular expression that is not one.
    #[error("regular expression {pattern:?}: {problem}")]
    Regex {
        /// Its beginning.
        pattern: String,
        /// What is wrong.
        problem: &'static str,
    },
}

/// Holds a count to its limit.
pub(crate) fn within(what: &'static str, found: usize, limit: usize) -> Result<(), SurveyError> {
    if found <= limit {
        Ok(())
    } else {
        Err(SurveyError::Limit { what, found: found as u64, limit: limit as u64 })
    }
}

/// The beginning of a text that an error shows.
pub(crate) fn short(text: &str) -> String {
    const CHARS: usize = 40;
    let mut beginning: String = text.chars().take(CHARS).collect();
    if beginning.len() < text.len() {
        beginning.push('…');
    }
    beginning
}
