//! Stop strings: where a text reaches one, and how much of its end may be the beginning of one.

use crate::text::TextError;

/// Most stop strings.
pub const STOPS_MAX: usize = 8;
/// Most bytes of one stop string.
pub const STOP_BYTES_MAX: usize = 64;

/// A few short strings, each of which ends a text.
#[derive(Clone, Debug, Default)]
pub struct Stops(Vec<String>);

impl Stops {
    /// Takes at most `STOPS_MAX` strings of 1 to `STOP_BYTES_MAX` bytes.
    pub fn new<T: AsRef<str>>(stops: &[T]) -> Result<Self, TextError> {
        if stops.len() > STOPS_MAX {
            return Err(TextError::Stops("more than 8"));
        }
        if stops.iter().any(|stop| stop.as_ref().is_empty()) {
            return Err(TextError::Stops("one is empty and would stop everything"));
        }
        if stops.iter().any(|stop| stop.as_ref().len() > STOP_BYTES_MAX) {
            return Err(TextError::Stops("one has more than 64 bytes"));
        }
        Ok(Self(stops.iter().map(|stop| stop.as_ref().into()).collect()))
    }

    /// The stop string that is complete first, as (where it begins, its number). Two that end
    /// together: the longer one. Depends on the text only, never on the pieces in which it came.
    pub(crate) fn find(&self, text: &str) -> Option<(usize, usize)> {
        let found = self.0.iter().enumerate().filter_map(|(number, stop)| {
            let start = text.find(stop.as_str())?;
            Some((start + stop.len(), start, number))
        });
        found.min().map(|(_, start, number)| (start, number))
    }

    /// How many bytes at the end of the text may be the beginning of a stop string.
    pub(crate) fn held_back(&self, text: &str) -> usize {
        let partial = |stop: &str| {
            let lengths = (1..stop.len().min(text.len() + 1)).rev();
            lengths
                .into_iter()
                .find(|&length| text.as_bytes().ends_with(&stop.as_bytes()[..length]))
                .unwrap_or(0)
        };
        self.0.iter().map(|stop| partial(stop)).max().unwrap_or(0)
    }
}
