//! What can be wrong with an allocation that is wanted.

/// An allocation that cannot be made. Every message is one line.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AllocateError {
    /// An item has nothing to choose from.
    #[error("item {item}: expected at least one candidate, found none")]
    NoCandidates {
        /// The item.
        item: usize,
    },
    /// A cost is no number, infinite or negative.
    #[error(
        "item {item}, candidate {candidate}: expected a finite cost of 0 or more, found {cost}"
    )]
    Cost {
        /// The item.
        item: usize,
        /// The candidate of the item.
        candidate: usize,
        /// Its cost.
        cost: f64,
    },
    /// The costs or the bytes cannot be added up.
    #[error("expected {what} whose sum over the items is at most {most:e}, found {found:e}")]
    Sum {
        /// Costs or bytes.
        what: &'static str,
        /// The sum.
        found: f64,
        /// The largest allowed.
        most: f64,
    },
    /// One layer for each item is needed.
    #[error("expected a layer for each of {items} items, found {layers}")]
    Layers {
        /// Items.
        items: usize,
        /// Layers given.
        layers: usize,
    },
    /// No candidates have the same bits in every item, or none has as few as the average.
    #[error("expected an average between two precisions that every item has, found {average} bits")]
    Average {
        /// The average.
        average: f64,
    },
    /// No allocation fits the budget.
    #[error("a budget of {budget} bytes is too small: the smallest that works is {smallest} bytes")]
    Budget {
        /// The budget.
        budget: u64,
        /// The smallest one that would work.
        smallest: u64,
    },
}
