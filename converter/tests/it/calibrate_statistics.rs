//! The statistics on the fixtures: what must be zero is, sums are sums, the table is what a whole
//! block says it is, and a calibration that was stopped ends with the same numbers.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{DType, Tensor, Var};
use hardtack_converter::calibrate::graph::{
    self, FeedForwardWeights, LayerWeights, Pass, quantized_block,
};
use hardtack_converter::calibrate::tables::DomainTable;
use hardtack_converter::calibrate::*;
use hardtack_format::{Encoding, Role};
use hardtack_testing::{FAMILIES, fixture, references};

const OPTIONS: [Encoding; 3] = [Encoding::F32, Encoding::Q3, Encoding::Q6];

fn settings<'a>(scratch: &'a Path, stop: &'a AtomicBool) -> Settings<'a> {
    Settings {
        options: OPTIONS.to_vec(),
        seed: 7,
        domain_tokens_min: 4,
        ..Settings::new(scratch, stop)
    }
}

fn domain(name: &str, tokens: Vec<Vec<u32>>) -> Domain {
    Domain { name: name.to_owned(), hash: format!("hash of {name}"), tokens }
}

fn run(
    model: &Model,
    domains: &[Domain],
    settings: &Settings<'_>,
) -> Result<Tables, CalibrateError> {
    calibrate(model, domains, settings, &mut NoConsumer, &mut |_| ())
}

fn tables(model: &Model, domains: &[Domain]) -> Tables {
    let (scratch, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
    run(model, domains, &settings(scratch.path(), &stop)).unwrap()
}

fn prompts(folder: &Path) -> Vec<Vec<u32>> {
    references(folder).into_iter().map(|reference| reference.prompt).collect()
}

/// Every row of costs of a text.
fn costs(domain: &DomainTable) -> Vec<&Vec<f64>> {
    let layers = domain.layers.iter().flat_map(|layer| {
        [&layer.attention, &layer.common]
            .into_iter()
            .chain(layer.experts.iter().map(|expert| &expert.cost))
    });
    [&domain.embedding, &domain.head]
        .into_iter()
        .chain(layers)
        .filter(|row| !row.is_empty())
        .collect()
}

fn assert_close(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!(
        (found - expected).abs() <= tolerance * expected.abs(),
        "{what}: {found}, not {expected}"
    );
}

#[test]
fn costs_are_zero_where_nothing_changes_and_never_negative() {
    for family in FAMILIES {
        let Some(folder) = fixture(family) else { return };
        let model = Model::open(&folder).unwrap();
        let tables = tables(&model, &[domain("short", prompts(&folder)[..2].to_vec())]);
        let table = &tables.domains[0];
        for row in costs(table) {
            assert_eq!(row[0], 0.0, "{family}: unchanged weights cost something");
            assert!(row[1] >= row[2] && row[2] >= 0.0, "{family}: {row:?}");
        }
        assert!(table.head[1] > 0.0 && table.embedding[1] > 0.0);
        let tokens = tables.header.domains[0].tokens;
        for (number, (layer, spec)) in table.layers.iter().zip(&model.spec().layers).enumerate() {
            assert!(layer.attention[1] > 0.0, "{family}, layer {number}");
            let Some(mixture) = spec.feed_forward.experts() else { continue };
            assert_eq!(
                layer.experts.iter().map(|expert| expert.tokens).sum::<u64>(),
                tokens * u64::from(mixture.chosen)
            );
            for expert in &layer.experts {
                assert!(
                    expert.tokens > 0 || expert.cost[1] == 0.0,
                    "{family}, layer {number}: {expert:?}"
                );
                assert_eq!(
                    expert.tokens == 0,
                    expert.mass == 0.0,
                    "{family}, layer {number}: {expert:?}"
                );
            }
        }
    }
}

#[test]
fn an_expert_that_meets_no_token_is_listed() {
    let Some(folder) = fixture("qwen3_moe") else { return };
    let model = Model::open(&folder).unwrap();
    // Two tokens cannot reach every expert.
    let tables = tables(&model, &[domain("tiny", vec![prompts(&folder)[0][..2].to_vec(); 2])]);
    let starved = tables.starved(1);
    assert!(!starved.is_empty());
    for starved in starved {
        let expert = &tables.domains[0].layers[starved.layer].experts[starved.expert];
        assert_eq!((starved.tokens, expert.tokens), (0, 0));
        assert!(expert.cost.iter().all(|cost| *cost == 0.0));
    }
    let experts: usize = tables.header.layers.iter().map(|layer| layer.experts as usize).sum();
    assert_eq!(tables.starved(u64::MAX).len(), experts);
}

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
    fn loss_behind(&self, layer: usize, stream: &Tensor, tokens: &[u32]) -> Tensor {
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
        self.loss_behind(self.layers.len(), &stream, tokens).to_scalar::<f64>().unwrap()
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
        let gradients = self.loss_behind(layer, &joined, tokens).backward().unwrap();
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
    let routes =
        graph::route(spec.experts().unwrap(), &mixture.gate, mixture.gate_bias.as_ref(), normed)
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

#[test]
fn halves_add_up_to_the_whole() {
    let Some(folder) = fixture("deepseek_v2") else { return };
    let model = Model::open(&folder).unwrap();
    let long = &prompts(&folder)[2];
    let halves = [long[..48].to_vec(), long[48..].to_vec()];
    // Three times, so that there are more tokens than the head's logits are made for at once.
    let together = tables(&model, &[domain("both", [&halves[..]; 3].concat())]);
    let apart = tables(
        &model,
        &[domain("first", vec![halves[0].clone()]), domain("second", vec![halves[1].clone()])],
    );
    let whole = costs(&together.domains[0]);
    let (first, second) = (costs(&apart.domains[0]), costs(&apart.domains[1]));
    for ((whole, first), second) in whole.into_iter().zip(first).zip(second) {
        for ((whole, first), second) in whole.iter().zip(first).zip(second) {
            assert_close(3.0 * (first + second), *whole, 1e-5, "sum of halves");
        }
    }
}

#[test]
fn a_calibration_that_was_stopped_goes_on() {
    let Some(folder) = fixture("gpt_oss") else { return };
    let model = Model::open(&folder).unwrap();
    let domains = [
        domain("a", prompts(&folder)[..2].to_vec()),
        domain("b", vec![prompts(&folder)[2].clone()]),
    ];
    let scratch = tempfile::tempdir().unwrap();
    let output = scratch.path().join("tables.safetensors");
    let expected = tables(&model, &domains);
    let total = 3 * (2 * 3 + 1);
    for stop_at in [1, 5, 9, 12, 14, 18, 20] {
        let stop = AtomicBool::new(false);
        // Nothing of the stream stays in memory.
        let own = Settings {
            output: Some(&output),
            boundary_bytes_max: 0,
            ..settings(scratch.path(), &stop)
        };
        let mut steps = Vec::new();
        let stopped = calibrate(&model, &domains, &own, &mut NoConsumer, &mut |progress| {
            steps.push(progress.done);
            stop.store(progress.done >= stop_at, Ordering::Relaxed);
        });
        assert!(
            matches!(stopped, Err(CalibrateError::Interrupted)),
            "stopped at {stop_at}: {stopped:?}"
        );
        assert!(!output.exists(), "stopped at {stop_at}");
        stop.store(false, Ordering::Relaxed);
        let mut last = Progress { phase: Phase::Forward, done: 0, total: 0 };
        let mut first = None;
        let found = calibrate(&model, &domains, &own, &mut NoConsumer, &mut |progress| {
            assert!(progress.done > last.done, "{progress:?} after {last:?}");
            first.get_or_insert(progress.done);
            last = progress;
        });
        assert_eq!((last.done, last.total), (total, total));
        // Behind the head, what was done is not done again.
        assert_eq!(stop_at >= 12, first != Some(1), "stopped at {stop_at}, went on at {first:?}");
        assert_eq!(found.unwrap(), expected, "stopped at {stop_at}");
        assert_eq!(tables::read(&output).unwrap(), expected);
        std::fs::remove_file(&output).unwrap();
        assert_eq!(
            std::fs::read_dir(scratch.path()).unwrap().count(),
            0,
            "stopped at {stop_at}: files are left"
        );
    }
}

#[test]
fn a_state_of_another_calibration_is_not_gone_on_with() {
    let Some(folder) = fixture("llama") else { return };
    let model = Model::open(&folder).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let output = scratch.path().join("tables.safetensors");
    let texts = [
        [domain("a", prompts(&folder)[..1].to_vec())],
        [domain("a", prompts(&folder)[1..2].to_vec())],
    ];
    let stop = AtomicBool::new(false);
    let own = Settings { output: Some(&output), ..settings(scratch.path(), &stop) };
    let stopped = calibrate(&model, &texts[0], &own, &mut NoConsumer, &mut |progress| {
        stop.store(progress.phase == Phase::Backward, Ordering::Relaxed);
    });
    assert!(matches!(stopped, Err(CalibrateError::Interrupted)));
    assert!(state_path(&output).exists());
    stop.store(false, Ordering::Relaxed);
    assert_eq!(run(&model, &texts[1], &own).unwrap(), tables(&model, &texts[1]));
}

#[test]
fn texts_that_are_no_use_are_refused() {
    let Some(folder) = fixture("llama") else { return };
    let model = Model::open(&folder).unwrap();
    let (scratch, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
    let own = settings(scratch.path(), &stop);
    for (domains, expected) in [
        (vec![], "calibration: expected at least one text, found none"),
        (
            vec![domain("t", vec![vec![1, 2, 3]])],
            "calibration text t: expected at least 4 tokens, found 3",
        ),
        (
            vec![domain("t", vec![vec![1, 2, 3], vec![4]])],
            "calibration text t: expected windows of 2 to 512 tokens, found one of 1",
        ),
        (
            vec![domain("t", vec![vec![1, 2, 3, 320]])],
            "calibration text t: expected tokens below 320, found token 320",
        ),
        (
            vec![domain("t", vec![vec![1; 4]]); 2],
            "calibration: expected texts of different names, found t twice",
        ),
    ] {
        assert_eq!(run(&model, &domains, &own).unwrap_err().to_string(), expected);
    }
    let none = Settings { options: Vec::new(), ..own };
    assert!(run(&model, &[domain("t", vec![vec![1; 4]])], &none).is_err());
}

/// What a consumer gathers: `sum of weight * x^2` of every column.
#[derive(Default)]
struct Squares(std::collections::BTreeMap<Place, Sum>, Vec<usize>);

#[derive(Default)]
struct Sum(Vec<f64>, usize);

impl Accumulate for Sum {
    fn add(&mut self, inputs: &[f32], weights: Option<&[f32]>) {
        assert!(weights.is_none());
        let columns = self.0.len();
        for row in inputs.chunks_exact(columns) {
            self.1 += 1;
            self.0.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(x * x));
        }
    }
}

impl Consumer for Squares {
    fn accumulator(&mut self, place: Place, columns: usize) -> Option<&mut dyn Accumulate> {
        Some(self.0.entry(place).or_insert_with(|| Sum(vec![0.0; columns], 0)))
    }

    fn layer_done(&mut self, layer: usize) -> Result<(), CalibrateError> {
        self.1.push(layer);
        Ok(())
    }
}

#[test]
fn the_consumer_sees_every_routed_token_once() {
    let Some(folder) = fixture("deepseek_v2") else { return };
    let model = Model::open(&folder).unwrap();
    let (scratch, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
    let mut squares = Squares::default();
    let domains = [domain("one", prompts(&folder))];
    let tables =
        calibrate(&model, &domains, &settings(scratch.path(), &stop), &mut squares, &mut |_| ())
            .unwrap();
    let layers = model.spec().layers.len();
    assert_eq!(squares.1, (0..layers).rev().collect::<Vec<_>>());
    let tokens = domains[0].token_count();
    for layer in 0..layers {
        assert_eq!(squares.0[&Place::Common { layer }].1, tokens);
        assert_eq!(squares.0[&Place::CommonDown { layer }].1, tokens);
        for (expert, own) in tables.domains[0].layers[layer].experts.iter().enumerate() {
            for place in [Place::Expert { layer, expert }, Place::ExpertDown { layer, expert }] {
                assert_eq!(
                    squares.0.get(&place).map_or(0, |sum| sum.1),
                    own.tokens as usize,
                    "{place:?}"
                );
            }
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
