//! The policy of a ring: bits of a code from when it is new to when it is old.

use hardtack_kernels::nested::CODE_BITS;

use crate::error::Error;

/// The steps by which a chunk loses bits, each of fewer than the one before. Every step has an equal share of the ring's
/// bytes: chunks that are new take the first, and go down a step when the bytes are needed and their step has more than its
/// share; what is more than the last step's share is forgotten. One step alone forgets the oldest chunk without demoting it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ladder {
    bits: [u32; CODE_BITS.len()],
    steps: usize,
}

impl Default for Ladder {
    /// Four bits, then two.
    fn default() -> Self {
        Self { bits: [4, 2, 0, 0, 0], steps: 2 }
    }
}

impl Ladder {
    /// A ladder of these steps.
    ///
    /// # Errors
    /// No step, a number of bits that codes cannot have, or one that is not below the one before.
    pub fn new(steps: &[u32]) -> Result<Self, Error> {
        let valid = !steps.is_empty()
            && steps.iter().all(|bits| CODE_BITS.contains(bits))
            && steps.windows(2).all(|pair| pair[0] > pair[1]);
        if !valid {
            let expected = "falling numbers out of 8, 6, 4, 3 and 2".to_owned();
            return Err(Error::Setting { setting: "kv bits", expected, found: format!("{steps:?}") });
        }
        let mut bits = [0; CODE_BITS.len()];
        bits[..steps.len()].copy_from_slice(steps);
        Ok(Self { bits, steps: steps.len() })
    }

    /// Bits of every step.
    pub fn steps(&self) -> &[u32] {
        &self.bits[..self.steps]
    }

    /// Bits of a chunk that has just been sealed.
    pub const fn first(&self) -> u32 {
        self.bits[0]
    }

    /// Bits one step below these; nothing below the last.
    pub fn below(&self, bits: u32) -> Option<u32> {
        self.steps().iter().copied().find(|&step| step < bits)
    }

    /// Which step to take room from: the first with more than its share of `units`, where `used` has the units of each
    /// step, what shall be sealed next counted with the first.
    pub fn over_share(&self, units: usize, used: impl Fn(u32) -> usize) -> Option<u32> {
        self.steps().iter().copied().find(|&bits| used(bits) * self.steps > units)
    }
}
