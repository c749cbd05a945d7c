//! Memory that may not be there: an error, not the end of the program; and how much of it the
//! system would still give.

mod control_group;
pub(crate) mod room;

pub(crate) use room::anonymous_bytes;
pub use room::{Bound, Room, available};

use crate::error::Error;

/// Whether plans are held to what the system would give ([`available`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SystemMemory {
    /// They are. Of mapped weights only what a token reads is counted: all else can be read
    /// again.
    #[default]
    Checked,
    /// They are not.
    Ignored,
}

/// `count` zeros. Large ones come from the system untouched and take no memory before they are
/// written.
///
/// # Errors
/// The system has no room for them.
pub(crate) fn zeros<T: Clone + Default>(count: usize) -> Result<Vec<T>, Error> {
    // `vec!` ends the program where there is no room, and a reserved vector would be touched by
    // filling it: so the room is reserved first and released.
    drop(list::<T>(count)?);
    Ok(vec![T::default(); count])
}

/// An empty list with room for `count` elements: pushing them allocates no more.
///
/// # Errors
/// The system has no room for them.
pub(crate) fn list<T>(count: usize) -> Result<Vec<T>, Error> {
    let mut list = Vec::new();
    let bytes = (count as u64).saturating_mul(size_of::<T>() as u64);
    list.try_reserve_exact(count).map_err(|_| Error::Allocation { bytes })?;
    Ok(list)
}

/// Reserves `bytes` in one piece and releases them untouched.
///
/// For what others allocate bit by bit, and where a bit that is refused ends the program: an
/// address space with a limit, or a system that promises no more than it has, says so here.
///
/// # Errors
/// The system has no such room.
pub(crate) fn expect_room(bytes: u64) -> Result<(), Error> {
    let count = usize::try_from(bytes).map_err(|_| Error::Allocation { bytes })?;
    list::<u8>(count).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_an_error() {
        assert_eq!(zeros::<u32>(3).unwrap(), [0; 3]);
        assert_eq!(list::<u64>(5).unwrap().capacity(), 5);
        assert!(expect_room(1 << 20).is_ok());
        let bytes = |result: Result<(), Error>| match result {
            Err(Error::Allocation { bytes }) => bytes,
            other => panic!("{other:?}"),
        };
        assert_eq!(bytes(zeros::<u64>(usize::MAX).map(drop)), u64::MAX);
        assert_eq!(bytes(list::<u64>(usize::MAX / 16).map(drop)), (usize::MAX / 16) as u64 * 8);
        assert_eq!(bytes(expect_room(u64::MAX)), u64::MAX);
    }
}
