//! Rotary position embedding (arXiv 2104.09864): turns pairs of elements by an angle that grows
//! with the position.

use hardtack_kernels::rope::{self, Turn};

use super::batch::Batch;
use crate::cpu::buffer::{Buffer, buffers};

buffers! {
    /// The turns of a batch, once for all heads and layers.
    pub struct Turns {
        /// `[batch, frequencies]`
        turns: Buffer<Turn>,
    }
}

impl Turns {
    /// Has room for a layer's frequencies.
    pub fn need(&mut self, batch: usize, rope_dim: u32) {
        self.turns.need(batch * rope_dim as usize / 2);
    }

    /// Computes the turns of all positions of the batch.
    pub fn prepare(&mut self, batch: &Batch<'_>) {
        let Some(frequencies) = &batch.network.rope_frequencies else { return };
        let frequencies = batch.cpu.vector(frequencies);
        let rows = self.turns.chunks_exact_mut(frequencies.len()).take(batch.tokens);
        for (token, row) in rows.enumerate() {
            turns(batch.position + token, frequencies, row);
        }
    }

    /// The turns of one token of the batch.
    pub fn of(&self, batch: &Batch<'_>, token: usize) -> &[Turn] {
        let frequencies =
            batch.network.rope_frequencies.map_or(0, |tensor| tensor.columns as usize);
        &self.turns[token * frequencies..(token + 1) * frequencies]
    }
}

/// The turns of one position, one for each frequency.
pub fn turns(position: usize, frequencies: &[f32], out: &mut [Turn]) {
    out.iter_mut()
        .zip(rope::turns(position, frequencies, f64::sin_cos))
        .for_each(|(out, turn)| *out = turn);
}

/// Turns element `i` with element `i + n/2` of `head[..n]`. `scale` multiplies the result (YaRN's
/// attention factor).
pub fn rotate(head: &mut [f32], turns: &[Turn], scale: f32) {
    let (first, second) = head.split_at_mut(head.len() / 2);
    for ((a, b), [sine, cosine]) in first.iter_mut().zip(second).zip(turns) {
        let (sine, cosine) = (sine * scale, cosine * scale);
        (*a, *b) = (*a * cosine - *b * sine, *b * cosine + *a * sine);
    }
}
