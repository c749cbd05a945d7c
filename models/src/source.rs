//! Where one tensor of a blob comes from, and how it is read.

use hardtack_format::Role;

use crate::error::LoadError;
use crate::select::Selection;
use crate::slots::Slot;
use crate::tensors::Tensors;

/// One tensor of a section: its role, its shape in the blob, and where its values come from.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSource {
    /// What it is for.
    pub role: Role,
    /// Equal matrices one after another.
    pub stack: u32,
    /// Rows of each (1 for vectors).
    pub rows: u32,
    /// Columns of each.
    pub columns: u32,
    /// Where its values come from.
    pub value: Source,
}

/// Where values come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Computed from the settings.
    Literal(Vec<f32>),
    /// Part of a stored tensor.
    Stored(Selection),
    /// Computed values, each divided by a stored one (GGUF's factors of RoPE's frequencies).
    Divided {
        /// What is divided.
        values: Vec<f32>,
        /// By what.
        by: Selection,
    },
}

impl TensorSource {
    /// A source for a slot; its shape must be the slot's, which every family's own numbers ensure.
    pub(crate) fn new(slot: &Slot, value: Source) -> Self {
        let &Slot { role, stack, rows, columns, .. } = slot;
        let found = match &value {
            Source::Stored(selection) => selection.output_shape(),
            Source::Literal(values) => [1, 1, values.len()],
            Source::Divided { values, .. } => [1, 1, values.len()],
        };
        assert_eq!(found, [stack, rows, columns].map(|count| count as usize), "shape of {role}");
        Self { role, stack, rows, columns, value }
    }

    /// Whether it is a vector: one row, kept as plain floats in a blob.
    pub fn is_vector(&self) -> bool {
        !self.role.is_matrix()
    }

    /// Whether its stored tensors are read as bytes (blocks and scales of MXFP4), and not as
    /// numbers.
    pub fn is_bytes(&self) -> bool {
        matches!(&self.value, Source::Stored(selection) if selection.is_bytes())
    }

    /// Names of the stored tensors it reads; none for computed values.
    pub fn names(&self) -> Vec<&str> {
        self.stored().into_iter().map(|(name, _)| name).collect()
    }

    /// Names of the stored tensors it reads, each with the shape it must have, row-major.
    pub fn stored(&self) -> Vec<(&str, Vec<usize>)> {
        match &self.value {
            Source::Literal(_) => Vec::new(),
            Source::Stored(selection) | Source::Divided { by: selection, .. } => selection.stored(),
        }
    }

    /// Most values that [`load_rows`](Self::load_rows) has in memory at once for `count` rows, the
    /// rows themselves among them.
    pub fn values_at_once(&self, count: usize) -> usize {
        match &self.value {
            Source::Stored(selection) => selection.values_at_once(count),
            Source::Literal(values) => values.len(),
            Source::Divided { values, by } => values.len() + by.values_at_once(count),
        }
    }

    /// All values, row-major `[stack, rows, columns]`.
    ///
    /// # Errors
    /// A stored tensor is missing or has another shape, or the reader fails.
    pub fn load<T: Tensors + ?Sized>(&self, tensors: &T) -> Result<Vec<f32>, LoadError<T::Error>> {
        self.load_rows(tensors, 0, self.stack as usize * self.rows as usize)
    }

    /// Rows `first .. first + count` of the `stack * rows` there are, so that a large matrix can be
    /// read in parts. Rows past the end are left out.
    ///
    /// # Errors
    /// A stored tensor is missing or has another shape, or the reader fails.
    pub fn load_rows<T: Tensors + ?Sized>(
        &self,
        tensors: &T,
        first: usize,
        count: usize,
    ) -> Result<Vec<f32>, LoadError<T::Error>> {
        let end = first.saturating_add(count).min(self.stack as usize * self.rows as usize);
        let wanted = first.min(end)..end;
        match &self.value {
            Source::Stored(selection) => selection.load(tensors, wanted),
            Source::Literal(values) => {
                Ok(if wanted.is_empty() { Vec::new() } else { values.clone() })
            }
            Source::Divided { values, by } => {
                let divisors = by.load(tensors, wanted)?;
                Ok(values.iter().zip(divisors).map(|(value, divisor)| value / divisor).collect())
            }
        }
    }
}
