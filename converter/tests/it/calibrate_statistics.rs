//! The statistics on the fixtures: what must be zero is, sums are sums, and a calibration that was
//! stopped ends with the same numbers.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::calibrate_support::{assert_close, costs, domain, prompts, run, settings, tables};
use hardtack_converter::calibrate::*;
use hardtack_testing::{FAMILIES, fixture};

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
fn an_expert_without_tokens_is_listed() {
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
        // None of the stream stays in memory.
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
        // After the head, what was done is not done again.
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
