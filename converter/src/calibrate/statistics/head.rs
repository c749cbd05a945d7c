//! The loss, its gradient at the stream after the last layer, and the head's costs: the vocabulary
//! goes by in blocks of rows, so that neither the head nor the logits are ever in memory as a
//! whole.
//!
//! The first time the blocks give every token's normalizer `log sum exp`; the second time its
//! gradient at the logits, `g = share - target`, and with it all that depends on the head.

use candle_core::{Device, Tensor, Var};
use hardtack_format::Role;
use rayon::prelude::*;

use super::run::Run;
use super::settings::{DTYPE, Phase};
use crate::calibrate::error::CalibrateError;
use crate::calibrate::graph::{linear, quantized, rms_norm};
use crate::calibrate::model::Model;
use crate::calibrate::tables::Tables;

/// Weights of the head in memory at once, for each option.
pub const HEAD_ELEMENTS: usize = 1 << 22;
/// Tokens whose logits of one block are in memory at once.
pub const TOKENS: usize = 256;

/// What is known of one token.
#[derive(Clone, Copy, Debug)]
pub struct Token {
    /// Number of its text.
    pub domain: usize,
    /// The token that follows; none at the end of a window.
    pub target: Option<u32>,
    largest: f32,
    /// Of `exp(logit - largest)`.
    sum: f64,
    target_logit: f32,
}

/// Some rows of the head.
pub struct Block {
    first: usize,
    weights: Tensor,
}

impl Block {
    /// Rows of a block.
    pub fn rows(model: &Model) -> usize {
        (HEAD_ELEMENTS / model.spec().hidden as usize).max(1)
    }

    /// The block that begins at a row.
    pub fn read(model: &Model, first: usize) -> Result<Self, CalibrateError> {
        let values = model.global_rows(Role::Head, first, Self::rows(model))?;
        let hidden = model.spec().hidden as usize;
        let count = values.len() / hidden;
        Ok(Self { first, weights: Tensor::from_vec(values, (count, hidden), &Device::Cpu)? })
    }

    /// Its part of the vocabulary.
    pub fn width(&self) -> Result<usize, CalibrateError> {
        Ok(self.weights.dim(0)?)
    }

    /// Its logits for some tokens, row-major.
    pub fn logits(&self, model: &Model, normed: &Tensor) -> Result<Vec<f32>, CalibrateError> {
        let scale = f64::from(model.spec().logit_scale);
        Ok((linear(normed, &self.weights, None)? * scale)?.flatten_all()?.to_vec1()?)
    }
}

impl Run<'_> {
    /// Adds losses and the head's costs to the tables; returns the gradient at `stream`.
    pub fn head(
        &mut self,
        stream: Vec<f32>,
        tables: &mut Tables,
    ) -> Result<Vec<f32>, CalibrateError> {
        let epsilon = f64::from(self.model.spec().norm_epsilon);
        let gain = self.model.global(Role::FinalNorm, DTYPE)?;
        let stream = Tensor::from_vec(stream, (self.tokens(), self.hidden), &Device::Cpu)?;
        let normed = rms_norm(&stream, &gain, epsilon)?;
        let mut tokens = self.token_list();
        self.normalizers(&normed, &mut tokens)?;
        for token in tokens.iter().filter(|token| token.target.is_some()) {
            tables.domains[token.domain].loss += token.loss();
        }
        let gradient = self.gradients(&normed, &tokens, tables)?;
        drop(normed);
        let variable = Var::from_tensor(&stream)?;
        let weighted = (rms_norm(variable.as_tensor(), &gain, epsilon)? * gradient)?.sum_all()?;
        let gradients = weighted.backward()?;
        let gradient =
            gradients.get(&variable).expect("the stream takes part").flatten_all()?.to_vec1()?;
        self.step(Phase::Head, self.windows.len() as u64);
        Ok(gradient)
    }

    /// All tokens, nothing known of them yet.
    pub fn token_list(&self) -> Vec<Token> {
        let tokens = self.windows.iter().flat_map(|window| {
            let targets = window.tokens[1..].iter().map(|&target| Some(target)).chain([None]);
            targets.map(|target| Token {
                domain: window.domain,
                target,
                largest: f32::NEG_INFINITY,
                sum: 0.0,
                target_logit: 0.0,
            })
        });
        tokens.collect()
    }

    /// Blocks of the head's rows, one after another.
    fn each_block(
        &self,
        mut work: impl FnMut(Block) -> Result<(), CalibrateError>,
    ) -> Result<(), CalibrateError> {
        for first in (0..self.model.spec().vocabulary as usize).step_by(Block::rows(self.model)) {
            self.check_stop()?;
            work(Block::read(self.model, first)?)?;
        }
        Ok(())
    }

    /// Finds the normalizer of every token.
    pub fn normalizers(&self, normed: &Tensor, tokens: &mut [Token]) -> Result<(), CalibrateError> {
        self.each_block(|block| {
            let width = block.width()?;
            for (tile, tokens) in tokens.chunks_mut(TOKENS).enumerate() {
                let logits =
                    block.logits(self.model, &normed.narrow(0, tile * TOKENS, tokens.len())?)?;
                tokens.par_iter_mut().zip(logits.par_chunks_exact(width)).for_each(
                    |(token, logits)| {
                        token.meet(block.first, logits);
                    },
                );
            }
            Ok(())
        })
    }

    /// Gradient at the normalized stream, `[tokens, hidden]`; the head's costs go to the tables.
    fn gradients(
        &self,
        normed: &Tensor,
        tokens: &[Token],
        tables: &mut Tables,
    ) -> Result<Tensor, CalibrateError> {
        let scale = f64::from(self.model.spec().logit_scale);
        let mut gradient: Vec<Option<Tensor>> = vec![None; tokens.len().div_ceil(TOKENS)];
        self.each_block(|block| {
            let changes: Vec<Tensor> = self
                .settings
                .options
                .iter()
                .map(|&option| Ok((&block.weights - quantized(&block.weights, option)?)?))
                .collect::<Result<_, CalibrateError>>()?;
            let width = block.width()?;
            for (tile, (tokens, sum)) in tokens.chunks(TOKENS).zip(&mut gradient).enumerate() {
                let normed = normed.narrow(0, tile * TOKENS, tokens.len())?;
                let mut logits = block.logits(self.model, &normed)?;
                tokens.par_iter().zip(logits.par_chunks_exact_mut(width)).for_each(
                    |(token, logits)| {
                        token.gradient(block.first, logits);
                    },
                );
                for (option, change) in changes.iter().enumerate() {
                    let change = linear(&normed, change, None)?.flatten_all()?.to_vec1::<f32>()?;
                    let costs: Vec<f64> = logits
                        .par_chunks_exact(width)
                        .zip(change.par_chunks_exact(width))
                        .map(|(gradient, change)| squares(gradient, change, scale))
                        .collect();
                    for (token, cost) in tokens.iter().zip(costs) {
                        tables.domains[token.domain].head[option] += cost;
                    }
                }
                let own = Tensor::from_vec(logits, (tokens.len(), width), &Device::Cpu)?
                    .matmul(&block.weights)?;
                *sum = Some(match sum.take() {
                    Some(sum) => (sum + own)?,
                    None => own,
                });
            }
            Ok(())
        })?;
        let gradient: Vec<Tensor> = gradient.into_iter().flatten().collect();
        Ok((Tensor::cat(&gradient, 0)? * scale)?)
    }
}

impl Token {
    /// Takes in the logits of a block.
    fn meet(&mut self, first: usize, logits: &[f32]) {
        let largest = logits.iter().fold(self.largest, |largest, &logit| largest.max(logit));
        self.sum *= f64::from(self.largest - largest).exp();
        self.sum += logits.iter().map(|logit| f64::from((logit - largest).exp())).sum::<f64>();
        self.largest = largest;
        if let Some(&logit) = self.place(first).and_then(|place| logits.get(place)) {
            self.target_logit = logit;
        }
    }

    /// Turns logits of a block into the gradient of the token's loss at them.
    fn gradient(&self, first: usize, logits: &mut [f32]) {
        if self.target.is_none() {
            return logits.fill(0.0);
        }
        let normalizer = self.normalizer();
        for logit in logits.iter_mut() {
            *logit = (f64::from(*logit) - normalizer).exp() as f32;
        }
        if let Some(share) = self.place(first).and_then(|place| logits.get_mut(place)) {
            *share -= 1.0;
        }
    }

    /// `log sum exp` of its logits, once all blocks were seen.
    pub fn normalizer(&self) -> f64 {
        f64::from(self.largest) + self.sum.ln()
    }

    /// Its loss in nats, once all blocks were seen.
    pub fn loss(&self) -> f64 {
        f64::from(self.largest - self.target_logit) + self.sum.ln()
    }

    /// Where its target would be in a block.
    fn place(&self, first: usize) -> Option<usize> {
        self.target.and_then(|target| (target as usize).checked_sub(first))
    }
}

fn squares(gradient: &[f32], change: &[f32], scale: f64) -> f64 {
    let square = |(&gradient, &change): (&f32, &f32)| {
        (f64::from(gradient) * f64::from(change) * scale).powi(2)
    };
    gradient.iter().zip(change).map(square).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_give_what_the_whole_vocabulary_gives() {
        let logits: Vec<f32> = (0..23).map(|index| ((index * 7 % 11) as f32 - 5.0) * 3.0).collect();
        let sum: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
        for target in [0, 9, 10, 22] {
            let mut token = Token {
                domain: 0,
                target: Some(target),
                largest: f32::NEG_INFINITY,
                sum: 0.0,
                target_logit: 0.0,
            };
            let blocks =
                || logits.chunks(10).enumerate().map(|(index, block)| (index * 10, block.to_vec()));
            blocks().for_each(|(first, block)| token.meet(first, &block));
            assert_eq!(token.target_logit, logits[target as usize]);
            assert!((f64::from(token.largest) + token.sum.ln() - sum.ln()).abs() < 1e-6);
            let gradient = blocks().flat_map(|(first, mut block)| {
                token.gradient(first, &mut block);
                block
            });
            for (index, found) in gradient.enumerate() {
                let own = if index == target as usize { 1.0 } else { 0.0 };
                let expected = f64::from(logits[index]).exp() / sum - own;
                assert!(
                    (f64::from(found) - expected).abs() < 1e-6,
                    "{index}: {found}, not {expected}"
                );
            }
        }
    }
}
