//! One round of a calibrated bake: the checkpoint quantized to an allocation, judged on text held
//! out, and its routers tuned.
//!
//! Every long step leaves a file beside the output, by which an interrupted bake goes on: tables of
//! costs, and a store of codes and routers.

use std::path::Path;
use std::sync::Arc;

use candle_core::Tensor;
use hardtack_format::{Encoding, Role, SectionKey};

use super::calibrated_options::{CalibrateOptions, Stage};
use super::composition::{Composition, rounded};
use super::error::BakeError;
use super::provenance::{Allocated, HeldOut};
use crate::assignment::Assignment;
use crate::calibrate::{
    CalibrateError, Domain, Judge, Judged, Model, Router, Sampling, Settings, Tables, TuneSettings,
    compress, tune_routers,
};
use crate::quantize::encode_rows;
use crate::store::{Shape, Store};

/// What all rounds of a bake share.
pub struct Rounds<'a> {
    pub exact: &'a Model,
    /// The checkpoint's own routers.
    pub routers: &'a [Option<Router>],
    pub fit: &'a [Domain],
    pub judge: &'a Judge<'a>,
    pub composition: &'a Composition<'a>,
    pub tables: &'a Tables,
    pub settings: &'a Settings<'a>,
    pub options: &'a CalibrateOptions<'a>,
    pub output: &'a Path,
}

/// An allocation, its codes and the verdict on them.
pub struct Coded {
    pub assignment: Assignment,
    pub allocated: Allocated,
    /// All codes, and the routers where they are not the checkpoint's.
    pub store: Arc<Store>,
}

/// Shows how much of a stage is done.
pub type Show<'a> = dyn FnMut(Stage, u64, u64) + 'a;

impl Rounds<'_> {
    /// The quantized model with the checkpoint's own routers.
    pub fn model(&self, store: &Arc<Store>) -> Model {
        self.exact.with(store.clone()).with_routers(self.routers.to_vec())
    }

    /// Quantizes to an assignment, and judges the result.
    pub fn quantize(
        &self,
        (assignment, mut allocated): (Assignment, Allocated),
        codes_path: &Path,
        show: &mut Show<'_>,
    ) -> Result<Coded, BakeError> {
        let fingerprint = fingerprint(self.tables, &assignment, self.options);
        let mut store = Store::open(codes_path, fingerprint)?;
        let stop = self.options.stop;
        compress(self.exact, self.fit, &assignment, &mut store, stop, &mut |done, total| {
            show(Stage::Quantize, done, total);
        })?;
        let store = Arc::new(store);
        allocated.held_out = verdict(self.judge, &self.model(&store), show)?;
        Ok(Coded { assignment, allocated, store })
    }

    /// Tunes the routers of a quantized model, and keeps them if on text held out the loss falls
    /// and the predictions move no further from the checkpoint's. Returns the verdict before, where
    /// they are kept.
    pub fn tune(
        &self,
        coded: &mut Coded,
        tune: &TuneSettings,
        show: &mut Show<'_>,
    ) -> Result<Option<Vec<HeldOut>>, BakeError> {
        if !has_routers(&coded.store, self.routers) {
            let quantized = self.model(&coded.store);
            let found =
                tune_routers(&quantized, self.fit, tune, self.settings, &mut |done, total, _| {
                    show(Stage::Tune, done, total);
                })?;
            drop(quantized);
            put_routers(&mut coded.store, &found)?;
        }
        let after = verdict(self.judge, &self.exact.with(coded.store.clone()), show)?;
        if helps(&coded.allocated.held_out, &after) {
            "tuned".clone_into(&mut coded.allocated.routers);
            Ok(Some(std::mem::replace(&mut coded.allocated.held_out, after)))
        } else {
            put_routers(&mut coded.store, self.routers)?;
            Ok(None)
        }
    }
}

/// What codes and routers in a scratch file depend on.
fn fingerprint(
    tables: &Tables,
    assignment: &Assignment,
    options: &CalibrateOptions<'_>,
) -> [u8; 32] {
    let header =
        serde_json::to_vec(&tables.header).expect("plain strings and numbers always serialize");
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(header.len() as u64).to_le_bytes());
    hasher.update(&header);
    assignment.hash(&mut hasher);
    let Sampling { window, tokens, held_out_tokens } = options.sampling;
    for number in [window, tokens, held_out_tokens] {
        hasher.update(&(number as u64).to_le_bytes());
    }
    match options.tune {
        None => hasher.update(&[0]),
        Some(TuneSettings { epochs, batch, rate, weight_decay }) => hasher
            .update(&[1])
            .update(&(epochs as u64).to_le_bytes())
            .update(&(batch as u64).to_le_bytes())
            .update(&rate.to_le_bytes())
            .update(&weight_decay.to_le_bytes()),
    };
    *hasher.finalize().as_bytes()
}

/// How a changed model does on the texts that were held out.
fn verdict(
    judge: &Judge<'_>,
    changed: &Model,
    show: &mut Show<'_>,
) -> Result<Vec<HeldOut>, BakeError> {
    let judged = judge.judge(changed, &mut |own| show(Stage::Judge, own.done, own.total))?;
    let held_out = |own: Judged| HeldOut {
        domain: own.domain,
        tokens: own.tokens,
        exact: rounded(own.exact),
        baked: rounded(own.changed),
        divergence: rounded(own.divergence),
    };
    Ok(judged.into_iter().map(held_out).collect())
}

/// Whether the loss falls and the predictions move no further from the checkpoint's: routers can
/// fit the texts' domains and be further away on all others.
fn helps(before: &[HeldOut], after: &[HeldOut]) -> bool {
    let [loss, divergence]: [fn(&HeldOut) -> f64; 2] = [|own| own.baked, |own| own.divergence];
    mean(after, loss) < mean(before, loss) && mean(after, divergence) <= mean(before, divergence)
}

/// The mean of something over the texts.
pub fn mean(held_out: &[HeldOut], what: impl Fn(&HeldOut) -> f64) -> f64 {
    held_out.iter().map(what).sum::<f64>() / held_out.len().max(1) as f64
}

/// Whether a store has a router for every layer that has one.
fn has_routers(store: &Store, routers: &[Option<Router>]) -> bool {
    let mixtures = (0..).zip(routers).filter(|(_, router)| router.is_some());
    mixtures
        .map(|(layer, _)| store.shape((SectionKey::layer(layer), Role::Router)))
        .all(|shape| shape.is_some())
}

/// Puts the routers of all layers into a store that nothing else holds.
fn put_routers(store: &mut Arc<Store>, routers: &[Option<Router>]) -> Result<(), BakeError> {
    let store = Arc::get_mut(store).expect("models that read it are gone");
    for (layer, router) in (0..).zip(routers) {
        let Some(Router { weights, bias }) = router else { continue };
        let section = SectionKey::layer(layer);
        // The bias first: a router that is there is whole.
        if let Some(bias) = bias {
            let shape = Shape {
                encoding: Encoding::Plain,
                stack: 1,
                rows: 1,
                columns: bias.elem_count() as u32,
            };
            let bytes: Vec<u8> =
                values(bias)?.iter().flat_map(|value| value.to_le_bytes()).collect();
            store.put((section, Role::RouterBias), shape, &bytes)?;
        }
        let (rows, columns) = weights.dims2().map_err(CalibrateError::from)?;
        let shape =
            Shape { encoding: Encoding::F32, stack: 1, rows: rows as u32, columns: columns as u32 };
        let bytes =
            encode_rows(Encoding::F32, &values(weights)?, columns).map_err(CalibrateError::from)?;
        store.put((section, Role::Router), shape, &bytes)?;
    }
    Ok(store.sync()?)
}

fn values(tensor: &Tensor) -> Result<Vec<f32>, BakeError> {
    let values = tensor.flatten_all().and_then(|flat| flat.to_vec1::<f32>());
    Ok(values.map_err(CalibrateError::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_help_where_neither_loss_nor_divergence_rises() {
        let texts = |[first, second]: [(f64, f64); 2]| {
            let text = |(baked, divergence)| HeldOut {
                domain: String::new(),
                tokens: 1,
                exact: 2.0,
                baked,
                divergence,
            };
            [text(first), text(second)]
        };
        let before = texts([(3.0, 0.02), (4.0, 0.03)]);
        for (after, expected) in [
            ([(2.9, 0.02), (4.0, 0.03)], true),
            ([(2.8, 0.03), (4.1, 0.01)], true),
            ([(3.0, 0.01), (4.0, 0.01)], false),
            ([(2.9, 0.01), (4.2, 0.01)], false),
            ([(2.0, 0.03), (3.0, 0.03)], false),
        ] {
            assert_eq!(helps(&before, &texts(after)), expected, "{after:?}");
        }
    }
}
