//! Which encoding each matrix gets.

use hardtack_format::Encoding;

/// How precise the weights are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// The same encoding for every matrix of the layers.
    Uniform(Encoding),
    /// The most precise uniform encoding whose blob has at most this many bytes.
    Budget(u64),
}

/// The encodings a budget chooses from, most precise first.
pub const CANDIDATES: [Encoding; 7] = [
    Encoding::Bf16,
    Encoding::Q8,
    Encoding::Q6,
    Encoding::Q5,
    Encoding::Q4,
    Encoding::Q3,
    Encoding::Q2,
];
