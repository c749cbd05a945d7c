//! A session on a device: passes, logits when they are asked for, and its cache into files and out
//! of them.

use std::sync::Arc;

use hardtack_format::spec::AttentionSpec;
use hardtack_kernels_cuda::{CachePart, Session};

use super::ring::DeviceRing;
use super::{DeviceModel, SharedDevice};
use crate::cache::KvSize;
use crate::cache::shape::{CHUNK, PARTS_MAX, cached_shape};
use crate::error::Error;
use crate::memory::zeros;
use crate::sample::Sampler;
use crate::saved::Pipe;

/// Bytes of the cache that pass into a file at once.
const PIECE_BYTES: usize = 1 << 20;

/// A session on a device.
pub struct DeviceSession {
    session: Session<SharedDevice>,
    /// What the host knows of a ring, if keys and values are in one.
    ring: Option<DeviceRing>,
    /// `[vocabulary]`
    logits: Vec<f32>,
    /// Whether they are the device's last ones.
    fresh: bool,
    /// The token that the device found likeliest, if it was asked, and still holds.
    likeliest: Option<u32>,
    /// Tokens of the last pass.
    passed: usize,
}

impl DeviceSession {
    /// Takes all memory that a session needs.
    ///
    /// # Errors
    /// The device or the host has no such room, or the device fails.
    pub fn new(model: Arc<DeviceModel>, kv: KvSize, batch: usize) -> Result<Self, Error> {
        let sizes = super::session_sizes(model.network(), kv, batch)?;
        let logits = zeros(sizes.vocabulary())?;
        let mut session = Session::new(model.clone(), sizes.context, sizes.batch, sizes.kv)?;
        let ring = match kv {
            KvSize::F16(_) | KvSize::F32(_) => None,
            KvSize::Ring(size) => Some(DeviceRing::new(&size, model.network(), &mut session)?),
        };
        Ok(Self { session, ring, logits, fresh: false, likeliest: None, passed: 0 })
    }

    /// Most tokens of a pass from `position` on: over a ring they lie within one chunk.
    pub fn pass_max(&self, position: usize) -> usize {
        match &self.ring {
            None => usize::MAX,
            Some(_) => CHUNK - position % CHUNK,
        }
    }

    /// Runs at most a batch of tokens, and of those that may pass together, the first at
    /// `position`, through all layers.
    ///
    /// # Errors
    /// The device fails. A ring may be empty then: [`DeviceSession::truncate`] says what is left.
    pub fn run(&mut self, position: usize, tokens: &[u32]) -> Result<(), Error> {
        self.fresh = false;
        self.passed = tokens.len();
        if let Some(ring) = &mut self.ring {
            ring.begin(position / CHUNK, &mut self.session)?;
        }
        match (self.likeliest.take(), tokens) {
            (Some(likeliest), &[token]) if likeliest == token => {
                self.likeliest = Some(self.session.follow(position)?);
                Ok(())
            }
            _ => Ok(self.session.pass(position, tokens)?),
        }
    }

    /// Makes the logits that follow token `index` of the last pass.
    ///
    /// # Errors
    /// The device fails.
    pub fn make_logits(&mut self, index: usize) -> Result<(), Error> {
        // After one token they are there.
        if self.passed > 1 {
            (self.fresh, self.likeliest) = (false, None);
            self.session.make_logits(index)?;
        }
        Ok(())
    }

    /// The last logits that were made, `[vocabulary]`.
    ///
    /// # Errors
    /// The device fails.
    pub fn logits(&mut self) -> Result<&[f32], Error> {
        if !self.fresh {
            self.session.read_logits(&mut self.logits)?;
            self.fresh = true;
        }
        Ok(&self.logits)
    }

    /// The sampler's choice. The likeliest token is the device's own, and no logits leave it.
    ///
    /// # Errors
    /// The device fails.
    pub fn choose(&mut self, sampler: &mut Sampler, history: &[u32]) -> Result<u32, Error> {
        match self.likeliest {
            _ if !sampler.takes_likeliest() => sampler.sample(history, self.logits()?),
            Some(token) => Ok(token),
            None => Ok(*self.likeliest.insert(self.session.likeliest()?)),
        }
    }

    /// Forgets everything behind the first `position` of `held` tokens, or more where a ring cannot
    /// be brought back to just what it was then. Gives how many tokens are kept.
    pub fn truncate(&mut self, held: usize, position: usize) -> usize {
        self.ring.as_mut().map_or(held.min(position), |ring| ring.truncate(held, position))
    }

    /// What a ring's sealed chunks hold.
    pub fn levels(&self) -> impl Iterator<Item = (usize, usize, [u32; PARTS_MAX])> {
        self.ring.iter().flat_map(DeviceRing::levels)
    }

    /// Passes the keys and values of the first `count` tokens into a file or out of it, as the
    /// CPU's cache does.
    ///
    /// # Errors
    /// What the pipe says, or the device fails.
    pub fn pass<P: Pipe>(&mut self, pipe: &mut P, count: usize) -> Result<(), Error> {
        if let Some(ring) = &mut self.ring {
            return ring.pass(&mut self.session, pipe, count);
        }
        let context = self.session.sizes().context;
        let layers: Vec<AttentionSpec> = self
            .session
            .model()
            .network()
            .spec
            .layers
            .iter()
            .map(|layer| layer.attention)
            .collect();
        for (layer, attention) in layers.iter().enumerate() {
            let (heads, first, second) = cached_shape(attention);
            for (part, width) in [(CachePart::Keys, first), (CachePart::Values, second)] {
                let head_bytes = self.session.cache_bytes(layer, part) as usize / heads;
                let bytes = if width == 0 { 0 } else { head_bytes / context * count };
                for head in 0..heads {
                    pass_bytes(&mut self.session, pipe, (layer, part), head * head_bytes, bytes)?;
                }
            }
        }
        Ok(())
    }
}

/// Passes consecutive bytes of a part of a layer's cache into a file or out of it.
///
/// # Errors
/// What the pipe says, or the device fails.
pub fn pass_bytes<P: Pipe>(
    session: &mut Session<SharedDevice>,
    pipe: &mut P,
    (layer, part): (usize, CachePart),
    start: usize,
    bytes: usize,
) -> Result<(), Error> {
    let mut piece = zeros(bytes.min(PIECE_BYTES))?;
    for first in (0..bytes).step_by(PIECE_BYTES) {
        let piece = &mut piece[..(bytes - first).min(PIECE_BYTES)];
        let offset = (start + first) as u64;
        if !P::READS {
            session.read_cache(layer, part, offset, piece)?;
        }
        pipe.bytes(piece)?;
        if P::READS {
            session.write_cache(layer, part, offset, piece)?;
        }
    }
    Ok(())
}
