//! Buffers that are declared once: what a plan counts is what a session allocates.
//!
//! A block of the network declares its scratch with [`buffers!`] and says in one function how much
//! each buffer needs. Bytes and allocation follow from the declaration.

use std::ops::{Deref, DerefMut};

use crate::error::Error;
use crate::memory::{list, zeros};

/// Memory whose size is known before it is allocated.
pub trait Room {
    /// Bytes that [`Room::allocate`] takes.
    fn bytes(&self) -> u64;

    /// Allocates all of it.
    ///
    /// # Errors
    /// The system has no such room.
    fn allocate(&mut self) -> Result<(), Error>;
}

/// Elements of a fixed number. Before they are allocated there are none.
#[derive(Debug, Default)]
pub struct Buffer<T> {
    planned: usize,
    elements: Vec<T>,
}

impl<T> Buffer<T> {
    /// Has room for at least `count` elements.
    pub fn need(&mut self, count: usize) {
        self.planned = self.planned.max(count);
    }
}

impl<T: Clone + Default> Room for Buffer<T> {
    fn bytes(&self) -> u64 {
        (self.planned * size_of::<T>()) as u64
    }

    fn allocate(&mut self) -> Result<(), Error> {
        self.elements = zeros(self.planned)?;
        Ok(())
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.elements
    }
}

impl<T> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.elements
    }
}

/// A list that is filled anew again and again, never beyond its room.
#[derive(Debug)]
pub struct List<T> {
    planned: usize,
    elements: Vec<T>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { planned: 0, elements: Vec::new() }
    }
}

impl<T> List<T> {
    /// Has room for at least `count` elements.
    pub fn need(&mut self, count: usize) {
        self.planned = self.planned.max(count);
    }
}

impl<T> Room for List<T> {
    fn bytes(&self) -> u64 {
        (self.planned * size_of::<T>()) as u64
    }

    fn allocate(&mut self) -> Result<(), Error> {
        self.elements = list(self.planned)?;
        Ok(())
    }
}

impl<T> Deref for List<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.elements
    }
}

impl<T> DerefMut for List<T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.elements
    }
}

/// Declares a struct of buffers. This
///
/// ```ignore
/// buffers! {
///     /// What a block works with.
///     pub struct Scratch { pub query: Buffer<f32>, pub inputs: Inputs }
/// }
/// ```
///
/// becomes the struct itself, and
///
/// ```ignore
/// impl Room for Scratch {
///     fn bytes(&self) -> u64 { 0 + self.query.bytes() + self.inputs.bytes() }
///     fn allocate(&mut self) -> Result<(), Error> {
///         self.query.allocate()?;
///         self.inputs.allocate()?;
///         Ok(())
///     }
/// }
/// ```
macro_rules! buffers {
    (
        $(#[$doc:meta])*
        $visible:vis struct $name:ident {
            $($(#[$field_doc:meta])* $field_visible:vis $field:ident: $kind:ty,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        $visible struct $name {
            $($(#[$field_doc])* $field_visible $field: $kind,)*
        }

        impl $crate::cpu::buffer::Room for $name {
            fn bytes(&self) -> u64 {
                0 $(+ $crate::cpu::buffer::Room::bytes(&self.$field))*
            }

            fn allocate(&mut self) -> Result<(), $crate::error::Error> {
                $($crate::cpu::buffer::Room::allocate(&mut self.$field)?;)*
                Ok(())
            }
        }
    };
}

pub(crate) use buffers;

#[cfg(test)]
mod tests {
    use super::*;

    buffers! {
        struct Scratch {
            floats: Buffer<f32>,
            list: List<u16>,
        }
    }

    #[test]
    fn what_is_counted_is_allocated() {
        let mut scratch = Scratch::default();
        scratch.floats.need(3);
        scratch.floats.need(2);
        scratch.list.need(5);
        assert_eq!(scratch.bytes(), 3 * 4 + 5 * 2);
        assert!(scratch.floats.is_empty() && scratch.list.capacity() == 0);
        scratch.allocate().unwrap();
        assert_eq!((&*scratch.floats, scratch.list.capacity()), (&[0.0; 3][..], 5));
    }
}
