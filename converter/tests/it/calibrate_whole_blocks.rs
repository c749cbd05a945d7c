//! The tables of costs against whole blocks in double precision: what a table says of a block is
//! what running the block says.

use std::path::Path;

use crate::calibrate_support::{OPTIONS, assert_close, domain, prompts, tables};
use candle_core::{DType, Tensor, Var};
use hardtack_converter::calibrate::graph::{
    self, FeedForwardWeights, LayerWeights, Pass, quantized_block,
};
use hardtack_converter::calibrate::*;
use hardtack_format::{Encoding, Role};
use hardtack_testing::fixture;

/// A model in double precision, all of it in memory.
struct Whole {
    model: Model,
    layers: Vec<LayerWeights>,
    embedding: Tensor,
    gain: Tensor,
    head: Tensor,
    pass: Pass,
}

impl Whole {
    fn open(folder: &Path) -> Self {
        let model = Model::open(folder).unwrap();
        let global = |role| model.global(role, DType::F64).unwrap();
        Self {
            layers: (0..model.spec().layers.len())
                .map(|layer| model.layer(layer, DType::F64).unwrap())
                .collect(),
            embedding: global(Role::Embedding),
            gain: global(Role::FinalNorm),
            head: global(Role::Head),
            pass: Pass::new(model.spec(), &model.frequencies().unwrap(), 128, DType::F64).unwrap(),
            model,
        }
    }

    fn embed(&self, tokens: &[u32]) -> Tensor {
        graph::embed(self.model.spec(), &self.embedding, tokens).unwrap()
    }

    fn layer(&self, layer: usize, weights: &LayerWeights, stream: &Tensor) -> Tensor {
        graph::layer(&self.model.spec().layers[layer], weights, stream, &self.pass).unwrap()
    }

    /// The summed loss from a layer's output on.
    fn loss_from(&self, layer: usize, stream: &Tensor, tokens: &[u32]) -> Tensor {
        let mut stream = stream.clone();
        for layer in layer + 1..self.layers.len() {
            stream = self.layer(layer, &self.layers[layer], &stream);
        }
        let stream = stream.narrow(0, 0, tokens.len() - 1).unwrap();
        let logits = graph::logits(self.model.spec(), &self.gain, &self.head, &stream).unwrap();
        graph::cross_entropy(&logits, &tokens[1..]).unwrap()
    }

    fn loss(&self, changed: Option<(usize, &LayerWeights)>, tokens: &[u32]) -> f64 {
        let mut stream = self.embed(tokens);
        for (layer, weights) in self.layers.iter().enumerate() {
            let weights =
                changed.filter(|(at, _)| *at == layer).map_or(weights, |(_, weights)| weights);
            stream = self.layer(layer, weights, &stream);
        }
        self.loss_from(self.layers.len(), &stream, tokens).to_scalar::<f64>().unwrap()
    }

    /// The layer with one routed expert quantized.
    fn with_expert(&self, layer: usize, expert: usize, encoding: Encoding) -> LayerWeights {
        let mut weights = self.layers[layer].clone();
        let FeedForwardWeights::Experts(mixture) = &mut weights.feed_forward else {
            panic!("a mixture")
        };
        mixture.experts[expert] = quantized_block(&mixture.experts[expert], encoding).unwrap();
        weights
    }

    /// Input of a layer's feed-forward block, and the gradient at its output.
    fn block(&self, layer: usize, tokens: &[u32]) -> (Tensor, Tensor) {
        let mut stream = self.embed(tokens);
        for before in 0..layer {
            stream = self.layer(before, &self.layers[before], &stream);
        }
        let (spec, weights) = (&self.model.spec().layers[layer], &self.layers[layer]);
        let attended = graph::attention_block(
            spec,
            &weights.attention_norm,
            &weights.attention,
            &stream,
            &self.pass,
        )
        .unwrap();
        let stream = self.pass.join(&stream, &attended).unwrap();
        let normed =
            graph::rms_norm(&stream, &weights.feed_forward_norm, self.pass.epsilon).unwrap();
        let (output, _) =
            graph::feed_forward_block(&spec.feed_forward, &weights.feed_forward, &normed).unwrap();
        let output = Var::from_tensor(&output).unwrap();
        let joined = self.pass.join(&stream, output.as_tensor()).unwrap();
        let gradients = self.loss_from(layer, &joined, tokens).backward().unwrap();
        (normed, gradients.get(&output).unwrap().clone())
    }

    /// The cost of one expert by running the whole block with and without it quantized.
    fn block_cost(
        &self,
        layer: usize,
        expert: usize,
        encoding: Encoding,
        (normed, gradient): &(Tensor, Tensor),
    ) -> f64 {
        let spec = &self.model.spec().layers[layer].feed_forward;
        let run = |weights: &LayerWeights| {
            graph::feed_forward_block(spec, &weights.feed_forward, normed).unwrap().0
        };
        let changed = run(&self.with_expert(layer, expert, encoding));
        squared_change(gradient, &run(&self.layers[layer]), &changed).unwrap()
    }
}

#[test]
fn tables_are_what_whole_blocks_say() {
    for family in ["qwen3_moe", "deepseek_v2", "granitemoe", "gpt_oss", "qwen2_moe"] {
        let Some(folder) = fixture(family) else { return };
        let whole = Whole::open(&folder);
        let prompt = &prompts(&folder)[1];
        let tables = tables(&whole.model, &[domain("one", vec![prompt.clone()])]);
        assert_close(tables.domains[0].loss, whole.loss(None, prompt), 1e-5, family);
        let mut worst: f64 = 0.0;
        for layer in 1..whole.layers.len() {
            let block = whole.block(layer, prompt);
            for (expert, own) in tables.domains[0].layers[layer].experts.iter().enumerate() {
                let expected = whole.block_cost(layer, expert, Encoding::Q3, &block);
                assert_close(
                    own.cost[1],
                    expected,
                    1e-3,
                    &format!("{family}, layer {layer}, expert {expert}"),
                );
                worst = worst.max((own.cost[1] - expected).abs() / expected.max(f64::MIN_POSITIVE));
            }
        }
        println!(
            "{family}: costs differ by at most {worst:e} of those of whole blocks in double precision"
        );
    }
}

#[test]
fn routed_tokens_say_as_much_as_all_tokens() {
    let Some(folder) = fixture("qwen3_moe") else { return };
    let whole = Whole::open(&folder);
    let prompt = &prompts(&folder)[2];
    let spec = &whole.model.spec().layers[1].feed_forward;
    let block = whole.block(1, prompt);
    let (normed, gradient) = &block;
    let FeedForwardWeights::Experts(mixture) = &whole.layers[1].feed_forward else {
        panic!("a mixture")
    };
    let routes = graph::route(
        spec.experts().unwrap(),
        &mixture.router,
        mixture.router_bias.as_ref(),
        normed,
    )
    .unwrap();
    let weights = routes.weights.flatten_all().unwrap();
    for (expert, places) in routes.by_expert(mixture.experts.len()).into_iter().enumerate() {
        let ids =
            |values: Vec<u32>| Tensor::from_slice(&values, values.len(), normed.device()).unwrap();
        if places.is_empty() {
            continue;
        }
        let tokens = ids(places.iter().map(|place| place / routes.chosen as u32).collect());
        let own = weights.index_select(&ids(places), 0).unwrap().unsqueeze(1).unwrap();
        let tile = Tile {
            domain: 0,
            input: normed.index_select(&tokens, 0).unwrap(),
            gradient: gradient.index_select(&tokens, 0).unwrap().broadcast_mul(&own).unwrap(),
        };
        let found =
            block_costs(spec.activation, &mixture.experts[expert], &[tile], &OPTIONS, 1).unwrap();
        for (option, encoding) in OPTIONS.into_iter().enumerate() {
            let expected = whole.block_cost(1, expert, encoding, &block);
            assert_close(
                found[0][option],
                expected,
                1e-6,
                &format!("expert {expert}, {}", encoding.name()),
            );
        }
    }
}

/// Spearman's rank correlation; no ties.
fn rank_correlation(a: &[f64], b: &[f64]) -> f64 {
    let ranks = |values: &[f64]| -> Vec<f64> {
        values
            .iter()
            .map(|value| values.iter().filter(|other| *other < value).count() as f64)
            .collect()
    };
    let count = a.len() as f64;
    let squares: f64 = ranks(a).iter().zip(ranks(b)).map(|(a, b)| (a - b) * (a - b)).sum();
    1.0 - 6.0 * squares / (count * (count * count - 1.0))
}

#[test]
fn costs_rank_experts_as_the_loss_does() {
    let Some(folder) = fixture("qwen3_moe") else { return };
    let whole = Whole::open(&folder);
    let prompts = prompts(&folder);
    let tables = tables(&whole.model, &[domain("all", prompts.clone())]);
    let loss = |changed: Option<(usize, &LayerWeights)>| {
        prompts.iter().map(|prompt| whole.loss(changed, prompt)).sum::<f64>()
    };
    let exact = loss(None);
    let mut numbers = hardtack_testing::Numbers(11);
    let (mut costs, mut changes) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let layer = numbers.below(whole.layers.len());
        let experts = &tables.domains[0].layers[layer].experts;
        let expert = numbers.below(experts.len());
        if experts[expert].tokens == 0 {
            continue;
        }
        costs.push(experts[expert].cost[1]);
        let twin = whole.with_expert(layer, expert, Encoding::Q3);
        changes.push(loss(Some((layer, &twin))) - exact);
    }
    let magnitudes: Vec<f64> = changes.iter().map(|change| change.abs()).collect();
    let found = rank_correlation(&costs, &magnitudes);
    println!(
        "{} experts at 3 bits: rank correlation of cost and change of loss {:.3}, of its magnitude {found:.3}",
        costs.len(),
        rank_correlation(&costs, &changes),
    );
    // The fixture was never trained, so its loss falls as often as it rises; by how much it moves
    // is what costs can tell.
    assert!(found > 0.0, "costs and changes of the loss have nothing in common: {found}");
}
