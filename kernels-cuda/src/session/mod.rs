//! A session on a device: its memory, and the lists of launches that a pass is.

mod cache;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use hardtack_kernels::ring_shape::CHUNK;
use hardtack_kernels::rope::turns;

use crate::buffers::{Slot, buffer};
use crate::cache::KvStore;
use crate::device::{Device, Recorded};
use crate::error::{CudaError, in_range};
use crate::forward;
use crate::launch::Launch;
use crate::memory::Memory;
use crate::model::Model;
use crate::sizes::SessionSizes;

/// A session on a device. All its memory is taken at the start, and freed at the end.
#[derive(Debug)]
pub struct Session<D: Device> {
    model: Arc<Model<D>>,
    memory: Memory,
    sizes: SessionSizes,
    /// A token in, its logits and the likeliest token after it out.
    decode: Recorded,
    /// A prompt's tokens in, the residual stream out.
    prompt: Vec<Launch>,
    /// One row of the stream in, its logits out.
    head: Vec<Launch>,
    staging: Vec<u8>,
    /// Whether the first token in memory is the likeliest one after the last pass.
    chosen: bool,
}

impl<D: Device> Session<D> {
    /// Takes all memory that a session needs, and makes its launches ready. `context` is how many
    /// tokens are kept; of a ring, how far it reaches, whatever the position.
    ///
    /// # Panics
    /// If a ring is not of as many layers as the network, or of other shapes.
    ///
    /// # Errors
    /// The network has a layer that the kernels cannot run, or the device has no such room or
    /// fails.
    pub fn new(
        model: Arc<Model<D>>,
        context: usize,
        batch: usize,
        kv: impl Into<KvStore>,
    ) -> Result<Self, CudaError> {
        let sizes = SessionSizes::of(&model.network.spec, context, batch, kv)?;
        let memory = Memory::allocate(model.raw(), &sizes)?;
        let decode = memory
            .empty_rings(model.raw(), &sizes)
            .and_then(|()| model.raw().record(&forward::decode(&model, &memory, &sizes), 1))
            .inspect_err(|_| memory.free(model.raw()))?;
        let prompt = forward::prompt(&model, &memory, &sizes);
        let head = forward::head(&model, &memory);
        let staging = Vec::with_capacity(sizes.staging_bytes());
        Ok(Self { model, memory, sizes, decode, prompt, head, staging, chosen: false })
    }

    /// The network and its device.
    pub fn model(&self) -> &Model<D> {
        &self.model
    }

    /// What it takes.
    pub fn sizes(&self) -> &SessionSizes {
        &self.sizes
    }

    /// Runs tokens at `position` and after through all layers. After one token its
    /// logits are ready.
    ///
    /// Over a ring they lie within one chunk, which is then the open one. Before the first pass
    /// over a chunk the one that was open is sealed ([`Session::seal`]) and the chunks that are
    /// left are set ([`Session::set_chunks`]), layer by layer.
    ///
    /// # Errors
    /// There are no tokens, more than a batch, more than fit or than one chunk of a ring, or one
    /// that the model does not have; or the device fails.
    pub fn pass(&mut self, position: usize, tokens: &[u32]) -> Result<(), CudaError> {
        in_range("tokens of a pass", tokens.len(), 1, self.sizes.batch)?;
        self.check_position(position, tokens.len())?;
        // Kernels read the row of the embedding that a token names.
        for &token in tokens {
            in_range("a token", token as usize, 0, self.sizes.vocabulary - 1)?;
        }
        self.chosen = tokens.len() == 1;
        self.staging.clear();
        self.staging.extend(tokens.iter().flat_map(|token| token.to_le_bytes()));
        self.write(self.memory.buffers.tokens)?;
        self.begin(position, tokens.len())?;
        match tokens.len() {
            1 => self.model.raw().replay(&self.decode),
            count => self.model.raw().run(&self.prompt, count as u32),
        }
    }

    /// Runs the token that the last pass found likeliest, and returns the one that follows it: no
    /// logits leave the device.
    ///
    /// # Panics
    /// If no logits were made since the last pass.
    ///
    /// # Errors
    /// No more tokens fit, or the device fails.
    pub fn follow(&mut self, position: usize) -> Result<u32, CudaError> {
        assert!(self.chosen, "logits of the last pass");
        self.check_position(position, 1)?;
        self.begin(position, 1)?;
        self.model.raw().replay(&self.decode)?;
        self.likeliest()
    }

    /// The likeliest token after the last one whose logits were made.
    ///
    /// # Panics
    /// If no logits were made since the last pass.
    ///
    /// # Errors
    /// The device fails.
    pub fn likeliest(&self) -> Result<u32, CudaError> {
        assert!(self.chosen, "logits of the last pass");
        let mut token = [0; 4];
        self.model.raw().read(buffer(self.memory.buffers.tokens), &mut token)?;
        Ok(u32::from_le_bytes(token))
    }

    /// Makes the logits after token `index` of the last pass, which had several.
    ///
    /// # Errors
    /// The batch is smaller, or the device fails.
    pub fn make_logits(&mut self, index: usize) -> Result<(), CudaError> {
        in_range("a token of the batch", index, 0, self.sizes.batch - 1)?;
        self.chosen = true;
        self.model
            .raw()
            .write(buffer(self.memory.buffers.state).plus(8), &(index as u32).to_le_bytes())?;
        self.model.raw().run(&self.head, 1)
    }

    /// Reads the last logits that were made, `[vocabulary]`.
    ///
    /// # Errors
    /// The device fails.
    pub fn read_logits(&mut self, logits: &mut [f32]) -> Result<(), CudaError> {
        self.staging.resize(self.sizes.vocabulary * 4, 0);
        self.model.raw().read(buffer(self.memory.buffers.logits), &mut self.staging)?;
        for (logit, bytes) in logits.iter_mut().zip(self.staging.chunks_exact(4)) {
            *logit = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        Ok(())
    }

    /// Refuses a pass whose tokens do not fit.
    fn check_position(&self, position: usize, tokens: usize) -> Result<(), CudaError> {
        const WHAT: &str = "the position of a pass";
        match self.sizes.kv {
            KvStore::Exact(_) if tokens > self.sizes.context => {
                in_range(WHAT, tokens, 1, self.sizes.context)
            }
            KvStore::Exact(_) => in_range(WHAT, position, 0, self.sizes.context - tokens),
            KvStore::Ring(_) => {
                // Kernels count the tokens of the text in 32 bits.
                in_range(WHAT, position, 0, u32::MAX as usize - CHUNK)?;
                in_range(
                    "tokens of a pass, up to the end of the chunk",
                    tokens,
                    1,
                    CHUNK - position % CHUNK,
                )
            }
        }
    }

    /// Writes where the pass begins, which `check_position` has allowed.
    fn begin(&mut self, position: usize, tokens: usize) -> Result<(), CudaError> {
        let mut shift = 0;
        if matches!(self.sizes.kv, KvStore::Ring(_)) && !self.model.frequencies.is_empty() {
            shift = ((position / CHUNK + 1) * CHUNK).saturating_sub(self.sizes.context);
        }
        self.staging.clear();
        self.staging.extend(
            [position, tokens, 0, shift]
                .into_iter()
                .flat_map(|number| (number as u32).to_le_bytes()),
        );
        self.write(self.memory.buffers.state)?;
        if self.model.frequencies.is_empty() {
            return Ok(());
        }
        if shift > 0 {
            self.staging.clear();
            add_turns(&mut self.staging, shift, &self.model.frequencies, -1.0);
            self.write(self.memory.buffers.turns_back)?;
        }
        self.staging.clear();
        for position in position..position + tokens {
            add_turns(&mut self.staging, position, &self.model.frequencies, 1.0);
        }
        self.write(self.memory.buffers.turns)
    }

    fn write(&self, to: Slot) -> Result<(), CudaError> {
        self.model.raw().write(buffer(to), &self.staging)
    }
}

impl<D: Device> Drop for Session<D> {
    fn drop(&mut self) {
        self.memory.free(self.model.raw());
    }
}

/// Adds the turns of a position, their sines times `sign`.
fn add_turns(to: &mut Vec<u8>, position: usize, frequencies: &[f32], sign: f32) {
    for [sine, cosine] in turns(position, frequencies, f64::sin_cos) {
        to.extend((sine * sign).to_le_bytes());
        to.extend(cosine.to_le_bytes());
    }
}
