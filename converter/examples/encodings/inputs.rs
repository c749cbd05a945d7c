//! What the matrices of experts read on some windows of text, from the model as it is.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use hardtack_converter::calibrate::graph::{
    FeedForwardWeights, Pass, attention_block, block_inner, feed_forward_block, rms_norm, route,
};
use hardtack_converter::calibrate::{Domain, Model};
use hardtack_converter::quantize::Hessian;
use hardtack_format::{Role, SectionKey};

use crate::encodings_support::{Scheme, carry};
use crate::experts::{Failure, Matrix};

/// Inputs of one expert, token after token.
#[derive(Default)]
struct Read {
    /// Of gate and up projections.
    outer: Vec<f32>,
    /// Of the down projection.
    inner: Vec<f32>,
    /// What an error of each token's output counts.
    weights: Vec<f32>,
}

/// Inputs of all experts.
pub struct Inputs(BTreeMap<SectionKey, Read>);

impl Inputs {
    /// Runs the model over all windows.
    pub fn gather(model: &Model, domains: &[Domain]) -> Result<Self, Failure> {
        let (spec, dtype) = (model.spec(), DType::F32);
        let windows: Vec<&[u32]> =
            domains.iter().flat_map(|own| own.tokens.iter().map(Vec::as_slice)).collect();
        let longest = windows.iter().map(|window| window.len()).max().unwrap_or(0);
        let pass = Pass::new(spec, &model.frequencies()?, longest, dtype)?;
        let embedding = model.global(Role::Embedding, dtype)?;
        let embed = |window: &&[u32]| -> Result<Tensor, Failure> {
            let tokens = Tensor::new(*window, &Device::Cpu)?;
            Ok((embedding.index_select(&tokens, 0)? * f64::from(spec.embedding_scale))?)
        };
        let mut streams: Vec<Tensor> = windows.iter().map(embed).collect::<Result<_, _>>()?;
        let mut all = BTreeMap::<SectionKey, Read>::new();
        for (index, own) in spec.layers.iter().enumerate() {
            let layer = model.layer(index, dtype)?;
            for stream in &mut streams {
                let attended =
                    attention_block(own, &layer.attention_norm, &layer.attention, stream, &pass)?;
                let middle = pass.join(stream, &attended)?;
                let normed = rms_norm(&middle, &layer.feed_forward_norm, pass.epsilon)?;
                if let (FeedForwardWeights::Experts(mixture), Some(experts)) =
                    (&layer.feed_forward, own.feed_forward.experts())
                {
                    let routes =
                        route(experts, &mixture.gate, mixture.gate_bias.as_ref(), &normed)?;
                    let shares = routes.weights.flatten_all()?.to_vec1::<f32>()?;
                    let by_expert = routes.by_expert(experts.count as usize);
                    for (expert, (block, places)) in
                        (0..).zip(mixture.experts.iter().zip(by_expert))
                    {
                        if places.is_empty() {
                            continue;
                        }
                        let tokens: Vec<u32> =
                            places.iter().map(|place| place / routes.chosen as u32).collect();
                        let x = normed.index_select(&Tensor::new(tokens, &Device::Cpu)?, 0)?;
                        let inner = block_inner(own.feed_forward.activation, block, &x)?;
                        let read = all.entry(SectionKey::expert(index as u32, expert)).or_default();
                        read.outer.extend(x.flatten_all()?.to_vec1::<f32>()?);
                        read.inner.extend(inner.flatten_all()?.to_vec1::<f32>()?);
                        read.weights
                            .extend(places.iter().map(|&place| shares[place as usize].powi(2)));
                    }
                }
                let (output, _) =
                    feed_forward_block(&own.feed_forward, &layer.feed_forward, &normed)?;
                *stream = pass.join(&middle, &output)?;
            }
        }
        Ok(Self(all))
    }

    /// A matrix of an expert after rounding with feedback; plainly rounded where no token reached
    /// the expert.
    pub fn round(&self, scheme: &Scheme, matrix: &Matrix) -> Vec<f32> {
        let (section, role) = matrix.key;
        let Some(read) = self.0.get(&section) else {
            return scheme.round(&matrix.weights, matrix.columns);
        };
        let mut inputs = if role == Role::Down { read.inner.clone() } else { read.outer.clone() };
        scheme.turn(&mut inputs, matrix.columns);
        let mut hessian = Hessian::new(matrix.columns);
        hessian.add(&inputs, Some(&read.weights)).expect("the model's own inputs are finite");
        scheme.round_with_feedback(&matrix.weights, matrix.columns, &carry(&hessian))
    }
}
