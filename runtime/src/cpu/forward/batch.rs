//! A batch on its way through the network.

use hardtack_format::Network;

use crate::cpu::multiply::Cpu;

/// What reading and writing one number of a row costs, in bytes that memory could deliver
/// meanwhile.
pub const ROW_COST: usize = 3;

/// Consecutive tokens, and what they are run with.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    /// The network.
    pub network: &'a Network,
    /// Where it runs.
    pub cpu: Cpu<'a>,
    /// Position of the first token.
    pub position: usize,
    /// How many tokens.
    pub tokens: usize,
}
