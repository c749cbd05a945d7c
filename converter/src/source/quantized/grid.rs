//! Scales, zero points and offsets: one number for some rows and some columns of a weight.

use super::super::{ElementKind, SourceError, TensorInfo};
use super::bits::Codes;
use super::stored::Stored;
use super::values::Values;

/// A number for each row and group of a weight.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    pub entries: Entries,
    /// Groups of a row.
    pub groups: usize,
    /// Whether the stored matrix is `[groups, rows]`, not `[rows, groups]`.
    pub turned: bool,
    /// How rows of the weight share stored ones.
    pub sharing: Sharing,
}

/// How the numbers are stored.
#[derive(Clone, Debug)]
pub(super) enum Entries {
    /// As numbers.
    Numbers(TensorInfo),
    /// As codes.
    Codes(Codes, Values),
}

/// In every matrix of `matrix_rows` rows, `each` rows share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sharing {
    pub matrix_rows: usize,
    pub each: usize,
}

impl Sharing {
    /// Every row has its own.
    pub const NONE: Self = Self { matrix_rows: 1, each: 1 };

    /// Which stored row belongs to a row of the weight.
    fn at(self, row: usize) -> usize {
        let entries = self.matrix_rows.div_ceil(self.each);
        row / self.matrix_rows * entries + row % self.matrix_rows / self.each
    }
}

impl Grid {
    /// The numbers of `count` rows from `first` on, `[count, groups]`.
    pub fn read(
        &self,
        stored: Stored<'_>,
        first: usize,
        count: usize,
    ) -> Result<Vec<f32>, SourceError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let rows = self.sharing.at(first)..self.sharing.at(first + count - 1) + 1;
        let groups = 0..self.groups;
        let (outer, inner) = if self.turned {
            (groups.clone(), rows.clone())
        } else {
            (rows.clone(), groups.clone())
        };
        let width = inner.len();
        let numbers = match &self.entries {
            Entries::Numbers(tensor) => {
                // A row of a turned matrix holds more than is wanted of it.
                let row_numbers =
                    if self.turned { tensor.elements() / self.groups } else { self.groups };
                stored.numbers(tensor, row_numbers, outer, inner)?
            }
            Entries::Codes(codes, values) => {
                codes.read(stored, outer, inner)?.into_iter().map(|code| values.of(code)).collect()
            }
        };
        let mut wanted = Vec::with_capacity(count * self.groups);
        for row in first..first + count {
            let row = self.sharing.at(row) - rows.start;
            let at =
                |group: usize| if self.turned { group * width + row } else { row * width + group };
            wanted.extend(groups.clone().map(|group| numbers[at(group)]));
        }
        Ok(wanted)
    }
}

/// Whether a tensor holds plain numbers that may be scales.
pub(super) fn is_numbers(kind: ElementKind) -> bool {
    use ElementKind::*;
    matches!(kind, F64 | F32 | F16 | Bf16 | F8E4M3 | F8E8M0)
}
