//! Bytes that the sessions of an engine have taken, so that all of them together keep its limit.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Error;

/// What all sessions of an engine have taken.
#[derive(Clone, Debug, Default)]
pub struct Reservations(Arc<Mutex<u64>>);

/// What one session has taken, until it is dropped.
#[derive(Debug)]
pub struct Reserved {
    all: Reservations,
    bytes: u64,
}

impl Reservations {
    /// Takes the bytes that `plan` decides on beside those that are taken already. Sessions that
    /// begin at once wait for each other.
    ///
    /// # Errors
    /// What `plan` says; nothing is taken then.
    pub fn take<T>(
        &self,
        plan: impl FnOnce(u64) -> Result<(T, u64), Error>,
    ) -> Result<(T, Reserved), Error> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (planned, bytes) = plan(*taken)?;
        *taken = taken.saturating_add(bytes);
        Ok((planned, Reserved { all: self.clone(), bytes }))
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut taken = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        *taken = taken.saturating_sub(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back() {
        let all = Reservations::default();
        let take = |bytes| all.take(|taken| Ok((taken, bytes))).unwrap();
        let (before, first) = take(10);
        let (between, second) = take(5);
        assert_eq!((before, between), (0, 10));
        drop(first);
        assert_eq!(take(0).0, 5);
        drop(second);
        assert_eq!(take(0).0, 0);
        assert!(all.take::<()>(|_| Err(Error::NoToken)).is_err());
        assert_eq!(take(0).0, 0);
    }
}
