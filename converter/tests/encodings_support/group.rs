//! One group of weights on the levels `scale * entry + minimum` of a book of entries, the range found by search: the converter's
//! own quantizer, made to work for any entries and with or without a minimum.

use half::f16;

/// Where the levels of a group may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offset {
    /// A minimum of the group's own.
    Minimum,
    /// None: the levels are the entries times the scale.
    None,
}

/// What a group keeps besides its codes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Range {
    pub scale: f32,
    pub minimum: f32,
}

/// Entries in ascending order, and the borders between them.
#[derive(Clone, Debug)]
pub struct Book {
    entries: Vec<f32>,
    borders: Vec<f32>,
}

impl Book {
    pub fn new(entries: Vec<f32>) -> Self {
        assert!(entries.is_sorted() && entries.len() >= 2, "ascending entries");
        let borders = entries.windows(2).map(|pair| 0.5 * (pair[0] + pair[1])).collect();
        Self { entries, borders }
    }

    pub fn entries(&self) -> &[f32] {
        &self.entries
    }

    /// The code whose level is nearest.
    pub fn nearest(&self, weight: f32, range: Range) -> usize {
        let inverse = if range.scale == 0.0 { 0.0 } else { range.scale.recip() };
        let place = (weight - range.minimum) * inverse;
        if self.borders.len() < 16 {
            return self.borders.iter().map(|&border| usize::from(place >= border)).sum();
        }
        self.borders.partition_point(|&border| place >= border)
    }

    /// The level of a code.
    pub fn level(&self, code: usize, range: Range) -> f32 {
        range.scale * self.entries[code] + range.minimum
    }

    /// The nearest level.
    pub fn round(&self, weight: f32, range: Range) -> f32 {
        self.level(self.nearest(weight, range), range)
    }

    /// Squared error of a group.
    pub fn error(&self, weights: &[f32], range: Range) -> f32 {
        weights.iter().map(|&weight| (weight - self.round(weight, range)).powi(2)).sum()
    }
}

/// The shares of the full range that are tried, those of the converter's quantizer.
fn shares(entries: usize) -> &'static [f32] {
    match entries {
        0..=4 => &[1.0, 0.94, 0.88, 0.82, 0.76, 0.7, 0.64, 0.58, 0.52],
        5..=8 => &[1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7],
        9..=16 => &[1.0, 0.96, 0.92, 0.88, 0.84],
        17..=64 => &[1.0, 0.98],
        _ => &[1.0],
    }
}

/// The range with the least squared error, in the half floats that would be stored.
pub fn search(weights: &[f32], book: &Book, offset: Offset) -> Range {
    let mut best = (f32::INFINITY, Range::default());
    for start in starts(weights, book, offset) {
        let first = halves(start);
        let fitted = halves(fit(weights, book, first, offset).unwrap_or(start));
        for range in [first, fitted] {
            let error = book.error(weights, range);
            if error < best.0 {
                best = (error, range);
            }
        }
    }
    best.1
}

fn starts(weights: &[f32], book: &Book, offset: Offset) -> Vec<Range> {
    let (low, high) = weights.iter().fold((f32::MAX, f32::MIN), |(low, high), &w| (low.min(w), high.max(w)));
    let (first, last) = (book.entries[0], book.entries[book.entries.len() - 1]);
    let shares = shares(book.entries.len()).iter();
    match offset {
        Offset::Minimum => {
            let middle = 0.5 * low + 0.5 * high;
            let start = |share: &f32| {
                let scale = (high - low) * share / (last - first);
                Range { scale, minimum: middle - scale * 0.5 * (first + last) }
            };
            shares.map(start).collect()
        }
        Offset::None => {
            let scale = low.abs().max(high.abs()) / first.abs().max(last.abs());
            // A book need not be symmetric: which of its ends meets the larger weights is tried.
            shares.flat_map(|share| [share * scale, -share * scale]).map(|scale| Range { scale, minimum: 0.0 }).collect()
        }
    }
}

/// The range with the least squared error for the codes that another one gives; nothing where all codes are equal.
fn fit(weights: &[f32], book: &Book, range: Range, offset: Offset) -> Option<Range> {
    let (mut entry_sum, mut square_sum, mut weight_sum, mut product_sum) = (0.0f32, 0.0, 0.0, 0.0);
    for &weight in weights {
        let entry = book.entries[book.nearest(weight, range)];
        entry_sum += entry;
        square_sum += entry * entry;
        weight_sum += weight;
        product_sum += entry * weight;
    }
    let count = weights.len() as f32;
    match offset {
        Offset::None => (square_sum > 0.0).then(|| Range { scale: product_sum / square_sum, minimum: 0.0 }),
        Offset::Minimum => {
            let determinant = count * square_sum - entry_sum * entry_sum;
            let scale = (count * product_sum - entry_sum * weight_sum) / determinant;
            (determinant > 0.0).then(|| Range { scale, minimum: (weight_sum - scale * entry_sum) / count })
        }
    }
}

fn halves(range: Range) -> Range {
    let half = |number: f32| f16::from_f32(number).to_f32();
    Range { scale: half(range.scale), minimum: half(range.minimum) }
}
