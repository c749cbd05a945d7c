//! A launch of a kernel: which, over how many blocks, with what parameters.

use crate::kernel::Kernel;
use crate::params::Params;

/// How many blocks there are along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// This many.
    Fixed(u32),
    /// One for every `per_block` of `times` the tokens of a pass.
    Tokens {
        /// Rows that a token has.
        times: u32,
        /// Rows that a block takes.
        per_block: u32,
    },
}

impl Extent {
    /// One for each token.
    pub const EACH_TOKEN: Self = Self::Tokens { times: 1, per_block: 1 };

    /// The number of blocks for a number of tokens.
    pub const fn blocks(self, tokens: u32) -> u32 {
        match self {
            Self::Fixed(blocks) => blocks,
            Self::Tokens { times, per_block } => tokens.saturating_mul(times).div_ceil(per_block),
        }
    }
}

/// One launch of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Which.
    pub kernel: Kernel,
    /// Blocks along x, y and z.
    pub grid: [Extent; 3],
    /// Dynamic shared memory of a block.
    pub shared_bytes: u32,
    /// The bytes of its parameters.
    pub params: Vec<u8>,
}

impl Launch {
    /// A launch without dynamic shared memory.
    pub fn new(kernel: Kernel, grid: [Extent; 3], params: Params) -> Self {
        Self { kernel, grid, shared_bytes: 0, params: params.into_bytes() }
    }
}
