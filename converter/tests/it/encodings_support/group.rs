//! One group of weights on the levels `scale * entry + minimum` of a book of entries, the range
//! found by search: the converter's own quantizer, made to work for any entries and with or without
//! a minimum.

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

/// Entries in ascending order, and what finds the nearest of them.
#[derive(Clone, Debug)]
pub struct Book {
    entries: Vec<f32>,
    steps: Steps,
}

#[derive(Clone, Debug)]
enum Steps {
    /// All equal: the inverse of one.
    Equal(f32),
    /// The borders between entries.
    Between(Vec<f32>),
}

impl Book {
    /// Equal steps from the first entry on.
    pub fn uniform(first: f32, step: f32, count: u32) -> Self {
        let entries = (0..count).map(|code| first + step * code as f32).collect();
        Self { entries, steps: Steps::Equal(step.recip()) }
    }

    /// Any entries.
    pub fn new(entries: Vec<f32>) -> Self {
        assert!(entries.is_sorted() && entries.len() >= 2, "ascending entries");
        let borders = entries.windows(2).map(|pair| 0.5 * (pair[0] + pair[1])).collect();
        Self { entries, steps: Steps::Between(borders) }
    }

    pub fn entries(&self) -> &[f32] {
        &self.entries
    }

    /// Calls `each` with the code of each weight, the one whose level is nearest, and the weight.
    #[inline(always)]
    pub fn codes(&self, weights: &[f32], range: Range, mut each: impl FnMut(usize, f32)) {
        let inverse = if range.scale == 0.0 { 0.0 } else { range.scale.recip() };
        match &self.steps {
            Steps::Equal(step) => {
                let (first, last) = (self.entries[0], (self.entries.len() - 1) as f32);
                for &weight in weights {
                    let place = (weight - range.minimum) * inverse;
                    each(((place - first) * step + 0.5).clamp(0.0, last) as usize, weight);
                }
            }
            Steps::Between(borders) => {
                for &weight in weights {
                    let place = (weight - range.minimum) * inverse;
                    each(borders.partition_point(|&border| place >= border), weight);
                }
            }
        }
    }

    /// The level of a code.
    pub fn level(&self, code: usize, range: Range) -> f32 {
        range.scale * self.entries[code] + range.minimum
    }

    /// Every weight at its nearest level.
    pub fn round(&self, weights: &[f32], range: Range) -> Vec<f32> {
        let mut kept = Vec::with_capacity(weights.len());
        self.codes(weights, range, |code, _| kept.push(self.level(code, range)));
        kept
    }

    /// Sums over a group with the codes of a range.
    pub fn sums(&self, weights: &[f32], range: Range) -> Sums {
        let mut sums = Sums::default();
        self.codes(weights, range, |code, weight| {
            let entry = self.entries[code];
            let error = weight - (range.scale * entry + range.minimum);
            sums.error += error * error;
            sums.entries += entry;
            sums.squares += entry * entry;
            sums.weights += weight;
            sums.products += entry * weight;
        });
        sums
    }
}

/// What a least squares fit needs to know of a group, and its squared error.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    pub error: f32,
    pub entries: f32,
    pub squares: f32,
    pub weights: f32,
    pub products: f32,
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

/// The range with the least squared error, in the f16 numbers that would be stored.
pub fn search(weights: &[f32], book: &Book, offset: Offset) -> Range {
    let mut best = (f32::INFINITY, Range::default());
    for start in starts(weights, book, offset) {
        let first = halves(start);
        let sums = book.sums(weights, first);
        let fitted = halves(fit(&sums, weights.len(), offset).unwrap_or(start));
        for (error, range) in [(sums.error, first), (book.sums(weights, fitted).error, fitted)] {
            if error < best.0 {
                best = (error, range);
            }
        }
    }
    best.1
}

fn starts(weights: &[f32], book: &Book, offset: Offset) -> Vec<Range> {
    let (low, high) =
        weights.iter().fold((f32::MAX, f32::MIN), |(low, high), &w| (low.min(w), high.max(w)));
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
            // Of a book that is not symmetric either end may meet the larger weights.
            let ways: &[f32] = if first == -last { &[1.0] } else { &[1.0, -1.0] };
            let of =
                |(share, way): (&f32, &f32)| Range { scale: way * share * scale, minimum: 0.0 };
            shares.flat_map(|share| ways.iter().map(move |way| (share, way))).map(of).collect()
        }
    }
}

/// The range with the least squared error for the codes that were summed up; none where all
/// codes are equal.
fn fit(sums: &Sums, count: usize, offset: Offset) -> Option<Range> {
    let (count, square) = (count as f32, sums.squares);
    match offset {
        Offset::None => {
            (square > 0.0).then(|| Range { scale: sums.products / square, minimum: 0.0 })
        }
        Offset::Minimum => {
            let determinant = count * square - sums.entries * sums.entries;
            let scale = (count * sums.products - sums.entries * sums.weights) / determinant;
            (determinant > 0.0)
                .then(|| Range { scale, minimum: (sums.weights - scale * sums.entries) / count })
        }
    }
}

fn halves(range: Range) -> Range {
    let half = |number: f32| f16::from_f32(number).to_f32();
    Range { scale: half(range.scale), minimum: half(range.minimum) }
}
