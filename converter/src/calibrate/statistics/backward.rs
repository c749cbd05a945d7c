//! Backward through one layer: its two halves are run again on their own inputs, the gradient goes
//! through each, and the costs of the half's weights are taken while the gradient at its output is
//! at hand.

use candle_core::{Tensor, Var};
use hardtack_format::spec::FeedForwardSpec;

use super::boundaries::Boundaries;
use super::cost::{Tile, block_costs, hand_inputs, squared_change};
use super::inputs::{Consumer, Place};
use super::rows::{Rows, put};
use super::run::Run;
use super::settings::{DTYPE, Phase};
use crate::calibrate::error::CalibrateError;
use crate::calibrate::graph::{
    BlockWeights, ExpertsWeights, FeedForwardWeights, LayerWeights, attention_block,
    feed_forward_block, quantized_attention, rms_norm, shared_share,
};
use crate::calibrate::tables::{State, Tables};

/// Tokens of a tile at most: a block's inner values are in memory for as many at once.
pub const TILE_TOKENS: usize = 2048;

/// What the feed-forward half saw, for all windows.
pub struct Met {
    /// Output of the attention block `[tokens, hidden]`.
    attended: Vec<f32>,
    /// Inputs of the feed-forward block, normalized: `[tokens, hidden]`.
    normed: Vec<f32>,
    /// Gradient at the feed-forward block's output `[tokens, hidden]`.
    gradient: Vec<f32>,
    /// Experts of every token `[tokens, chosen]`; empty for a dense block.
    experts: Vec<u32>,
    /// Their weights.
    weights: Vec<f32>,
    chosen: usize,
}

impl Run<'_> {
    /// Does the last layer that is left: its costs go to the tables, the state's gradient to its
    /// input.
    pub fn backward(
        &mut self,
        boundaries: &Boundaries,
        state: State,
        consumer: &mut dyn Consumer,
    ) -> Result<State, CalibrateError> {
        let State { mut tables, gradient, layers_left } = state;
        let index = layers_left - 1;
        let weights = self.model.layer(index, DTYPE)?;
        let input = boundaries.get(index)?;

        let (met, middle) = self.feed_forward_half(index, &weights, &input, gradient)?;
        self.feed_forward_costs(index, &weights.feed_forward, &met, &mut tables, consumer)?;
        let attended = met.attended;
        self.attention_costs(index, &weights, &input, &attended, &middle, &mut tables)?;
        let gradient = self.attention_half(index, &weights, &input, middle)?;
        consumer.layer_done(index)?;
        Ok(State { tables, gradient, layers_left: index })
    }

    /// Runs the layer again up to its output; returns what the feed-forward block saw, and the
    /// gradient at its residual stream.
    pub fn feed_forward_half(
        &self,
        index: usize,
        weights: &LayerWeights,
        input: &[f32],
        mut gradient: Vec<f32>,
    ) -> Result<(Met, Vec<f32>), CalibrateError> {
        let spec = &self.model.spec().layers[index];
        let hidden = self.hidden;
        let mut met = Met {
            attended: vec![0.0; input.len()],
            normed: vec![0.0; input.len()],
            gradient: Vec::new(),
            experts: Vec::new(),
            weights: Vec::new(),
            chosen: spec.feed_forward.experts().map_or(0, |mixture| mixture.chosen as usize),
        };
        let mut middle = vec![0.0; input.len()];
        for window in &self.windows {
            self.check_stop()?;
            let stream = Rows::new(input, hidden).window(window)?;
            let attended = attention_block(
                spec,
                &weights.attention_norm,
                &weights.attention,
                &stream,
                &self.pass,
            )?;
            let variable = Var::from_tensor(&self.pass.join(&stream, &attended)?)?;
            let normed =
                rms_norm(variable.as_tensor(), &weights.feed_forward_norm, self.pass.epsilon)?;
            let (output, routes) =
                feed_forward_block(&spec.feed_forward, &weights.feed_forward, &normed)?;
            let joined = self.pass.join(variable.as_tensor(), &output)?;
            put(&mut met.attended, hidden, window, &attended)?;
            put(&mut met.normed, hidden, window, &normed.detach())?;
            if let Some(routes) = routes {
                met.experts.extend(&routes.experts);
                met.weights.extend(routes.weights.flatten_all()?.to_vec1::<f32>()?);
            }
            let upstream = Rows::new(&gradient, hidden).window(window)?;
            put(&mut middle, hidden, window, &pull(&variable, &joined, &upstream)?)?;
        }
        let scale = self.model.spec().residual_scale;
        gradient.iter_mut().for_each(|value| *value *= scale);
        met.gradient = gradient;
        Ok((met, middle))
    }

    /// The gradient at the layer's input, from the one between its halves.
    pub fn attention_half(
        &mut self,
        index: usize,
        weights: &LayerWeights,
        input: &[f32],
        mut gradient: Vec<f32>,
    ) -> Result<Vec<f32>, CalibrateError> {
        let spec = &self.model.spec().layers[index];
        for number in 0..self.windows.len() {
            self.check_stop()?;
            let window = self.windows[number];
            let variable = Var::from_tensor(&Rows::new(input, self.hidden).window(&window)?)?;
            let stream = variable.as_tensor();
            let attended = attention_block(
                spec,
                &weights.attention_norm,
                &weights.attention,
                stream,
                &self.pass,
            )?;
            let joined = self.pass.join(stream, &attended)?;
            let upstream = Rows::new(&gradient, self.hidden).window(&window)?;
            let own = pull(&variable, &joined, &upstream)?;
            put(&mut gradient, self.hidden, &window, &own)?;
            self.step(Phase::Backward, 1);
        }
        Ok(gradient)
    }

    /// All of a layer's attention at each option, on exact inputs.
    fn attention_costs(
        &self,
        index: usize,
        weights: &LayerWeights,
        input: &[f32],
        attended: &[f32],
        gradient: &[f32],
        tables: &mut Tables,
    ) -> Result<(), CalibrateError> {
        let spec = &self.model.spec().layers[index];
        let scale = self.pass.residual_scale;
        for (option, &encoding) in self.settings.options.iter().enumerate() {
            let twin = quantized_attention(&weights.attention, encoding)?;
            for window in &self.windows {
                self.check_stop()?;
                let rows = |values| Rows::new(values, self.hidden).window(window);
                let changed = attention_block(
                    spec,
                    &weights.attention_norm,
                    &twin,
                    &rows(input)?,
                    &self.pass,
                )?;
                let cost = squared_change(&(rows(gradient)? * scale)?, &rows(attended)?, &changed)?;
                tables.domains[window.domain].layers[index].attention[option] += cost;
            }
        }
        Ok(())
    }

    fn feed_forward_costs(
        &self,
        index: usize,
        weights: &FeedForwardWeights,
        met: &Met,
        tables: &mut Tables,
        consumer: &mut dyn Consumer,
    ) -> Result<(), CalibrateError> {
        let spec = &self.model.spec().layers[index].feed_forward;
        let common = [Place::Common { layer: index }, Place::CommonDown { layer: index }];
        match weights {
            FeedForwardWeights::Dense(block) => {
                let tiles = self.common_tiles(met, None)?;
                self.common_costs(index, spec, block, &tiles, common, tables, consumer)
            }
            FeedForwardWeights::Experts(mixture) => {
                if let Some(block) = &mixture.shared {
                    let tiles = self.common_tiles(met, Some(mixture))?;
                    self.common_costs(index, spec, block, &tiles, common, tables, consumer)?;
                }
                self.expert_costs(index, spec, mixture, met, tables, consumer)
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one call site each for dense and shared")]
    fn common_costs(
        &self,
        index: usize,
        spec: &FeedForwardSpec,
        block: &BlockWeights,
        tiles: &[Tile],
        places: [Place; 2],
        tables: &mut Tables,
        consumer: &mut dyn Consumer,
    ) -> Result<(), CalibrateError> {
        self.check_stop()?;
        let domains = tables.domains.len();
        let costs = block_costs(spec.activation, block, tiles, &self.settings.options, domains)?;
        for (domain, costs) in tables.domains.iter_mut().zip(costs) {
            domain.layers[index].common = costs;
        }
        hand_inputs(spec.activation, block, tiles, places, consumer)
    }

    /// Routed experts on the tokens that were sent to them, and on no others.
    fn expert_costs(
        &self,
        index: usize,
        spec: &FeedForwardSpec,
        mixture: &ExpertsWeights,
        met: &Met,
        tables: &mut Tables,
        consumer: &mut dyn Consumer,
    ) -> Result<(), CalibrateError> {
        let (options, domains) = (&self.settings.options, tables.domains.len());
        let domain_of: Vec<usize> = self
            .windows
            .iter()
            .flat_map(|window| vec![window.domain; window.tokens.len()])
            .collect();
        let mut places = vec![Vec::new(); mixture.experts.len()];
        met.experts
            .iter()
            .enumerate()
            .for_each(|(place, &expert)| places[expert as usize].push(place));
        for (expert, (block, places)) in mixture.experts.iter().zip(places).enumerate() {
            self.check_stop()?;
            for &place in &places {
                let own = &mut tables.domains[domain_of[place / met.chosen]].layers[index].experts
                    [expert];
                own.tokens += 1;
                own.mass += f64::from(met.weights[place]);
            }
            let tiles = self.expert_tiles(met, &places, &domain_of)?;
            let costs = block_costs(spec.activation, block, &tiles, options, domains)?;
            for (domain, costs) in tables.domains.iter_mut().zip(costs) {
                domain.layers[index].experts[expert].cost = costs;
            }
            let own = [
                Place::Expert { layer: index, expert },
                Place::ExpertDown { layer: index, expert },
            ];
            hand_inputs(spec.activation, block, &tiles, own, consumer)?;
        }
        Ok(())
    }

    /// Tiles of all tokens; for a shared expert with its own gate, with what the gate leaves.
    fn common_tiles(
        &self,
        met: &Met,
        mixture: Option<&ExpertsWeights>,
    ) -> Result<Vec<Tile>, CalibrateError> {
        let mut tiles = Vec::new();
        for window in &self.windows {
            let input = Rows::new(&met.normed, self.hidden).window(window)?;
            let mut gradient = Rows::new(&met.gradient, self.hidden).window(window)?;
            if let Some(share) =
                mixture.map(|mixture| shared_share(mixture, &input)).transpose()?.flatten()
            {
                gradient = gradient.broadcast_mul(&share)?;
            }
            tiles.push(Tile { domain: window.domain, input, gradient });
        }
        Ok(tiles)
    }

    /// Tiles of the tokens at some places of the routes, each of one text.
    fn expert_tiles(
        &self,
        met: &Met,
        places: &[usize],
        domain_of: &[usize],
    ) -> Result<Vec<Tile>, CalibrateError> {
        let mut tiles = Vec::new();
        let domain = |place: &usize| domain_of[place / met.chosen];
        // Windows are text after text, so equal neighbours are all there are of a text.
        for of_domain in places.chunk_by(|a, b| domain(a) == domain(b)) {
            for places in of_domain.chunks(TILE_TOKENS) {
                let rows: Vec<usize> = places.iter().map(|place| place / met.chosen).collect();
                let weights: Vec<f32> = places.iter().map(|&place| met.weights[place]).collect();
                let input = Rows::new(&met.normed, self.hidden).gather(&rows)?;
                let weights = Tensor::from_vec(weights, (rows.len(), 1), input.device())?;
                let gradient =
                    Rows::new(&met.gradient, self.hidden).gather(&rows)?.broadcast_mul(&weights)?;
                tiles.push(Tile { domain: domain(&places[0]), input, gradient });
            }
        }
        Ok(tiles)
    }
}

/// The gradient at `variable` of a sum whose gradient at `output` is `upstream`.
fn pull(variable: &Var, output: &Tensor, upstream: &Tensor) -> candle_core::Result<Tensor> {
    let gradients = (output * upstream)?.sum_all()?.backward()?;
    Ok(gradients.get(variable).expect("the residual stream takes part").clone())
}
