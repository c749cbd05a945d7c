//! What runs a network: the processor or a device, seen from an engine and from its sessions.

use std::any::Any;
use std::sync::Arc;

use hardtack_format::Network;

use crate::cache::chunks::ChunkBits;
use crate::cancel::Cancel;
use crate::error::Error;
use crate::pipe::Pipe;
use crate::plan::Plan;
use crate::sample::Sampler;

/// A model where it runs.
pub trait Backend: Send + Sync {
    /// The network: its numbers and its tensors.
    fn network(&self) -> &Network;

    /// Threads in use, the caller's own included.
    fn threads(&self) -> usize;

    /// The device's name for people; none is the processor.
    fn device(&self) -> Option<String>;

    /// Bytes a second that a device's memory reads and writes while `bytes` of it are copied; none
    /// for the processor.
    ///
    /// # Errors
    /// The device has no such room, or fails.
    fn copy_bandwidth(&self, bytes: u64) -> Result<Option<f64>, Error>;

    /// Allocates all that a planned session computes with.
    ///
    /// # Errors
    /// The system or the device has no such room, or the device fails.
    fn session(self: Arc<Self>, plan: &Plan) -> Result<Box<dyn Forward>, Error>;
}

/// What a session computes with: its cache and its scratch.
pub trait Forward: Any + Send {
    /// Most tokens of a batch that begins at `position`, whatever the scratch has room for.
    fn batch_max(&self, position: usize) -> usize;

    /// Runs a batch, its first token at `position`, through all layers. There are at most as many
    /// tokens as planned and as [`Forward::batch_max`] allows. Returns `false` if `cancel` ended
    /// that before any of them was kept; a device runs all layers in one go.
    ///
    /// # Errors
    /// The device fails. A ring may be empty then: [`Forward::truncate`] says what is left.
    fn run(
        &mut self,
        position: usize,
        tokens: &[u32],
        cancel: Option<&Cancel>,
    ) -> Result<bool, Error>;

    /// Computes the logits that follow token `index` of the last batch.
    ///
    /// # Errors
    /// The device fails.
    fn make_logits(&mut self, index: usize) -> Result<(), Error>;

    /// The last logits that were made, `[vocabulary]`.
    ///
    /// # Errors
    /// The device fails.
    fn logits(&mut self) -> Result<&[f32], Error>;

    /// The last hidden state `[hidden]` of token `index` of the last batch, after the final norm.
    ///
    /// # Errors
    /// On a device, which returns none.
    fn hidden(&mut self, index: usize) -> Result<&[f32], Error>;

    /// The sampler's choice of the token after the last logits, which follow `history`.
    ///
    /// # Errors
    /// The sampler's filters leave no token, or the device fails.
    fn choose(&mut self, sampler: &mut Sampler, history: &[u32]) -> Result<u32, Error>;

    /// Takes the first `count` tokens of another session that was planned alike, on the same
    /// model.
    ///
    /// # Errors
    /// The device fails.
    fn copy_from(&mut self, other: &mut dyn Forward, count: usize) -> Result<(), Error>;

    /// Forgets everything after the first `position` of `held` tokens, or more where a ring cannot
    /// be brought back to just what it was then. Returns how many tokens are kept.
    fn truncate(&mut self, held: usize, position: usize) -> usize;

    /// What a ring's sealed chunks hold; none for an exact cache.
    fn levels(&self) -> Box<dyn Iterator<Item = ChunkBits> + '_>;

    /// Writes the keys and values of the first `count` tokens, or reads them.
    ///
    /// # Errors
    /// What the pipe says, or the device fails.
    fn serialize(&mut self, pipe: &mut dyn Pipe, count: usize) -> Result<(), Error>;
}
