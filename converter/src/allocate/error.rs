//! What can be wrong with an allocation that is asked for.

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
    /// A group or a list of layers speaks of an item that is not there, or of one twice.
    #[error(
        "group {group}: expected items below {items}, each in one group once, found item {item}"
    )]
    Item {
        /// The group or layer.
        group: usize,
        /// The item.
        item: usize,
        /// How many items there are.
        items: usize,
    },
    /// Not enough items of a group can reach a floor.
    #[error("group {group}: its items cannot meet its floors, whatever the budget")]
    Unreachable {
        /// The group.
        group: usize,
    },
    /// The floors of a group ask to count more than can be kept track of.
    #[error(
        "group {group}: expected floors whose counts plus one multiply to at most {most}, found {found}"
    )]
    Floors {
        /// The group.
        group: usize,
        /// The product.
        found: usize,
        /// The largest allowed.
        most: usize,
    },
    /// One layer for each item is needed.
    #[error("expected a layer for each of {items} items, found {layers}")]
    Layers {
        /// Items.
        items: usize,
        /// Layers given.
        layers: usize,
    },
    /// A group of items that lie in more than one layer cannot have a floor of its layer.
    #[error("group {group}: expected items of one layer, found layers {first} and {second}")]
    AcrossLayers {
        /// The group.
        group: usize,
        /// The layer of its first item.
        first: u32,
        /// Another layer.
        second: u32,
    },
    /// No candidates have the same bits in every item, or none has as few as the average.
    #[error("expected an average between two precisions that every item has, found {average} bits")]
    Average {
        /// The average.
        average: f64,
    },
    /// Nothing fits the budget.
    #[error("a budget of {budget} bytes is too small: the smallest that works is {smallest} bytes")]
    Budget {
        /// The budget.
        budget: u64,
        /// The smallest one that would work.
        smallest: u64,
    },
}

impl AllocateError {
    /// The error of a part of the problem in the numbers of the whole: `groups` are the part's
    /// groups.
    pub(super) fn of_group(self, groups: &[usize]) -> Self {
        match self {
            Self::Unreachable { group } => Self::Unreachable { group: groups[group] },
            Self::Floors { group, found, most } => {
                Self::Floors { group: groups[group], found, most }
            }
            other => other,
        }
    }
}
