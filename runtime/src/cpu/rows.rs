//! Buffers in rows, cut between rows, so that threads fill parts of several of them at once.

use std::slice::ChunksExactMut;

/// Something that has rows.
pub trait Cut: Sized + Send {
    /// The first `rows` rows, and those after them.
    fn cut(self, rows: usize) -> (Self, Self);
}

/// Rows of `width` elements each.
#[derive(Debug)]
pub struct Rows<'a, T> {
    elements: &'a mut [T],
    width: usize,
}

impl<'a, T> Rows<'a, T> {
    /// The rows of a buffer.
    pub const fn new(elements: &'a mut [T], width: usize) -> Self {
        Self { elements, width }
    }

    /// All of them.
    pub const fn elements(&mut self) -> &mut [T] {
        self.elements
    }

    /// One row after another.
    pub fn iter_mut(&mut self) -> ChunksExactMut<'_, T> {
        self.elements.chunks_exact_mut(self.width)
    }
}

impl<T: Send> Cut for Rows<'_, T> {
    fn cut(self, rows: usize) -> (Self, Self) {
        let (first, rest) = self.elements.split_at_mut(rows * self.width);
        (Self::new(first, self.width), Self::new(rest, self.width))
    }
}

impl<A: Cut, B: Cut> Cut for (A, B) {
    fn cut(self, rows: usize) -> (Self, Self) {
        let ((a, rest_a), (b, rest_b)) = (self.0.cut(rows), self.1.cut(rows));
        ((a, b), (rest_a, rest_b))
    }
}
