//! A model on the processor and its sessions: a batch through all layers, on one page.

use std::any::Any;
use std::sync::Arc;

use hardtack_format::Network;
use hardtack_format::network::{AttentionTensors, FeedForwardTensors};
use hardtack_format::spec::FeedForwardKind;
use hardtack_kernels::KernelTable;

use super::buffer::Room as _;
use super::forward::attention::{Kept, attention};
use super::forward::batch::Batch;
use super::forward::feed_forward::{dense, experts};
use super::forward::latent::latent_attention;
use super::forward::scratch::Scratch;
use super::multiply::Cpu;
use super::pool::Pool;
use crate::backend::{Backend, Forward};
use crate::cache::Cache;
use crate::cache::chunks::ChunkBits;
use crate::cancel::Cancel;
use crate::error::Error;
use crate::os::BlobFile;
use crate::pipe::Pipe;
use crate::plan::Plan;
use crate::sample::Sampler;

/// A network, and what runs it.
pub struct CpuModel {
    /// The network.
    pub network: Network,
    /// The blob.
    pub file: Arc<BlobFile>,
    /// The tier of kernels.
    pub kernels: &'static KernelTable,
    /// The threads.
    pub pool: Pool,
}

impl Backend for CpuModel {
    fn network(&self) -> &Network {
        &self.network
    }

    fn threads(&self) -> usize {
        self.pool.threads()
    }

    fn device(&self) -> Option<String> {
        None
    }

    fn copy_bandwidth(&self, _bytes: u64) -> Result<Option<f64>, Error> {
        Ok(None)
    }

    fn session(self: Arc<Self>, plan: &Plan) -> Result<Box<dyn Forward>, Error> {
        let spec = &self.network.spec;
        let cache = Cache::new(&plan.kv, spec.layers.iter().map(|layer| &layer.attention))?;
        let mut scratch = Box::new(Scratch::planned(spec, plan.batch, plan.kv.is_ring()));
        scratch.allocate()?;
        Ok(Box::new(CpuSession { model: self, cache, scratch }))
    }
}

/// A session's cache and scratch.
struct CpuSession {
    model: Arc<CpuModel>,
    cache: Cache,
    scratch: Box<Scratch>,
}

impl Forward for CpuSession {
    fn batch_max(&self, _position: usize) -> usize {
        usize::MAX
    }

    fn run(
        &mut self,
        position: usize,
        tokens: &[u32],
        cancel: Option<&Cancel>,
    ) -> Result<bool, Error> {
        let cancel = cancel.filter(|_| self.cache.may_stop(position, tokens.len()));
        let batch = batch(&self.model, position, tokens.len());
        let Network { spec, layers, kv_policy, .. } = batch.network;
        let Scratch { shared, attention: scratch, latent, feed_forward, .. } = &mut *self.scratch;

        shared.embed(&batch, tokens);
        shared.turns.prepare(&batch);
        let caches = self.cache.layers.iter_mut();
        for (index, ((spec, tensors), cache)) in
            spec.layers.iter().zip(layers).zip(caches).enumerate()
        {
            let policy = kv_policy.as_ref().and_then(|policy| policy.layers.get(index));
            let kept = Kept { cache, policy };
            if index > 0 && cancel.is_some_and(Cancel::is_cancelled) {
                return Ok(false);
            }

            shared.normalize(&batch, &tensors.attention_norm);
            match &tensors.attention {
                AttentionTensors::Grouped(tensors) => {
                    attention(&batch, &spec.attention, tensors, kept, shared, scratch);
                }
                AttentionTensors::Latent(tensors) => {
                    let spec = &spec.attention;
                    latent_attention(&batch, spec, tensors, kept, shared, scratch, latent);
                }
            }
            shared.add_block(&batch);

            shared.normalize(&batch, &tensors.feed_forward_norm);
            let activation = spec.feed_forward.activation;
            match (&spec.feed_forward.kind, &tensors.feed_forward) {
                (FeedForwardKind::Experts(spec), FeedForwardTensors::Experts(tensors)) => {
                    experts(&batch, spec, activation, tensors, shared, feed_forward);
                }
                (_, FeedForwardTensors::Dense(block)) => {
                    dense(&batch, activation, block, shared, feed_forward);
                }
                (FeedForwardKind::Dense { .. }, FeedForwardTensors::Experts(_)) => {
                    unreachable!("bound from the same spec")
                }
            }
            shared.add_block(&batch);
        }
        Ok(true)
    }

    fn make_logits(&mut self, index: usize) -> Result<(), Error> {
        let batch = batch(&self.model, 0, 1);
        let Scratch { shared, logits, .. } = &mut *self.scratch;
        shared.head(&batch, index, logits);
        Ok(())
    }

    fn logits(&mut self) -> Result<&[f32], Error> {
        Ok(&self.scratch.logits)
    }

    fn hidden(&mut self, index: usize) -> Result<&[f32], Error> {
        Ok(self.scratch.shared.hidden(&batch(&self.model, 0, 1), index))
    }

    fn choose(&mut self, sampler: &mut Sampler, history: &[u32]) -> Result<u32, Error> {
        sampler.sample(history, &self.scratch.logits)
    }

    fn copy_from(&mut self, other: &mut dyn Forward, count: usize) -> Result<(), Error> {
        let other: &dyn Any = other;
        let other = other.downcast_ref::<Self>().expect("a session of the same model");
        self.cache.copy_from(&other.cache, count);
        Ok(())
    }

    fn truncate(&mut self, held: usize, position: usize) -> usize {
        self.cache.truncate(held, position)
    }

    fn levels(&self) -> Box<dyn Iterator<Item = ChunkBits> + '_> {
        Box::new(self.cache.levels())
    }

    fn serialize(&mut self, pipe: &mut dyn Pipe, count: usize) -> Result<(), Error> {
        self.cache.serialize(pipe, count)
    }
}

fn batch(model: &CpuModel, position: usize, tokens: usize) -> Batch<'_> {
    let CpuModel { network, file, kernels, pool } = model;
    Batch { network, cpu: Cpu { kernels, file, pool }, position, tokens }
}
