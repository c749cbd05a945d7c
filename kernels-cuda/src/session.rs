//! A session on a device: its cache, its buffers, and the lists of launches that a pass is.

use std::sync::Arc;

use crate::cache::Cache;
use crate::device::{Address, Device, Launch, Recorded};
use crate::error::{CudaError, in_range};
use crate::forward;
use crate::model::Model;
use crate::sizes::{InputSizes, KvStore, STATE_WORDS, SessionSizes};
use hardtack_format::encoding::GROUP_COLUMNS;
use hardtack_kernels::ring_shape::CHUNK;

/// A session on a device. All its memory is taken at the start, and given back at the end.
#[derive(Debug)]
pub struct Session<D: Device> {
    pub(crate) model: Arc<Model<D>>,
    pub(crate) buffers: Buffers,
    pub(crate) sizes: SessionSizes,
    /// A token in, its logits and the likeliest token behind it out.
    decode: Recorded,
    /// A prompt's tokens in, the residual stream out.
    prompt: Vec<Launch>,
    /// One row of the stream in, its logits out.
    head: Vec<Launch>,
    staging: Vec<u8>,
    /// Whether the first token in memory is the likeliest one behind the last pass.
    chosen: bool,
}

/// Addresses of a session's buffers.
#[derive(Debug, Default)]
pub struct Buffers {
    /// `[batch]`: the pass's tokens. The likeliest token is left in the first.
    pub tokens: Slot,
    /// First position, number of tokens, the row whose logits are wanted, and how far a ring's
    /// first chunk is moved.
    pub state: Slot,
    /// `[batch, frequencies]`: RoPE's turns.
    pub turns: Slot,
    /// `[frequencies]`: the turns that bring queries back to a ring's first chunk.
    pub turns_back: Slot,
    /// `[batch, hidden]`: the residual stream.
    pub stream: Slot,
    /// `[batch, hidden]`: what experts give before the shared one.
    pub block: Slot,
    /// `[batch, heads * query_dim]`
    pub query: Slot,
    /// `[batch, query_rank]`
    pub query_low: Slot,
    /// `[batch, keys]`, or latents with rotated keys.
    pub first: Slot,
    /// `[batch, values]`
    pub second: Slot,
    /// `[batch, heads, first width]`: what attention multiplies with keys.
    pub first_query: Slot,
    /// `[batch, heads, second width]`
    pub second_query: Slot,
    /// `[heads, spans]` pairs.
    pub states: Slot,
    /// `[heads, spans, value width]`
    pub parts: Slot,
    /// `[batch, experts]`
    pub router_logits: Slot,
    /// `[batch, chosen]` pairs.
    pub choices: Slot,
    /// `[batch]` pairs: the shared expert, or the dense block.
    pub shared_choices: Slot,
    /// `[experts + 1]`
    pub starts: Slot,
    /// `[batch * chosen]`
    pub rows: Slot,
    /// `[batch * chosen, hidden]`
    pub expert_outputs: Slot,
    /// `[vocabulary]`
    pub logits: Slot,
    /// The best of each part of the vocabulary.
    pub best_values: Slot,
    /// And its token.
    pub best_tokens: Slot,
    /// The normalized stream.
    pub normed: InputSlots,
    /// The normalized low query.
    pub query_normed: InputSlots,
    /// `[batch, heads, nope_dim]`
    pub head_inputs: InputSlots,
    /// `[batch, heads, kv_rank]`: what attention gives for each head before values are projected
    /// up.
    pub latents: InputSlots,
    /// `[batch, heads * value_dim]`
    pub attended: InputSlots,
    /// `[batch * chosen, inner]`
    pub activated: InputSlots,
    /// Keys and values of every layer.
    pub cache: Vec<Cache>,
    owned: Vec<Address>,
}

/// Where a buffer is; nowhere if it has no elements.
pub type Slot = Option<Address>;

/// Where the parts of a matrix's inputs are.
#[derive(Clone, Copy, Debug, Default)]
pub struct InputSlots {
    /// Floats.
    pub floats: Slot,
    /// Codes.
    pub codes: Slot,
    /// Scales of the groups.
    pub scales: Slot,
    /// Sums of the groups.
    pub sums: Slot,
}

impl Buffers {
    fn allocate<D: Device>(
        &mut self,
        model: &Model<D>,
        sizes: &SessionSizes,
    ) -> Result<(), CudaError> {
        let owned = &mut self.owned;
        let mut bytes = |bytes: usize, what| -> Result<Slot, CudaError> {
            if bytes == 0 {
                return Ok(None);
            }
            let address = model.raw().allocate(what, bytes as u64)?;
            owned.push(address);
            Ok(Some(address))
        };
        for (index, layer) in model.network.spec.layers.iter().enumerate() {
            self.cache.push(Cache::allocate(sizes, index, &layer.attention, &mut bytes)?);
        }
        let mut words = |count: usize| bytes(count * 4, "working buffers");
        self.tokens = words(sizes.batch)?;
        self.state = words(STATE_WORDS)?;
        self.turns = words(2 * sizes.batch * sizes.frequencies)?;
        self.turns_back = words(sizes.turned_back())?;
        self.stream = words(sizes.stream)?;
        self.block = words(sizes.stream)?;
        self.query = words(sizes.query)?;
        self.query_low = words(sizes.query_low)?;
        self.first = words(sizes.first)?;
        self.second = words(sizes.second)?;
        self.first_query = words(sizes.first_query)?;
        self.second_query = words(sizes.second_query)?;
        self.states = words(2 * sizes.states)?;
        self.parts = words(sizes.parts)?;
        self.router_logits = words(sizes.router_logits)?;
        self.choices = words(2 * sizes.choices)?;
        self.shared_choices = words(2 * sizes.batch)?;
        self.starts = words(sizes.starts)?;
        self.rows = words(sizes.choices)?;
        self.expert_outputs = words(sizes.expert_outputs)?;
        self.logits = words(sizes.vocabulary)?;
        self.best_values = words(crate::sizes::BEST_PARTS)?;
        self.best_tokens = words(crate::sizes::BEST_PARTS)?;
        let mut inputs = |size: InputSizes| -> Result<InputSlots, CudaError> {
            Ok(InputSlots {
                floats: words(size.floats)?,
                codes: words(size.groups * GROUP_COLUMNS / 4)?,
                scales: words(size.groups)?,
                sums: words(size.groups)?,
            })
        };
        self.normed = inputs(sizes.normed)?;
        self.query_normed = inputs(sizes.query_normed)?;
        self.head_inputs = inputs(sizes.head_inputs)?;
        self.latents = inputs(sizes.latents)?;
        self.attended = inputs(sizes.attended)?;
        self.activated = inputs(sizes.activated)?;
        Ok(())
    }
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
        let mut buffers = Buffers::default();
        let made = buffers.allocate(&model, &sizes).and_then(|()| {
            for (index, cache) in buffers.cache.iter().enumerate() {
                cache.begin(model.raw(), sizes.ring(index))?;
            }
            let launches = forward::decode(&model, &buffers, &sizes);
            model.raw().record(&launches, 1)
        });
        match made {
            Ok(decode) => {
                let prompt = forward::prompt(&model, &buffers, &sizes);
                let head = forward::head(&model, &buffers);
                let staging = Vec::with_capacity(sizes.staging_bytes());
                Ok(Self { model, buffers, sizes, decode, prompt, head, staging, chosen: false })
            }
            Err(error) => {
                buffers.owned.iter().for_each(|address| model.raw().free(*address));
                Err(error)
            }
        }
    }

    /// The network and its device.
    pub fn model(&self) -> &Model<D> {
        &self.model
    }

    /// What it takes.
    pub fn sizes(&self) -> &SessionSizes {
        &self.sizes
    }

    /// Runs tokens that stand at `position` and after through all layers. After one token its
    /// logits are ready.
    ///
    /// Over a ring they lie within one chunk, which is then the open one. Before the first pass
    /// over a chunk the one that was open is sealed ([`Session::seal`]) and the chunks that are
    /// left are told ([`Session::set_chunks`]), layer by layer.
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
        self.write(self.buffers.tokens)?;
        self.begin(position, tokens.len())?;
        match tokens.len() {
            1 => self.model.raw().replay(&self.decode),
            count => self.model.raw().run(&self.prompt, count as u32),
        }
    }

    /// Runs the token that the last pass found likeliest, and gives the one that follows it: no
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

    /// The likeliest token behind the last one whose logits were made.
    ///
    /// # Panics
    /// If no logits were made since the last pass.
    ///
    /// # Errors
    /// The device fails.
    pub fn likeliest(&self) -> Result<u32, CudaError> {
        assert!(self.chosen, "logits of the last pass");
        let mut token = [0; 4];
        self.model.raw().read(buffer(self.buffers.tokens), &mut token)?;
        Ok(u32::from_le_bytes(token))
    }

    /// Makes the logits behind token `index` of the last pass, which had several.
    ///
    /// # Errors
    /// No batch has so many tokens, or the device fails.
    pub fn make_logits(&mut self, index: usize) -> Result<(), CudaError> {
        in_range("a token of the batch", index, 0, self.sizes.batch - 1)?;
        self.chosen = true;
        self.model
            .raw()
            .write(buffer(self.buffers.state).plus(8), &(index as u32).to_le_bytes())?;
        self.model.raw().run(&self.head, 1)
    }

    /// Reads the last logits that were made, `[vocabulary]`.
    ///
    /// # Errors
    /// The device fails.
    pub fn read_logits(&mut self, logits: &mut [f32]) -> Result<(), CudaError> {
        self.staging.resize(self.sizes.vocabulary * 4, 0);
        self.model.raw().read(buffer(self.buffers.logits), &mut self.staging)?;
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

    /// Tells the kernels where the pass stands, which `check_position` has allowed.
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
        self.write(self.buffers.state)?;
        if self.model.frequencies.is_empty() {
            return Ok(());
        }
        if shift > 0 {
            self.staging.clear();
            add_turns(&mut self.staging, shift, &self.model.frequencies, -1.0);
            self.write(self.buffers.turns_back)?;
        }
        self.staging.clear();
        for position in position..position + tokens {
            add_turns(&mut self.staging, position, &self.model.frequencies, 1.0);
        }
        self.write(self.buffers.turns)
    }

    fn write(&self, to: Slot) -> Result<(), CudaError> {
        self.model.raw().write(buffer(to), &self.staging)
    }
}

impl<D: Device> Drop for Session<D> {
    fn drop(&mut self) {
        self.buffers.owned.iter().for_each(|address| self.model.raw().free(*address));
    }
}

/// Positions from here on are turned by angles in double precision, as the CPU does it.
const SINGLE_MAX: usize = 1 << 17;

/// Sine, by a sign, and cosine of a position's angles: the angle in single precision as long as
/// that costs nothing, its sine and cosine in double.
fn add_turns(to: &mut Vec<u8>, position: usize, frequencies: &[f32], sign: f32) {
    for frequency in frequencies {
        let angle = if position < SINGLE_MAX {
            f64::from(position as f32 * frequency)
        } else {
            position as f64 * f64::from(*frequency)
        };
        let (sine, cosine) = angle.sin_cos();
        to.extend((sine as f32 * sign).to_le_bytes());
        to.extend((cosine as f32).to_le_bytes());
    }
}

/// A buffer that the network needs.
pub fn buffer(slot: Slot) -> Address {
    slot.expect("sized from the same spec")
}

#[cfg(test)]
mod tests;
