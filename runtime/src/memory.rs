//! Memory that may not be there: an error, not the end of the program.

use crate::error::Error;

/// `count` zeros. Large ones come from the system untouched and take no memory before they are written.
///
/// # Errors
/// The system has no room for so many.
pub fn zeros<T: Clone + Default>(count: usize) -> Result<Vec<T>, Error> {
    // `vec!` ends the program where there is no room, and a reserved vector would be touched by filling it: so the room is
    // asked for first and given back.
    let mut probe = Vec::<T>::new();
    let bytes = (count as u64).saturating_mul(size_of::<T>() as u64);
    probe.try_reserve_exact(count).map_err(|_| Error::Allocation { bytes })?;
    drop(probe);
    Ok(vec![T::default(); count])
}
