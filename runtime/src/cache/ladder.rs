//! The policy of a ring: bits of a code from when it is new to when it is old, one number for all
//! chunks or what the model's own policy chooses for each.

use hardtack_format::kv_policy::{BITS, KvPolicy, Price};
use hardtack_format::limits::KV_PRICES_MAX;

use super::shape::PARTS_MAX;
use crate::error::Error;

/// Bits of a code in each part of a chunk: keys and values, or latents alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level(pub [u32; PARTS_MAX]);

impl Level {
    /// Most bits in every part.
    pub const MOST: Self = Self([BITS[BITS.len() - 1]; PARTS_MAX]);

    /// Units of a chunk with `parts` parts.
    pub fn units(self, parts: usize) -> usize {
        self.0[..parts].iter().sum::<u32>() as usize
    }

    /// Whether this one can be had from another by dropping bits.
    pub fn within(self, other: Self) -> bool {
        self.0.iter().zip(other.0).all(|(&own, other)| own <= other)
    }
}

/// Most rungs.
pub const RUNGS_MAX: usize = KV_PRICES_MAX as usize;

/// One rung of a ladder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rung {
    /// The same bits for every chunk.
    Fixed(Level),
    /// What the model's policy chooses at a price.
    Learned(Price),
}

impl Rung {
    /// Most units that a chunk may take.
    pub fn units_max(self, parts: usize) -> usize {
        match self {
            Self::Fixed(level) => level.units(parts),
            Self::Learned(_) => Level::MOST.units(parts),
        }
    }

    /// About how many units a chunk takes, never more than it does on average.
    fn units_mean(self, parts: usize) -> usize {
        match self {
            Self::Fixed(level) => level.units(parts),
            Self::Learned(price) => {
                ((price.bits * parts as f32) as usize).max(parts * BITS[0] as usize)
            }
        }
    }
}

/// The rungs by which a chunk loses bits, none of more than the one before. Every rung has an equal
/// share of the ring's bytes: chunks that are new take the first, and go down a rung when the bytes
/// are needed and their rung has more than its share; what is more than the last rung's share is
/// forgotten. One rung alone forgets the oldest chunk without demoting it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ladder {
    rungs: [Rung; RUNGS_MAX],
    count: usize,
}

impl Default for Ladder {
    /// Four bits, then two.
    fn default() -> Self {
        Self::new(&[[4; PARTS_MAX], [2; PARTS_MAX]]).expect("a valid ladder")
    }
}

impl Ladder {
    /// A ladder of these rungs: bits of keys and of values. Of latents, which are both, the first
    /// number counts.
    ///
    /// # Errors
    /// No rung or more than 8, a number of bits that codes cannot have, or a rung that is not below
    /// the one before.
    pub fn new(rungs: &[[u32; PARTS_MAX]]) -> Result<Self, Error> {
        let valid = (1..=RUNGS_MAX).contains(&rungs.len())
            && rungs.as_flattened().iter().all(|bits| BITS.contains(bits))
            && rungs
                .windows(2)
                .all(|pair| Level(pair[1]).within(Level(pair[0])) && pair[0] != pair[1]);
        if !valid {
            let expected = format!(
                "1 to {RUNGS_MAX} falling rungs, of keys and values, out of 8, 6, 4, 3 and 2"
            );
            return Err(Error::Setting {
                setting: "kv bits",
                expected,
                found: format!("{rungs:?}"),
            });
        }
        Ok(Self::of(rungs.iter().map(|&bits| Rung::Fixed(Level(bits)))))
    }

    /// The prices of a model's policy, from the first with at most `bits` bits on average.
    ///
    /// # Errors
    /// The policy has no such price.
    pub fn learned(policy: &KvPolicy, bits: f32) -> Result<Self, Error> {
        let Some(first) = policy.prices.iter().position(|price| price.bits <= bits) else {
            let averages: Vec<_> =
                policy.prices.iter().map(|price| format!("{:.2}", price.bits)).collect();
            let expected =
                format!("at least the fewest of the model's averages, {}", averages.join(", "));
            return Err(Error::Setting { setting: "kv bits", expected, found: format!("{bits}") });
        };
        Ok(Self::of(policy.prices[first..].iter().map(|&price| Rung::Learned(price))))
    }

    fn of(all: impl Iterator<Item = Rung>) -> Self {
        let (mut rungs, mut count) = ([Rung::Fixed(Level::default()); RUNGS_MAX], 0);
        for (own, rung) in rungs.iter_mut().zip(all) {
            *own = rung;
            count += 1;
        }
        Self { rungs, count }
    }

    /// All rungs.
    pub fn rungs(&self) -> &[Rung] {
        &self.rungs[..self.count]
    }

    /// Whether the model's policy says what bits chunks have.
    pub fn is_learned(&self) -> bool {
        self.rungs().iter().any(|rung| matches!(rung, Rung::Learned(_)))
    }

    /// Most units of a chunk that has just been sealed.
    pub fn first_units_max(&self, parts: usize) -> usize {
        self.rungs[0].units_max(parts)
    }

    /// About how many chunks `units` hold, if every rung takes its share.
    pub fn chunks(&self, units: usize, parts: usize) -> usize {
        let of_rung = |rung: &Rung| (units / self.count).div_ceil(rung.units_mean(parts)) + 1;
        self.rungs().iter().map(of_rung).sum()
    }

    /// Which rung to take room from: the first with more than its share of `units`, where `used`
    /// has the units of each rung, what shall be sealed next counted with the first.
    pub fn over_share(&self, units: usize, used: impl Fn(usize) -> usize) -> Option<usize> {
        (0..self.count).find(|&rung| used(rung) * self.count > units)
    }
    /// The numbers by which ladders differ, with their names.
    pub fn numbers(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let rung = |rung: &Rung| match rung {
            Rung::Fixed(level) => {
                [("bits of keys", level.0[0].into()), ("bits of values", level.0[1].into())]
            }
            Rung::Learned(price) => [
                ("bits of a price", price.bits.to_bits().into()),
                ("price of a byte", price.byte.to_bits().into()),
            ],
        };
        [("rungs", self.count as u64)].into_iter().chain(self.rungs().iter().flat_map(rung))
    }
}
