//! One round of a calibrated bake: costs on the model that the round before left, an allocation
//! that takes no bits back, the checkpoint's own weights quantized to it, and gates tuned from
//! where the round before left them.
//!
//! Every long step leaves a file beside the output, by which an interrupted bake goes on: tables of
//! costs, and a store of codes and gates.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Tensor;
use hardtack_format::{Encoding, Role, SectionKey};

use super::allocation::{Method, Order, Target};
use super::assignment::Assignment;
use super::calibrated::{CalibrateOptions, Stage, Step};
use super::error::BakeError;
use super::partial_file::beside;
use super::provenance::{Allocated, EarlierRound, HeldOut};
use super::refine::Refined;
use super::target::{About, rounded};
use crate::calibrate::{
    CalibrateError, Domain, Gate, Judge, Judged, Model, Sampling, Settings, Tables, TuneSettings,
    calibrate_once, compress, tune_gates,
};
use crate::quantize::encode_rows;
use crate::store::{Shape, Store};

/// What all rounds of a bake share.
pub struct Rounds<'a> {
    pub exact: &'a Model,
    pub fit: &'a [Domain],
    pub judge: &'a Judge<'a>,
    pub about: &'a About<'a>,
    pub settings: &'a Settings<'a>,
    pub options: &'a CalibrateOptions<'a>,
    pub output: &'a Path,
    /// How many there are.
    pub rounds: usize,
}

/// What a round leaves.
pub struct Round {
    pub tables: Tables,
    pub assignment: Assignment,
    pub allocated: Allocated,
    /// The verdict before gates were tuned, where they were.
    pub untuned: Option<Vec<HeldOut>>,
    /// What refinements came to.
    pub refined: Vec<Refined>,
    /// All codes, and the gates where they are not the checkpoint's.
    pub store: Arc<Store>,
}

/// What a round's bits are shared out by, and the gates of its model.
pub struct Bits<'a> {
    pub tables: &'a Tables,
    pub order: Order<'a>,
    pub walked: &'a [EarlierRound],
    pub gates: &'a [Option<Gate>],
}

impl Bits<'_> {
    /// The model with its codes.
    pub fn model(&self, exact: &Model, store: &Arc<Store>) -> Model {
        exact.with(store.clone()).with_gates(self.gates.to_vec())
    }
}

/// An allocation, its codes and the verdict on them.
pub struct Coded {
    pub assignment: Assignment,
    pub allocated: Allocated,
    pub store: Arc<Store>,
}

/// Shows how much of a stage of a round is done.
pub type Show<'a> = dyn FnMut(Stage, u64, u64) + 'a;

/// The file of a round beside the output; the first round's is the only one of most bakes.
pub fn round_path(output: &Path, round: usize, extension: &str) -> PathBuf {
    if round == 1 {
        beside(output, extension)
    } else {
        beside(output, &format!("{round}.{extension}"))
    }
}

impl Rounds<'_> {
    /// Runs round number `round`, counted from 1, after the one before it.
    pub fn run(
        &self,
        round: usize,
        target: Target,
        before: Option<Round>,
        progress: &mut dyn FnMut(Step),
    ) -> Result<Round, BakeError> {
        let mut step =
            |stage, done, total| progress(Step { round, rounds: self.rounds, stage, done, total });
        let (start, ceiling, walked) = match before {
            None => (self.exact.clone(), None, Vec::new()),
            Some(Round { store, assignment, allocated, .. }) => {
                (self.exact.with(store), Some(assignment), allocated.walked())
            }
        };
        let tables_path = round_path(self.output, round, "tables");
        let settings = Settings {
            options: self.settings.options.clone(),
            output: Some(&tables_path),
            ..*self.settings
        };
        let tables = calibrate_once(&start, self.fit, &settings, &mut |own| {
            step(Stage::Calibrate, own.done, own.total)
        })?;
        let (method, head) = (self.options.method.unwrap_or(Method::Global), self.options.head);
        let order = Order { target, method, head, ceiling: ceiling.as_ref(), factors: None };
        let (assignment, allocated) = self.about.within_target(&tables, &order, &walked)?;

        let gates = start.gates()?;
        drop(start);
        let bits = Bits { tables: &tables, order, walked: &walked, gates: &gates };
        let codes_path = round_path(self.output, round, "codes");
        let mut coded = self.quantize(&bits, assignment, allocated, &codes_path, &mut step)?;
        let refined = self.refine(&bits, &mut coded, &mut step)?;
        let Coded { assignment, allocated, store } = coded;
        let mut own = Round { tables, assignment, allocated, untuned: None, refined, store };
        if let Some(tune) = self.options.tune.filter(|_| own.allocated.expert_bits.is_some()) {
            self.tune(&mut own, &gates, &tune, &mut step)?;
        }
        Ok(own)
    }

    /// Quantizes to an assignment, and judges what comes of it.
    pub fn quantize(
        &self,
        bits: &Bits<'_>,
        assignment: Assignment,
        mut allocated: Allocated,
        codes_path: &Path,
        step: &mut Show<'_>,
    ) -> Result<Coded, BakeError> {
        let mut store =
            Store::open(codes_path, fingerprint(bits.tables, &assignment, self.options))?;
        let from = self.exact.with_gates(bits.gates.to_vec());
        compress(
            &from,
            self.fit,
            &assignment,
            &mut store,
            self.options.stop,
            &mut |done, total| {
                step(Stage::Quantize, done, total);
            },
        )?;
        let store = Arc::new(store);
        allocated.held_out = verdict(self.judge, &bits.model(self.exact, &store), step)?;
        Ok(Coded { assignment, allocated, store })
    }

    /// Tunes the gates of what a round quantized, and keeps them if on text held out the loss falls
    /// and the predictions move no further from the checkpoint's.
    fn tune(
        &self,
        own: &mut Round,
        gates: &[Option<Gate>],
        tune: &TuneSettings,
        step: &mut Show<'_>,
    ) -> Result<(), BakeError> {
        if !has_gates(&own.store, gates) {
            let quantized = self.exact.with(own.store.clone()).with_gates(gates.to_vec());
            let found =
                tune_gates(&quantized, self.fit, tune, self.settings, &mut |done, total, _| {
                    step(Stage::Tune, done, total);
                })?;
            drop(quantized);
            put_gates(&mut own.store, &found)?;
        }
        let after = verdict(self.judge, &self.exact.with(own.store.clone()), step)?;
        if helps(&own.allocated.held_out, &after) {
            own.untuned = Some(std::mem::replace(&mut own.allocated.held_out, after));
            "tuned".clone_into(&mut own.allocated.gates);
        } else {
            put_gates(&mut own.store, gates)?;
        }
        Ok(())
    }
}

/// What codes and gates in a scratch file depend on.
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
    step: &mut Show<'_>,
) -> Result<Vec<HeldOut>, BakeError> {
    let judged = judge.judge(changed, &mut |own| step(Stage::Judge, own.done, own.total))?;
    let held_out = |own: Judged| HeldOut {
        domain: own.domain,
        tokens: own.tokens,
        exact: rounded(own.exact),
        baked: rounded(own.changed),
        divergence: rounded(own.divergence),
    };
    Ok(judged.into_iter().map(held_out).collect())
}

/// Whether the loss falls and the predictions move no further from the checkpoint's: gates can fit
/// the texts' domains and be further away on all others.
fn helps(before: &[HeldOut], after: &[HeldOut]) -> bool {
    let [loss, divergence]: [fn(&HeldOut) -> f64; 2] = [|own| own.baked, |own| own.divergence];
    mean(after, loss) < mean(before, loss) && mean(after, divergence) <= mean(before, divergence)
}

/// The mean of something over the texts.
pub fn mean(held_out: &[HeldOut], what: impl Fn(&HeldOut) -> f64) -> f64 {
    held_out.iter().map(what).sum::<f64>() / held_out.len().max(1) as f64
}

/// Whether a store has a gate for every layer that has one.
fn has_gates(store: &Store, gates: &[Option<Gate>]) -> bool {
    let mixtures = (0..).zip(gates).filter(|(_, gate)| gate.is_some());
    mixtures
        .map(|(layer, _)| store.shape((SectionKey::layer(layer), Role::Gate)))
        .all(|shape| shape.is_some())
}

/// Puts the gates of all layers into a store that nothing else holds.
fn put_gates(store: &mut Arc<Store>, gates: &[Option<Gate>]) -> Result<(), BakeError> {
    let store = Arc::get_mut(store).expect("models that read it are gone");
    for (layer, gate) in (0..).zip(gates) {
        let Some(Gate { weights, bias }) = gate else { continue };
        let section = SectionKey::layer(layer);
        // The bias first: a gate that is there is whole.
        if let Some(bias) = bias {
            let shape = Shape {
                encoding: Encoding::Plain,
                stack: 1,
                rows: 1,
                columns: bias.elem_count() as u32,
            };
            let bytes: Vec<u8> =
                values(bias)?.iter().flat_map(|value| value.to_le_bytes()).collect();
            store.put((section, Role::GateBias), shape, &bytes)?;
        }
        let (rows, columns) = weights.dims2().map_err(CalibrateError::from)?;
        let shape =
            Shape { encoding: Encoding::F32, stack: 1, rows: rows as u32, columns: columns as u32 };
        let bytes =
            encode_rows(Encoding::F32, &values(weights)?, columns).map_err(CalibrateError::from)?;
        store.put((section, Role::Gate), shape, &bytes)?;
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
