//! What a session computes with, on the processor or on a device: its cache and its buffers.

use crate::cache::Kv;
use crate::cache::shape::PARTS_MAX;
use crate::cpu::forward::{self, Step};
use crate::cpu::scratch::Scratch;
use crate::engine::Engine;
use crate::error::Error;
use crate::memory::expect_room;
use crate::plan::{BufferSizes, Plan};
#[cfg(feature = "cuda")]
use crate::recording::Recording;
use crate::sample::Sampler;
use crate::saved::Pipe;

/// A session's cache and buffers.
pub enum State {
    /// On the processor.
    Cpu {
        /// The caches of all layers.
        kv: Kv,
        /// The buffers.
        scratch: Box<Scratch>,
    },
    /// On a device.
    #[cfg(feature = "cuda")]
    Cuda(Box<crate::gpu::DeviceSession>),
}

impl State {
    /// Allocates everything.
    ///
    /// # Errors
    /// The system or the device has no such room, or the device fails.
    pub fn new(engine: &Engine, plan: &Plan) -> Result<Self, Error> {
        // All at once and before anything is touched: a promise that is broken halfway would cost
        // its first half.
        expect_room(plan.session_host_bytes())?;
        match &plan.buffers {
            BufferSizes::Cpu(sizes) => {
                let layers: Vec<_> =
                    engine.network().spec.layers.iter().map(|layer| layer.attention).collect();
                Ok(Self::Cpu {
                    kv: Kv::new(plan.kv, &layers)?,
                    scratch: Box::new(Scratch::new(sizes)?),
                })
            }
            #[cfg(feature = "cuda")]
            BufferSizes::Cuda { batch } => {
                let model = engine.device_model().expect("planned for a device").clone();
                Ok(Self::Cuda(Box::new(crate::gpu::DeviceSession::new(model, plan.kv, *batch)?)))
            }
        }
    }

    /// Most tokens of a pass from `position` on, whatever the batch.
    pub fn pass_max(&self, position: usize) -> usize {
        _ = position;
        match self {
            Self::Cpu { .. } => usize::MAX,
            #[cfg(feature = "cuda")]
            Self::Cuda(session) => session.pass_max(position),
        }
    }

    /// Runs at most a batch of tokens, and [`State::pass_max`], the first at `position`, through
    /// all layers.
    ///
    /// # Errors
    /// The device fails. A ring may be empty then: [`State::truncate`] says what is left.
    pub fn run(&mut self, engine: &Engine, position: usize, tokens: &[u32]) -> Result<(), Error> {
        match self {
            Self::Cpu { kv, scratch } => {
                forward::run(&mut step(engine, scratch, position, tokens.len()), kv, tokens);
                Ok(())
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(session) => session.run(position, tokens),
        }
    }

    /// Makes the logits that follow token `index` of the last pass.
    ///
    /// # Errors
    /// The device fails.
    pub fn make_logits(&mut self, engine: &Engine, index: usize) -> Result<(), Error> {
        match self {
            Self::Cpu { scratch, .. } => {
                forward::logits(&mut step(engine, scratch, 0, 0), index);
                Ok(())
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(session) => session.make_logits(index),
        }
    }

    /// The last logits that were made, `[vocabulary]`.
    ///
    /// # Errors
    /// The device fails.
    pub fn logits(&mut self) -> Result<&[f32], Error> {
        match self {
            Self::Cpu { scratch, .. } => Ok(&scratch.logits),
            #[cfg(feature = "cuda")]
            Self::Cuda(session) => session.logits(),
        }
    }

    /// The last hidden state `[hidden]` of token `index` of the last batch, after the final norm.
    ///
    /// # Errors
    /// On a device, which gives none.
    pub fn hidden(&mut self, engine: &Engine, index: usize) -> Result<&[f32], Error> {
        match self {
            Self::Cpu { scratch, .. } => {
                forward::hidden(&mut step(engine, scratch, 0, 0), index);
                Ok(&scratch.block[..engine.network().spec.hidden as usize])
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => {
                let (expected, found) = ("cpu".to_owned(), "cuda".to_owned());
                Err(Error::Setting { setting: "device for hidden states", expected, found })
            }
        }
    }

    /// The sampler's choice of the token after the last logits, which follow `history`.
    ///
    /// # Errors
    /// The sampler's filters leave no token, or the device fails.
    pub fn choose(&mut self, sampler: &mut Sampler, history: &[u32]) -> Result<u32, Error> {
        match self {
            Self::Cpu { scratch, .. } => sampler.sample(history, &scratch.logits),
            #[cfg(feature = "cuda")]
            Self::Cuda(session) => session.choose(sampler, history),
        }
    }

    /// Takes the cache of another session that was planned alike: what it made of its first
    /// `count` tokens.
    ///
    /// # Errors
    /// The device fails.
    pub fn copy_from(&mut self, other: &mut Self, count: usize) -> Result<(), Error> {
        match (self, other) {
            (Self::Cpu { kv, .. }, Self::Cpu { kv: other, .. }) => {
                kv.copy_from(other, count);
                Ok(())
            }
            #[cfg(feature = "cuda")]
            (own, other) => {
                let mut copied = Recording::default();
                other.pass(&mut copied, count)?;
                own.pass(&mut copied.replay(), count)
            }
        }
    }

    /// As [`Kv::truncate`].
    pub fn truncate(&mut self, held: usize, position: usize) -> usize {
        match self {
            Self::Cpu { kv, .. } => kv.truncate(held, position),
            #[cfg(feature = "cuda")]
            Self::Cuda(session) => session.truncate(held, position),
        }
    }

    /// As [`Kv::levels`].
    pub fn levels(&self) -> impl Iterator<Item = (usize, usize, [u32; PARTS_MAX])> {
        let levels: Box<dyn Iterator<Item = _>> = match self {
            Self::Cpu { kv, .. } => Box::new(kv.levels()),
            #[cfg(feature = "cuda")]
            Self::Cuda(session) => Box::new(session.levels()),
        };
        levels
    }

    /// Passes the keys and values of the first `count` tokens into a file or out of it.
    ///
    /// # Errors
    /// What the pipe says, or the device fails.
    pub fn pass(&mut self, pipe: &mut impl Pipe, count: usize) -> Result<(), Error> {
        match self {
            Self::Cpu { kv: Kv::F16(layers), .. } => {
                layers.iter_mut().try_for_each(|layer| layer.pass(pipe, count))
            }
            Self::Cpu { kv: Kv::F32(layers), .. } => {
                layers.iter_mut().try_for_each(|layer| layer.pass(pipe, count))
            }
            Self::Cpu { kv: Kv::Ring(ring), .. } => ring.pass(pipe, count),
            #[cfg(feature = "cuda")]
            Self::Cuda(session) => session.pass(pipe, count),
        }
    }
}

fn step<'a>(
    engine: &'a Engine,
    scratch: &'a mut Scratch,
    position: usize,
    tokens: usize,
) -> Step<'a> {
    Step { network: engine.network(), cpu: engine.cpu(), scratch, position, tokens }
}
