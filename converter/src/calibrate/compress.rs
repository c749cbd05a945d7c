//! A checkpoint into codes, layer after layer: every layer's matrices are quantized on what the
//! layers before it, already quantized, produce, so that later layers make up for early errors
//! (GPTQ, arXiv 2210.17323, section 3.3).
//!
//! Inside a layer the same holds: the output projection sees what quantized queries, keys and
//! values attend to, the feed-forward block what quantized attention leaves, a down projection what
//! its quantized gate and up projections make.

use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{DType, Device, Tensor};
use hardtack_format::encoding::PANEL_ROWS;
use hardtack_format::spec::{Activation, ExpertsSpec};
use hardtack_format::{Encoding, Role, SectionKey, SectionKind};

use super::error::CalibrateError;
use super::graph::{
    AttentionWeights, BlockWeights, ExpertsWeights, FeedForwardWeights, GroupedWeights,
    LatentWeights, LayerWeights, Pass, attended, attention_block, block_inner, feed_forward_block,
    rms_norm, route,
};
use super::model::Model;
use super::statistics::embed;
use super::statistics::rows::{Rows, put};
use super::text::{Domain, Window, windows};
use crate::assignment::Assignment;
use crate::quantize::{DAMPING, Feedback, Hessian, encode_rows, quantize};
use crate::store::{Key, Shape, Store};

/// Tokens of its layer whose inner values lend an expert that few tokens reached what it lacks.
const PRIOR_TOKENS: usize = 512;
/// Numbers of embeddings or head that are in memory at once.
const ELEMENTS_AT_ONCE: usize = 1 << 20;
const DTYPE: DType = DType::F32;

/// Quantizes every matrix to its encoding into the store. What the store has already is taken as it
/// is, whole layers at a time. `progress` gets the parts (attention, common block, each
/// expert) that are done, and all of them.
///
/// # Errors
/// The checkpoint, a text or the store cannot be used, a weight does not fit its encoding, or
/// `stop` was set.
pub fn compress(
    model: &Model,
    domains: &[Domain],
    assignment: &Assignment,
    store: &mut Store,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), CalibrateError> {
    let spec = model.spec();
    let windows = windows(domains, spec, 2)?;
    let longest = windows.iter().map(|window| window.tokens.len()).max().unwrap_or(0);
    let pass = Pass::new(spec, &model.frequencies()?, longest, DTYPE)?;
    let experts = |layer: &hardtack_format::spec::LayerSpec| {
        layer.feed_forward.experts().map_or(0, |own| own.count)
    };
    let total = spec.layers.iter().map(|layer| 2 + u64::from(experts(layer))).sum();
    let hidden = spec.hidden as usize;
    let mut work =
        Work { model, assignment, store, stop, windows, pass, hidden, done: 0, total, progress };
    work.globals()?;
    let embedding = (SectionKey::only(SectionKind::Globals), Role::Embedding);
    let row = |token| Ok(work.store.rows(embedding, token as usize, 1)?);
    let mut stream = embed(spec.embedding_scale, &work.windows, row)?;
    for index in 0..spec.layers.len() {
        let exact = model.layer(index, DTYPE)?;
        work.layer(index, exact, &mut stream)?;
        work.store.sync()?;
    }
    Ok(())
}

struct Work<'a> {
    model: &'a Model,
    assignment: &'a Assignment,
    store: &'a mut Store,
    stop: &'a AtomicBool,
    windows: Vec<Window<'a>>,
    pass: Pass,
    hidden: usize,
    done: u64,
    total: u64,
    progress: &'a mut dyn FnMut(u64, u64),
}

impl Work<'_> {
    fn layer(
        &mut self,
        index: usize,
        exact: LayerWeights,
        stream: &mut [f32],
    ) -> Result<(), CalibrateError> {
        let spec = self.model.spec().layers[index];
        let section = SectionKey::layer(index as u32);
        let LayerWeights { attention_norm, attention, feed_forward_norm, feed_forward } = exact;
        let attention = match attention {
            AttentionWeights::Grouped(weights) => {
                AttentionWeights::Grouped(self.grouped(index, weights, &attention_norm, stream)?)
            }
            AttentionWeights::Latent(weights) => {
                AttentionWeights::Latent(self.latent(section, weights)?)
            }
        };
        self.step();
        // From here on the stream is the one between the layer's halves.
        let mut normed = vec![0.0; stream.len()];
        for window in &self.windows {
            self.check_stop()?;
            let rows = Rows::new(stream, self.hidden).window(window)?;
            let output = attention_block(&spec, &attention_norm, &attention, &rows, &self.pass)?;
            let middle = self.pass.join(&rows, &output)?;
            put(
                &mut normed,
                self.hidden,
                window,
                &rms_norm(&middle, &feed_forward_norm, self.pass.epsilon)?,
            )?;
            put(stream, self.hidden, window, &middle)?;
        }
        let activation = spec.feed_forward.activation;
        let feed_forward = match feed_forward {
            FeedForwardWeights::Dense(block) => {
                FeedForwardWeights::Dense(self.common(section, activation, block, &normed)?)
            }
            FeedForwardWeights::Experts(mixture) => {
                let experts = spec.feed_forward.experts().expect("loaded for the same spec");
                FeedForwardWeights::Experts(
                    self.mixture(section, activation, experts, mixture, &normed)?,
                )
            }
        };
        for window in &self.windows {
            self.check_stop()?;
            let rows = Rows::new(&normed, self.hidden).window(window)?;
            let (output, _) = feed_forward_block(&spec.feed_forward, &feed_forward, &rows)?;
            let joined =
                self.pass.join(&Rows::new(stream, self.hidden).window(window)?, &output)?;
            put(stream, self.hidden, window, &joined)?;
        }
        Ok(())
    }

    fn grouped(
        &mut self,
        index: usize,
        mut weights: GroupedWeights,
        gain: &Tensor,
        stream: &[f32],
    ) -> Result<GroupedWeights, CalibrateError> {
        let section = SectionKey::layer(index as u32);
        let spec = self.model.spec().layers[index].attention;
        let GroupedWeights { query, key, value, output, .. } = &mut weights;
        let all =
            [(Role::Query, query), (Role::Key, key), (Role::Value, value), (Role::Output, output)];
        if self.take_stored(section, all)? {
            return Ok(weights);
        }
        let mut inputs = Hessian::new(self.hidden);
        for window in &self.windows {
            let normed =
                rms_norm(&Rows::new(stream, self.hidden).window(window)?, gain, self.pass.epsilon)?;
            inputs.add(&floats(&normed)?, None)?;
        }
        let feedback = Feedback::new(&inputs, None, DAMPING)?;
        for (role, matrix) in [
            (Role::Query, &mut weights.query),
            (Role::Key, &mut weights.key),
            (Role::Value, &mut weights.value),
        ] {
            *matrix = self.matrix((section, role), matrix, &feedback)?;
        }
        let mut outputs = Hessian::new(weights.output.dim(1)?);
        for window in &self.windows {
            self.check_stop()?;
            let normed =
                rms_norm(&Rows::new(stream, self.hidden).window(window)?, gain, self.pass.epsilon)?;
            outputs.add(&floats(&attended(&spec, &weights, &normed, &self.pass)?)?, None)?;
        }
        let feedback = Feedback::new(&outputs, None, DAMPING)?;
        weights.output = self.matrix((section, Role::Output), &weights.output, &feedback)?;
        Ok(weights)
    }

    /// Latent attention has matrices between its latents and inside its heads, whose inputs are not
    /// recorded: they are rounded without feedback.
    fn latent(
        &mut self,
        section: SectionKey,
        mut weights: LatentWeights,
    ) -> Result<LatentWeights, CalibrateError> {
        let mut matrices = vec![
            (Role::Query, &mut weights.query),
            (Role::KeyValueDown, &mut weights.key_value_down),
            (Role::KeyUp, &mut weights.key_up),
            (Role::ValueUp, &mut weights.value_up),
            (Role::Output, &mut weights.output),
        ];
        matrices.extend(weights.query_down.as_mut().map(|(down, _)| (Role::QueryDown, down)));
        for (role, matrix) in matrices {
            let plain = Feedback::none(matrix.dim(candle_core::D::Minus1)?);
            *matrix = self.matrix((section, role), matrix, &plain)?;
        }
        Ok(weights)
    }

    /// The block that every token goes through.
    fn common(
        &mut self,
        section: SectionKey,
        activation: Activation,
        block: BlockWeights,
        normed: &[f32],
    ) -> Result<BlockWeights, CalibrateError> {
        let all: Vec<usize> = (0..normed.len() / self.hidden).collect();
        let coverage =
            Coverage { rows: Rows::new(normed, self.hidden), tokens: &all, weights: None };
        let quantized = self.block(section, activation, block, &coverage, None)?;
        self.step();
        Ok(quantized)
    }

    fn mixture(
        &mut self,
        section: SectionKey,
        activation: Activation,
        spec: &ExpertsSpec,
        mut mixture: ExpertsWeights,
        normed: &[f32],
    ) -> Result<ExpertsWeights, CalibrateError> {
        match mixture.shared.take() {
            Some(shared) => {
                mixture.shared = Some(self.common(section, activation, shared, normed)?)
            }
            None => self.step(),
        }
        let rows = Rows::new(normed, self.hidden);
        let all: Vec<usize> = (0..normed.len() / self.hidden).collect();
        let routes =
            route(spec, &mixture.router, mixture.router_bias.as_ref(), &rows.span(0, all.len())?)?;
        let shares = floats(&routes.weights)?;
        let layer = Coverage { rows, tokens: &all, weights: None };
        let experts = std::mem::take(&mut mixture.experts);
        for (expert, (block, places)) in
            (0..).zip(experts.into_iter().zip(routes.by_expert(spec.count as usize)))
        {
            let tokens: Vec<usize> =
                places.iter().map(|&place| place as usize / routes.chosen).collect();
            // An error of the expert's output counts by the square of the expert's weight for
            // the token.
            let weights: Vec<f32> =
                places.iter().map(|&place| shares[place as usize].powi(2)).collect();
            let coverage = Coverage { rows, tokens: &tokens, weights: Some(&weights) };
            let section = SectionKey::expert(section.layer, expert);
            mixture.experts.push(self.block(
                section,
                activation,
                block,
                &coverage,
                Some(&layer),
            )?);
            self.step();
        }
        Ok(mixture)
    }

    /// Router and up projections first, then the down projection on what they make of their inputs.
    /// An expert that few tokens reached borrows from some of its layer's.
    fn block(
        &mut self,
        section: SectionKey,
        activation: Activation,
        mut block: BlockWeights,
        coverage: &Coverage<'_>,
        layer: Option<&Coverage<'_>>,
    ) -> Result<BlockWeights, CalibrateError> {
        self.check_stop()?;
        let BlockWeights { gated, up, down, .. } = &mut block;
        if self.take_stored(section, [(Role::Gated, gated), (Role::Up, up), (Role::Down, down)])? {
            return Ok(block);
        }
        let inputs = feedback(self.hidden, coverage, layer, floats)?;
        block.gated = self.matrix((section, Role::Gated), &block.gated, &inputs)?;
        block.up = self.matrix((section, Role::Up), &block.up, &inputs)?;
        let inner = |inputs: &Tensor| floats(&block_inner(activation, &block, inputs)?);
        let inner = feedback(block.down.dim(1)?, coverage, layer, inner)?;
        block.down = self.matrix((section, Role::Down), &block.down, &inner)?;
        Ok(block)
    }

    /// Takes all of these from the store if it has all of them: a bake that goes on need not gather
    /// their inputs again.
    fn take_stored<const N: usize>(
        &self,
        section: SectionKey,
        matrices: [(Role, &mut Tensor); N],
    ) -> Result<bool, CalibrateError> {
        let stored = matrices.iter().all(|(role, matrix)| {
            self.store.shape((section, *role)) == Some(self.shape((section, *role), matrix))
        });
        if stored {
            for (role, matrix) in matrices {
                *matrix = self.read((section, role), matrix)?;
            }
        }
        Ok(stored)
    }

    /// A matrix, or a stack of them, as the numbers that its codes stand for. The codes go to the
    /// store.
    fn matrix(
        &mut self,
        key: Key,
        exact: &Tensor,
        feedback: &Feedback,
    ) -> Result<Tensor, CalibrateError> {
        let shape = self.shape(key, exact);
        if self.store.shape(key) != Some(shape) {
            let (rows, columns) = (shape.rows as usize, shape.columns as usize);
            let values = floats(exact)?;
            let mut bytes = Vec::new();
            for matrix in values.chunks_exact(rows * columns) {
                let encoded = encoded(shape.encoding, matrix, columns, feedback);
                bytes.extend(encoded.map_err(|error| error.of(key))?);
            }
            self.store.put(key, shape, &bytes)?;
        }
        self.read(key, exact)
    }

    /// What the store has in the place of a matrix.
    fn read(&self, key: Key, exact: &Tensor) -> Result<Tensor, CalibrateError> {
        let Shape { stack, rows, .. } = self.shape(key, exact);
        let values = self.store.rows(key, 0, (stack * rows) as usize)?;
        Ok(Tensor::from_vec(values, exact.shape(), &Device::Cpu)?)
    }

    fn shape(&self, key: Key, exact: &Tensor) -> Shape {
        let (stack, rows, columns) = match *exact.dims() {
            [rows, columns] => (1, rows, columns),
            [stack, rows, columns] => (stack, rows, columns),
            _ => unreachable!("matrices and stacks of them"),
        };
        let encoding = self.assignment.of(key.0, key.1);
        Shape { encoding, stack: stack as u32, rows: rows as u32, columns: columns as u32 }
    }

    /// Embeddings and head, some rows at a time.
    fn globals(&mut self) -> Result<(), CalibrateError> {
        let section = SectionKey::only(SectionKind::Globals);
        for source in self.model.recipe().globals.iter().filter(|source| !source.is_vector()) {
            let key = (section, source.role);
            let encoding = self.assignment.of(section, source.role);
            let shape = Shape { encoding, stack: 1, rows: source.rows, columns: source.columns };
            if self.store.shape(key) == Some(shape) {
                continue;
            }
            let (rows, columns) = (source.rows as usize, source.columns as usize);
            let step = (ELEMENTS_AT_ONCE / columns / PANEL_ROWS).max(1) * PANEL_ROWS;
            let (model, stop) = (self.model, self.stop);
            let parts = (0..rows).step_by(step).map(|first| {
                if stop.load(Ordering::Relaxed) {
                    return Err(CalibrateError::Interrupted);
                }
                let values = model.global_rows(source.role, first, step.min(rows - first))?;
                encode_rows(encoding, &values, columns)
                    .map_err(|error| CalibrateError::from(error).of(key))
            });
            self.store.put_parts(key, shape, parts)?;
        }
        Ok(())
    }

    fn check_stop(&self) -> Result<(), CalibrateError> {
        if self.stop.load(Ordering::Relaxed) { Err(CalibrateError::Interrupted) } else { Ok(()) }
    }

    fn step(&mut self) {
        self.done += 1;
        (self.progress)(self.done, self.total);
    }
}

/// Rows of an expert's inputs whose inner values are in memory at once.
pub const ROWS_AT_ONCE: usize = 2048;

/// What a block sees: tokens of the normalized stream, and what each counts.
struct Coverage<'a> {
    rows: Rows<'a>,
    tokens: &'a [usize],
    weights: Option<&'a [f32]>,
}

/// Feedback for a matrix that reads what `inputs_of` makes of the stream.
fn feedback(
    columns: usize,
    coverage: &Coverage<'_>,
    layer: Option<&Coverage<'_>>,
    inputs_of: impl Fn(&Tensor) -> candle_core::Result<Vec<f32>>,
) -> Result<Feedback, CalibrateError> {
    let seen = |tokens: &[usize], weights: Option<&[f32]>| -> Result<Hessian, CalibrateError> {
        let mut hessian = Hessian::new(columns);
        for (index, tokens) in tokens.chunks(ROWS_AT_ONCE).enumerate() {
            let weights = weights.map(|weights| &weights[index * ROWS_AT_ONCE..][..tokens.len()]);
            hessian.add(&inputs_of(&coverage.rows.gather(tokens)?)?, weights)?;
        }
        Ok(hessian)
    };
    let own = seen(coverage.tokens, coverage.weights)?;
    let prior = match layer.filter(|_| own.is_starved()) {
        Some(layer) => {
            let step = layer.tokens.len().div_ceil(PRIOR_TOKENS);
            let some: Vec<usize> = layer.tokens.iter().copied().step_by(step.max(1)).collect();
            Some(seen(&some, None)?)
        }
        None => None,
    };
    Ok(Feedback::new(&own, prior.as_ref(), DAMPING)?)
}

/// Codes with feedback, or floats.
fn encoded(
    encoding: Encoding,
    weights: &[f32],
    columns: usize,
    feedback: &Feedback,
) -> Result<Vec<u8>, CalibrateError> {
    match encoding.code_bits() {
        Some(bits) => Ok(quantize(weights, bits, feedback)?.encode(encoding)),
        None => Ok(encode_rows(encoding, weights, columns)?),
    }
}

fn floats(tensor: &Tensor) -> candle_core::Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1::<f32>()
}
