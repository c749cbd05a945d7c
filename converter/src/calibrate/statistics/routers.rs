//! Routers tuned to quantized experts: cross-entropy on text, everything but the routers frozen
//! (GEMQ, arXiv 2605.23078).
//!
//! Which experts a token is sent to is not differentiated; a router learns from the weights that it
//! assigns to the chosen ones.

use candle_core::{Device, Tensor, Var};

use super::boundaries::Boundaries;
use super::rows::{Rows, put};
use super::run::Run;
use super::settings::{DTYPE, Progress, Settings};
use crate::calibrate::adam::{Learner, root_mean_square};
use crate::calibrate::error::CalibrateError;
use crate::calibrate::graph::{FeedForwardWeights, layer};
use crate::calibrate::model::{Model, Router};
use crate::calibrate::tables::{DomainHeader, DomainTable, Header, Tables};
use crate::calibrate::text::{Domain, windows};

/// The gradient of a router and of its bias, flat.
#[derive(Clone, Debug)]
pub struct RouterGradient {
    /// `[experts * hidden]`
    pub weights: Vec<f32>,
    /// `[experts]`; none where the router has no bias.
    pub bias: Option<Vec<f32>>,
}

/// The loss of a model in nats, summed over the predicted tokens of some texts, and its gradient at
/// every router; none for a layer without one.
///
/// # Errors
/// The model or a text is no use, or `stop` was set.
pub fn router_gradients(
    model: &Model,
    texts: &[Domain],
    settings: &Settings<'_>,
) -> Result<(f64, Vec<Option<RouterGradient>>), CalibrateError> {
    let windows = windows(texts, model.spec(), settings.domain_tokens_min)?;
    let layers = model.spec().layers.len();
    let mut quiet = |_: Progress| ();
    // Only the loss is wanted, and nothing is saved.
    let settings = &Settings { options: Vec::new(), output: None, ..*settings };
    let mut run = Run::new(model, settings, windows, 0, &mut quiet)?;
    let length = run.tokens() * run.hidden;
    let mut boundaries =
        Boundaries::new(layers, length, settings.boundary_bytes_max, settings.scratch)?;
    let stream = run.forward(layers, layers, &mut boundaries)?;
    let mut tables = no_options(texts);
    let mut gradient = run.head(stream, &mut tables)?;
    let mut gradients = vec![None; layers];
    for index in (0..layers).rev() {
        gradients[index] = run.through(index, &boundaries.get(index)?, &mut gradient)?;
    }
    Ok((tables.domains.iter().map(|own| own.loss).sum(), gradients))
}

impl Run<'_> {
    /// Takes the gradient from a layer's output to its input, and returns the one at its router.
    fn through(
        &self,
        index: usize,
        input: &[f32],
        gradient: &mut [f32],
    ) -> Result<Option<RouterGradient>, CalibrateError> {
        let spec = &self.model.spec().layers[index];
        let mut weights = self.model.layer(index, DTYPE)?;
        let router = match &mut weights.feed_forward {
            FeedForwardWeights::Experts(mixture) => {
                let router = Var::from_tensor(&mixture.router)?;
                mixture.router = router.as_tensor().clone();
                let bias = mixture.router_bias.as_ref().map(Var::from_tensor).transpose()?;
                mixture.router_bias = bias.as_ref().map(|bias| bias.as_tensor().clone());
                Some((router, bias))
            }
            FeedForwardWeights::Dense(_) => None,
        };
        let mut sums = router.as_ref().map(|(router, bias)| RouterGradient {
            weights: vec![0.0; router.elem_count()],
            bias: bias.as_ref().map(|bias| vec![0.0; bias.elem_count()]),
        });
        for window in &self.windows {
            self.check_stop()?;
            let stream = Var::from_tensor(&Rows::new(input, self.hidden).window(window)?)?;
            let output = layer(spec, &weights, stream.as_tensor(), &self.pass)?;
            let upstream = Rows::new(gradient, self.hidden).window(window)?;
            let gradients = (output * upstream)?.sum_all()?.backward()?;
            let own = gradients.get(&stream).expect("the residual stream takes part").clone();
            put(gradient, self.hidden, window, &own)?;
            if let (Some((router, bias)), Some(sums)) = (&router, &mut sums) {
                add(&mut sums.weights, gradients.get(router))?;
                if let (Some(bias), Some(sums)) = (bias, &mut sums.bias) {
                    add(sums, gradients.get(bias))?;
                }
            }
        }
        Ok(sums)
    }
}

fn add(sums: &mut [f32], gradient: Option<&Tensor>) -> Result<(), CalibrateError> {
    if let Some(gradient) = gradient {
        let values = gradient.flatten_all()?.to_vec1::<f32>()?;
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
    Ok(())
}

/// Tables in which only the loss is kept.
pub fn no_options(texts: &[Domain]) -> Tables {
    let header = Header {
        source: String::new(),
        options: Vec::new(),
        seed: 0,
        domains: texts.iter().map(DomainHeader::of).collect(),
        layers: Vec::new(),
    };
    Tables { header, domains: vec![DomainTable::default(); texts.len()] }
}

/// How routers are tuned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TuneSettings {
    /// Passes over the text.
    pub epochs: usize,
    /// Windows of one step.
    pub batch: usize,
    /// Length of a step as a share of the gate's root mean square, where Adam's ratio is one.
    pub rate: f32,
    /// Weights shrink by this share of the rate at each step.
    pub weight_decay: f32,
}

impl Default for TuneSettings {
    fn default() -> Self {
        Self { epochs: 1, batch: 4, rate: 0.005, weight_decay: 1e-4 }
    }
}

/// Tunes all routers of a model on some texts, and returns them layer by layer; none for a layer
/// without one. The rate falls to zero along the way. `progress` gets the step, of how many, and
/// the mean loss in nats.
///
/// # Errors
/// The model or a text is no use, or `stop` was set.
pub fn tune_routers(
    model: &Model,
    texts: &[Domain],
    tune: &TuneSettings,
    settings: &Settings<'_>,
    progress: &mut dyn FnMut(u64, u64, f64),
) -> Result<Vec<Option<Router>>, CalibrateError> {
    let layers = model.spec().layers.len();
    let mut learners = Vec::with_capacity(layers);
    for index in 0..layers {
        learners.push(
            model
                .router(index, DTYPE)?
                .map(|router| learners_of(&router, tune.rate))
                .transpose()?,
        );
    }
    let windows = interleaved(texts);
    let batches: Vec<&[Vec<u32>]> = windows.chunks(tune.batch.max(1)).collect();
    let steps = tune.epochs * batches.len();
    for step in 0..steps {
        let batch = batches[step % batches.len()];
        let routers = routers_of(model, &learners)?;
        let text = Domain { name: "batch".to_owned(), hash: String::new(), tokens: batch.to_vec() };
        let predicted: usize = batch.iter().map(|window| window.len() - 1).sum();
        let (loss, gradients) = router_gradients(&model.with_routers(routers), &[text], settings)?;
        if !loss.is_finite() {
            let domain = "of a step in tuning routers".to_owned();
            return Err(CalibrateError::NotFinite { domain, what: "the loss", found: loss });
        }
        let share = 1.0 - step as f32 / steps as f32;
        for (learners, gradient) in learners.iter_mut().zip(gradients) {
            let (Some((weights, bias)), Some(gradient)) = (learners, gradient) else { continue };
            weights.step(&gradient.weights, step as i32 + 1, share, tune.weight_decay);
            if let (Some(bias), Some(gradient)) = (bias, gradient.bias) {
                bias.step(&gradient, step as i32 + 1, share, tune.weight_decay);
            }
        }
        progress(step as u64 + 1, steps as u64, loss / predicted as f64);
    }
    routers_of(model, &learners)
}

type RouterLearners = (Learner, Option<Learner>);

fn learners_of(router: &Router, rate: f32) -> Result<RouterLearners, CalibrateError> {
    let learner = |tensor: &Tensor| -> Result<Learner, CalibrateError> {
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        let rate = rate * root_mean_square(&values);
        Ok(Learner::new(values, rate))
    };
    Ok((learner(&router.weights)?, router.bias.as_ref().map(learner).transpose()?))
}

fn routers_of(
    model: &Model,
    learners: &[Option<RouterLearners>],
) -> Result<Vec<Option<Router>>, CalibrateError> {
    let hidden = model.spec().hidden as usize;
    let router = |(weights, bias): &RouterLearners| -> Result<Router, CalibrateError> {
        let rows = weights.values.len() / hidden;
        let bias = bias
            .as_ref()
            .map(|bias| Tensor::from_slice(&bias.values, rows, &Device::Cpu))
            .transpose()?;
        Ok(Router {
            weights: Tensor::from_slice(&weights.values, (rows, hidden), &Device::Cpu)?,
            bias,
        })
    };
    learners.iter().map(|own| own.as_ref().map(router).transpose()).collect()
}

/// Windows of all texts in turn, so that every batch has of each.
fn interleaved(texts: &[Domain]) -> Vec<Vec<u32>> {
    let most = texts.iter().map(|text| text.tokens.len()).max().unwrap_or(0);
    (0..most)
        .flat_map(|index| texts.iter().filter_map(move |text| text.tokens.get(index).cloned()))
        .collect()
}
