//! A model on a device and its sessions: batches, logits when they are read, and a cache into
//! files and out of them.

use std::sync::Arc;

use hardtack_format::Network;
use hardtack_format::spec::AttentionSpec;
use hardtack_kernels_cuda::{CachePart, Device as _, Session};

use super::bytes::serialize_bytes;
use super::device::{DeviceModel, SharedDevice, copy_bandwidth};
use super::ring::DeviceRing;
use super::sizes::session_sizes;
use crate::backend::{Backend, Forward};
use crate::cache::chunks::ChunkBits;
use crate::cache::shape::{CHUNK, cached_shape};
use crate::cache::size::KvSize;
use crate::cancel::Cancel;
use crate::error::Error;
use crate::memory::zeros;
use crate::pipe::Pipe;
use crate::plan::Plan;
use crate::recording::Recording;
use crate::sample::Sampler;

impl Backend for DeviceModel {
    fn network(&self) -> &Network {
        self.network()
    }

    fn threads(&self) -> usize {
        1
    }

    fn device(&self) -> Option<String> {
        Some(self.device().name())
    }

    fn copy_bandwidth(&self, bytes: u64) -> Result<Option<f64>, Error> {
        copy_bandwidth(self.device(), bytes).map(Some)
    }

    fn session(self: Arc<Self>, plan: &Plan) -> Result<Box<dyn Forward>, Error> {
        Ok(Box::new(DeviceSession::new(self, plan.kv, plan.batch)?))
    }
}

/// A session on a device.
struct DeviceSession {
    session: Session<SharedDevice>,
    /// What the host knows of a ring, if keys and values are in one.
    ring: Option<DeviceRing>,
    /// `[vocabulary]`
    logits: Vec<f32>,
    /// Whether they are the device's last ones.
    fresh: bool,
    /// The token that the device found likeliest, if that is known and it still holds it.
    likeliest: Option<u32>,
    /// Tokens of the last batch.
    last: usize,
}

impl DeviceSession {
    fn new(model: Arc<DeviceModel>, kv: KvSize, batch: usize) -> Result<Self, Error> {
        let sizes = session_sizes(model.network(), kv, batch)?;
        let logits = zeros(sizes.vocabulary())?;
        let mut session = Session::new(model.clone(), sizes.context, sizes.batch, sizes.kv)?;
        let ring = match kv {
            KvSize::F16(_) | KvSize::F32(_) => None,
            KvSize::Ring(size) => Some(DeviceRing::new(&size, model.network(), &mut session)?),
        };
        Ok(Self { session, ring, logits, fresh: false, likeliest: None, last: 0 })
    }
}

impl Forward for DeviceSession {
    /// Over a ring, tokens of a batch lie within one chunk.
    fn batch_max(&self, position: usize) -> usize {
        match &self.ring {
            None => usize::MAX,
            Some(_) => CHUNK - position % CHUNK,
        }
    }

    fn run(
        &mut self,
        position: usize,
        tokens: &[u32],
        _cancel: Option<&Cancel>,
    ) -> Result<bool, Error> {
        self.fresh = false;
        self.last = tokens.len();
        if let Some(ring) = &mut self.ring {
            ring.begin(position / CHUNK, &mut self.session)?;
        }
        match (self.likeliest.take(), tokens) {
            (Some(likeliest), &[token]) if likeliest == token => {
                self.likeliest = Some(self.session.follow(position)?);
            }
            _ => self.session.pass(position, tokens)?,
        }
        Ok(true)
    }

    fn make_logits(&mut self, index: usize) -> Result<(), Error> {
        // After one token they are there.
        if self.last > 1 {
            (self.fresh, self.likeliest) = (false, None);
            self.session.make_logits(index)?;
        }
        Ok(())
    }

    fn logits(&mut self) -> Result<&[f32], Error> {
        if !self.fresh {
            self.session.read_logits(&mut self.logits)?;
            self.fresh = true;
        }
        Ok(&self.logits)
    }

    fn hidden(&mut self, _index: usize) -> Result<&[f32], Error> {
        let (expected, found) = ("cpu".to_owned(), "cuda".to_owned());
        Err(Error::Setting { setting: "device for hidden states", expected, found })
    }

    /// The likeliest token is the device's own choice, and no logits leave it.
    fn choose(&mut self, sampler: &mut Sampler, history: &[u32]) -> Result<u32, Error> {
        match self.likeliest {
            _ if !sampler.takes_likeliest() => sampler.sample(history, self.logits()?),
            Some(token) => Ok(token),
            None => Ok(*self.likeliest.insert(self.session.likeliest()?)),
        }
    }

    /// By way of the host's memory.
    fn copy_from(&mut self, other: &mut dyn Forward, count: usize) -> Result<(), Error> {
        let mut copied = Recording::default();
        other.serialize(&mut copied, count)?;
        self.serialize(&mut copied.replay(), count)
    }

    fn truncate(&mut self, held: usize, position: usize) -> usize {
        self.ring.as_mut().map_or(held.min(position), |ring| ring.truncate(held, position))
    }

    fn levels(&self) -> Box<dyn Iterator<Item = ChunkBits> + '_> {
        Box::new(self.ring.iter().flat_map(DeviceRing::levels))
    }

    fn serialize(&mut self, pipe: &mut dyn Pipe, count: usize) -> Result<(), Error> {
        if let Some(ring) = &mut self.ring {
            return ring.serialize(&mut self.session, pipe, count);
        }
        let context = self.session.sizes().context;
        let layers = &self.session.model().network().spec.layers;
        let layers: Vec<AttentionSpec> = layers.iter().map(|layer| layer.attention).collect();
        for (layer, attention) in layers.iter().enumerate() {
            let (heads, keys, values) = cached_shape(attention);
            for (part, width) in [(CachePart::Keys, keys), (CachePart::Values, values)] {
                let head_bytes = self.session.cache_bytes(layer, part) as usize / heads;
                let bytes = if width == 0 { 0 } else { head_bytes / context * count };
                for head in 0..heads {
                    let start = head * head_bytes;
                    serialize_bytes(&mut self.session, pipe, (layer, part), start, bytes)?;
                }
            }
        }
        Ok(())
    }
}
