//! A session on a device: passes, logits when they are asked for, and its cache into files and out of them.

use std::sync::Arc;

use hardtack_kernels_cuda::{Kept, Session, SessionSizes};

use super::{DeviceModel, SharedDevice};
use crate::error::Error;
use crate::memory::zeros;
use crate::sample::Sampler;
use crate::saved::Pipe;

/// Bytes of the cache that pass into a file at once.
const PIECE_BYTES: usize = 1 << 20;

/// A session on a device.
pub struct DeviceSession {
    session: Session<SharedDevice>,
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
    pub fn new(model: Arc<DeviceModel>, sizes: &SessionSizes) -> Result<Self, Error> {
        let logits = zeros(sizes.vocabulary())?;
        let session = Session::new(model, sizes.context, sizes.batch, sizes.kv)?;
        Ok(Self { session, logits, fresh: false, likeliest: None, passed: 0 })
    }

    /// Runs at most a batch of tokens, the first at `position`, through all layers.
    ///
    /// # Errors
    /// The device fails.
    pub fn run(&mut self, position: usize, tokens: &[u32]) -> Result<(), Error> {
        self.fresh = false;
        self.passed = tokens.len();
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
    pub fn choose(&mut self, sampler: &mut Sampler) -> Result<u32, Error> {
        match self.likeliest {
            _ if !sampler.takes_likeliest() => Ok(sampler.sample(self.logits()?)),
            Some(token) => Ok(token),
            None => Ok(*self.likeliest.insert(self.session.likeliest()?)),
        }
    }

    /// Passes the keys and values of the first `count` tokens into a file or out of it, as an exact cache of the CPU does.
    ///
    /// # Errors
    /// What the pipe says, or the device fails.
    pub fn pass<P: Pipe>(&mut self, pipe: &mut P, count: usize) -> Result<(), Error> {
        let mut piece = Vec::new();
        let layers = self.session.model().network().spec.layers.len();
        for (layer, matrix) in (0..layers).flat_map(|layer| [(layer, 0), (layer, 1)]) {
            let width = self.session.kept_bytes(layer, matrix);
            let at_once = (PIECE_BYTES / width.max(1)).max(1);
            for head in 0..self.session.kept_heads(layer) {
                for first in (0..count).step_by(at_once) {
                    piece.resize((count - first).min(at_once) * width, 0);
                    let place = Kept { layer, matrix, head };
                    if !P::READS {
                        self.session.read_kept(place, first, &mut piece)?;
                    }
                    pipe.bytes(&mut piece)?;
                    if P::READS {
                        self.session.write_kept(place, first, &piece)?;
                    }
                }
            }
        }
        Ok(())
    }
}
