//! Which part of a stored tensor is wanted, and in which order: slices, strides, turned heads and
//! transposes.
//!
//! A stored tensor is seen as a matrix `[product of leading dimensions, last dimension]`.

use std::ops::Range;

use crate::error::LoadError;
use crate::mxfp4;
use crate::tensors::Tensors;

/// A part of one stored tensor, as `stack` matrices of equal shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Name of the tensor (MXFP4: of its blocks).
    pub(crate) tensor: String,
    /// How its values are stored.
    storage: Storage,
    /// The shape it must have, row-major.
    shape: Vec<usize>,
    /// Stored rows of one matrix.
    rows: Pick,
    /// Stored columns.
    columns: Pick,
    /// Matrices.
    stack: usize,
    /// Stored rows from one matrix to the next.
    stack_step: usize,
    /// Whether stored rows become columns.
    transposed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Storage {
    Floats,
    /// The name of the scales; the tensor holds the blocks, `[.., columns / 32, 16]`.
    Mxfp4 {
        scales: String,
    },
}

/// Rows or columns in the order they are wanted: every `step`th from `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pick {
    pub first: usize,
    pub step: usize,
    pub count: usize,
    turned: Option<Turned>,
}

/// In every `head` indices, `width` from `skip` are as interleaved pairs `(2i, 2i + 1)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turned {
    head: usize,
    skip: usize,
    width: usize,
}

impl Pick {
    pub fn all(count: usize) -> Self {
        Self::every(0, 1, count)
    }

    pub fn every(first: usize, step: usize, count: usize) -> Self {
        Self { first, step, count, turned: None }
    }

    /// Where the `index`th wanted one is stored.
    ///
    /// RoPE turns pairs. Where a checkpoint keeps pair `i` at `(2i, 2i + 1)`, the runtime wants it
    /// at `(i, i + width / 2)`; both rows then meet the same frequency.
    pub fn at(&self, index: usize) -> usize {
        let index = match self.turned {
            None => index,
            Some(Turned { head, skip, width }) => {
                let start = index - index % head;
                let inside = index % head;
                let half = width / 2;
                match inside.checked_sub(skip) {
                    Some(place) if place < half => start + skip + 2 * place,
                    Some(place) if place < width => start + skip + 2 * (place - half) + 1,
                    _ => index,
                }
            }
        };
        self.first + self.step * index
    }
}

impl Selection {
    /// A whole matrix `[rows, columns]`.
    pub(crate) fn matrix(tensor: String, rows: usize, columns: usize) -> Self {
        Self {
            tensor,
            storage: Storage::Floats,
            shape: vec![rows, columns],
            rows: Pick::all(rows),
            columns: Pick::all(columns),
            stack: 1,
            stack_step: rows,
            transposed: false,
        }
    }

    /// A whole vector `[length]`.
    pub(crate) fn vector(tensor: String, length: usize) -> Self {
        Self { shape: vec![length], ..Self::matrix(tensor, 1, length) }
    }

    /// All matrices of a tensor `[count, rows, columns]`.
    pub(crate) fn stacked(tensor: String, count: usize, rows: usize, columns: usize) -> Self {
        Self {
            shape: vec![count, rows, columns],
            stack: count,
            ..Self::matrix(tensor, rows, columns)
        }
    }

    /// Matrix `index` of a tensor `[count, rows, columns]`.
    pub(crate) fn one_of(
        tensor: String,
        index: usize,
        count: usize,
        rows: usize,
        columns: usize,
    ) -> Self {
        let rows_of_it = Pick::every(index * rows, 1, rows);
        Self { rows: rows_of_it, stack: 1, ..Self::stacked(tensor, count, rows, columns) }
    }

    /// Row `index` of a matrix `[count, length]`, as a vector.
    pub(crate) fn row_of(tensor: String, index: usize, count: usize, length: usize) -> Self {
        Self { rows: Pick::every(index, 1, 1), ..Self::matrix(tensor, count, length) }
    }

    /// The same place in a tensor of MXFP4 blocks; a last block beyond the columns is cut.
    pub(crate) fn in_mxfp4(mut self, scales: String) -> Self {
        let columns = self.shape.pop().unwrap_or(0);
        self.shape.push(columns.div_ceil(mxfp4::BLOCK_VALUES));
        self.shape.push(mxfp4::BLOCK_BYTES);
        Self { storage: Storage::Mxfp4 { scales }, ..self }
    }

    /// Every `step`th of the rows picked so far.
    pub(crate) fn every_row(mut self, first: usize, step: usize, count: usize) -> Self {
        self.rows = Pick::every(self.rows.first + first, step, count);
        self
    }

    /// Every `step`th of the columns.
    pub(crate) fn every_column(mut self, first: usize, step: usize, count: usize) -> Self {
        self.columns = Pick::every(first, step, count);
        self
    }

    /// `stack` matrices of `count` rows, `step` rows apart, from row `first`.
    pub(crate) fn split(mut self, stack: usize, first: usize, count: usize, step: usize) -> Self {
        self.rows = Pick::every(first, 1, count);
        self.stack = stack;
        self.stack_step = step;
        self
    }

    /// The same place in a tensor of another name.
    pub(crate) fn rename(&mut self, name: impl Fn(&str) -> String) {
        self.tensor = name(&self.tensor);
        if let Storage::Mxfp4 { scales } = &mut self.storage {
            *scales = name(scales);
        }
    }

    /// Stored rows become columns.
    pub(crate) fn transposed(mut self) -> Self {
        self.transposed = !self.transposed;
        self
    }

    /// Outputs (a vector's elements) are as interleaved pairs in every head: put halves together.
    pub(crate) fn turned(mut self, head: usize, skip: usize, width: usize) -> Self {
        let turned = Some(Turned { head, skip, width });
        if self.shape.len() == 1 {
            self.columns.turned = turned;
        } else {
            self.rows.turned = turned;
        }
        self
    }

    /// `[stack, rows, columns]` of what is selected.
    pub(crate) fn output_shape(&self) -> [usize; 3] {
        let (rows, columns) = if self.transposed {
            (self.columns.count, self.rows.count)
        } else {
            (self.rows.count, self.columns.count)
        };
        [self.stack, rows, columns]
    }

    /// Whether the stored tensors are bytes.
    pub(crate) fn is_bytes(&self) -> bool {
        matches!(self.storage, Storage::Mxfp4 { .. })
    }

    /// Names of the stored tensors it reads, each with the shape it must have.
    pub(crate) fn stored(&self) -> Vec<(&str, Vec<usize>)> {
        let mut stored = vec![(self.tensor.as_str(), self.shape.clone())];
        if let Storage::Mxfp4 { scales } = &self.storage {
            stored.push((scales, self.shape[..self.shape.len() - 1].to_vec()));
        }
        stored
    }

    /// Rows `wanted` of what is selected, the matrices of a stack one after another.
    pub(crate) fn load<T: Tensors + ?Sized>(
        &self,
        tensors: &T,
        wanted: Range<usize>,
    ) -> Result<Vec<f32>, LoadError<T::Error>> {
        self.check(tensors)?;
        let [_, rows, columns] = self.output_shape();
        if let Some(first) = self.stands_together(&wanted) {
            return Ok(self.read(tensors, first, wanted.len())?.0);
        }
        let mut values = Vec::with_capacity(wanted.len() * columns);
        let mut next = wanted.start;
        while next < wanted.end && rows > 0 {
            let (matrix, from) = (next / rows, next % rows);
            let to = rows.min(from + wanted.end - next);
            self.load_matrix(tensors, matrix * self.stack_step, from..to, &mut values)?;
            next += to - from;
        }
        Ok(values)
    }

    /// The first stored row of these output rows, if they are whole and one after another.
    fn stands_together(&self, wanted: &Range<usize>) -> Option<usize> {
        let [_, rows, _] = self.output_shape();
        let whole = !self.transposed
            && self.rows.step == 1
            && self.rows.turned.is_none()
            && !wanted.is_empty();
        let matrix = wanted.start.checked_div(rows)?;
        (whole && self.columns == Pick::all(self.width()) && wanted.end <= (matrix + 1) * rows)
            .then(|| matrix * self.stack_step + self.rows.at(wanted.start % rows))
    }

    /// Values of a whole stored row.
    fn width(&self) -> usize {
        match self.storage {
            Storage::Floats => self.shape.last().copied().unwrap_or(0),
            Storage::Mxfp4 { .. } => self.shape[self.shape.len() - 2] * mxfp4::BLOCK_VALUES,
        }
    }

    /// Most values that loading `count` rows of it has in memory at once, the rows themselves among
    /// them.
    pub(crate) fn values_at_once(&self, count: usize) -> usize {
        let [_, rows, columns] = self.output_shape();
        let count = count.min(rows);
        let whole = !self.transposed && self.rows.step == 1 && self.rows.turned.is_none();
        if whole && self.columns == Pick::all(self.width()) {
            return count * columns;
        }
        let stored = match (self.transposed, self.rows.turned) {
            // Every stored row has something of every output row.
            (true, _) => self.rows.count * self.rows.step,
            // A pair's halves are half a head apart.
            (false, Some(Turned { head, .. })) => (count + head) * self.rows.step,
            (false, None) => count * self.rows.step,
        };
        stored * self.width() + count * columns
    }

    /// Appends some output rows of the matrix whose stored rows are shifted by `shift`.
    fn load_matrix<T: Tensors + ?Sized>(
        &self,
        tensors: &T,
        shift: usize,
        wanted: Range<usize>,
        values: &mut Vec<f32>,
    ) -> Result<(), LoadError<T::Error>> {
        let needed = if self.transposed { 0..self.rows.count } else { wanted.clone() };
        let stored_rows = needed.map(|row| shift + self.rows.at(row));
        let Some(first) = stored_rows.clone().min() else { return Ok(()) };
        let end = stored_rows.clone().max().map_or(first, |last| last + 1);
        let (block, width) = self.read(tensors, first, end - first)?;

        if self.transposed {
            for column in wanted {
                let column = self.columns.at(column);
                values.extend(stored_rows.clone().map(|row| block[(row - first) * width + column]));
            }
        } else {
            for row in stored_rows {
                let row = &block[(row - first) * width..][..width];
                if self.columns == Pick::all(width) {
                    values.extend_from_slice(row);
                } else {
                    values
                        .extend((0..self.columns.count).map(|column| row[self.columns.at(column)]));
                }
            }
        }
        Ok(())
    }

    /// Whole stored rows and their width.
    fn read<T: Tensors + ?Sized>(
        &self,
        tensors: &T,
        first: usize,
        count: usize,
    ) -> Result<(Vec<f32>, usize), LoadError<T::Error>> {
        let name = &self.tensor;
        let last = self.shape.last().copied().unwrap_or(0);
        match &self.storage {
            Storage::Floats => {
                let values =
                    tensors.read_rows(name, first, count).map_err(|error| failed(name, error))?;
                expect_length(name, count * last, values.len())?;
                Ok((values, last))
            }
            Storage::Mxfp4 { scales } => {
                // The last dimension holds the bytes of a block, the one before it the blocks of a
                // row.
                let row_blocks = self.shape[self.shape.len() - 2];
                let blocks = tensors
                    .read_bytes(name, first * row_blocks, count * row_blocks)
                    .map_err(|error| failed(name, error))?;
                expect_length(name, count * row_blocks * last, blocks.len())?;
                let exponents = tensors
                    .read_bytes(scales, first, count)
                    .map_err(|error| failed(scales, error))?;
                expect_length(scales, count * row_blocks, exponents.len())?;
                Ok((mxfp4::decode(&blocks, &exponents), row_blocks * mxfp4::BLOCK_VALUES))
            }
        }
    }

    fn check<T: Tensors + ?Sized>(&self, tensors: &T) -> Result<(), LoadError<T::Error>> {
        for (name, expected) in self.stored() {
            match tensors.shape(name) {
                None => return Err(LoadError::Missing { tensor: name.into(), expected }),
                Some(found) if !same_shape(&found, &expected) => {
                    return Err(LoadError::Shape { tensor: name.into(), expected, found });
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// Whether two shapes are the same but for leading ones: `[1, n]` and `[n]` are both a vector.
pub(crate) fn same_shape(left: &[usize], right: &[usize]) -> bool {
    fn trimmed(shape: &[usize]) -> &[usize] {
        let ones = shape.iter().take_while(|&&dimension| dimension == 1).count();
        &shape[ones..]
    }
    trimmed(left) == trimmed(right)
}

fn failed<E>(tensor: &str, error: E) -> LoadError<E> {
    LoadError::Read { tensor: tensor.into(), error }
}

fn expect_length<E>(tensor: &str, expected: usize, found: usize) -> Result<(), LoadError<E>> {
    if found == expected {
        Ok(())
    } else {
        Err(LoadError::Length { tensor: tensor.into(), expected, found })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turned_heads_put_even_ones_before_odd_ones() {
        let mut pick = Pick::all(16);
        pick.turned = Some(Turned { head: 8, skip: 2, width: 4 });
        let order: Vec<usize> = (0..16).map(|index| pick.at(index)).collect();
        assert_eq!(order, [0, 1, 2, 4, 3, 5, 6, 7, 8, 9, 10, 12, 11, 13, 14, 15]);
    }

    /// Scores depend on the turned query and key only through their product, which the order must
    /// not change: complex pairs `(2i, 2i + 1)` as stored, against pairs `(i, i + n / 2)` as
    /// wanted.
    #[test]
    fn scores_of_turned_heads_are_those_of_the_stored_ones() {
        const WIDTH: usize = 8;
        let mut pick = Pick::all(WIDTH);
        pick.turned = Some(Turned { head: WIDTH, skip: 0, width: WIDTH });
        let stored = |seed: usize| {
            (0..WIDTH).map(move |i| ((i * 7 + seed) as f64).sin()).collect::<Vec<_>>()
        };
        let turn = |x: &[f64], position: f64, pair_of: fn(usize) -> (usize, usize)| {
            let mut turned = x.to_vec();
            for pair in 0..WIDTH / 2 {
                let (sine, cosine) = (position * 0.3f64.powi(pair as i32)).sin_cos();
                let (a, b) = pair_of(pair);
                turned[a] = x[a] * cosine - x[b] * sine;
                turned[b] = x[a] * sine + x[b] * cosine;
            }
            turned
        };
        let score = |query: &[f64], key: &[f64], pair_of: fn(usize) -> (usize, usize)| -> f64 {
            turn(query, 5.0, pair_of).iter().zip(turn(key, 2.0, pair_of)).map(|(q, k)| q * k).sum()
        };
        let wanted = |x: &[f64]| (0..WIDTH).map(|index| x[pick.at(index)]).collect::<Vec<_>>();

        let (query, key) = (stored(1), stored(4));
        let expected = score(&query, &key, |pair| (2 * pair, 2 * pair + 1));
        let found = score(&wanted(&query), &wanted(&key), |pair| (pair, pair + WIDTH / 2));
        assert!((expected - found).abs() < 1e-12, "{expected} {found}");
        // A wrong order would have shown.
        assert!((expected - score(&query, &key, |pair| (pair, pair + WIDTH / 2))).abs() > 1e-3);
    }

    #[test]
    fn leading_ones_do_not_matter() {
        assert!(same_shape(&[1, 5], &[5]));
        assert!(same_shape(&[1, 2, 3], &[2, 3]));
        assert!(!same_shape(&[5, 1], &[5]));
        assert!(!same_shape(&[2, 3], &[3, 2]));
    }
}
