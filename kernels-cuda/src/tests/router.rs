//! The router's choices and their order by expert.

use crate::Kernel;
use crate::params::Params;
use hardtack_kernels::math::{exp, sigmoid};

use super::devices::on_devices;
use super::numbers::{Random, assert_close};

/// What the CPU's router does (`runtime/src/cpu/forward/router.rs`): experts and the bits of their
/// weights.
fn choose(logits: &[f32], chosen: usize, all: bool, routed_scale: f32) -> Vec<(u32, u32)> {
    let number =
        |logit: &f32| if logit.is_nan() { f32::MIN } else { logit.clamp(f32::MIN, f32::MAX) };
    let logits: Vec<f32> = logits.iter().map(number).collect();
    let maximum = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
    let weights: Vec<f32> =
        order[..chosen].iter().map(|expert| exp(logits[*expert] - maximum)).collect();
    let sum: f32 = if all {
        logits.iter().map(|logit| exp(logit - maximum)).sum()
    } else {
        weights.iter().copied().sum()
    };
    let weight = |weight: f32| (weight / sum * routed_scale).to_bits();
    order.iter().zip(weights).map(|(expert, own)| (*expert as u32, weight(own))).collect()
}

#[test]
fn choices_are_the_cpus_to_the_bit() {
    on_devices(|device| {
        for (experts, chosen) in [(1, 1), (4, 2), (16, 16), (64, 8), (100, 7)] {
            for all in [true, false] {
                let mut logits = Random(experts as u64).floats(4 * experts);
                logits.iter_mut().for_each(|logit| *logit *= 3.0);
                // Equals, and what is no number.
                logits[experts..2 * experts].fill(1.5);
                logits[2 * experts..3 * experts].fill(f32::NAN);
                logits[3 * experts] = f32::INFINITY;
                let choices = device.room(4 * chosen * 8);
                let params = Params::new()
                    .address(device.floats(&logits))
                    .address(choices)
                    .u32(experts as u32)
                    .u32(chosen as u32)
                    .u32(if all { 1 } else { 2 })
                    .f32(2.5);
                device.run(Kernel::Choose, [4, 1, 1], 0, params);
                let found = device.read_numbers(choices, 4 * chosen * 2);
                for (logits, found) in
                    logits.chunks_exact(experts).zip(found.chunks_exact(2 * chosen))
                {
                    let found: Vec<(u32, u32)> =
                        found.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
                    assert_eq!(found, choose(logits, chosen, all, 2.5), "{chosen} of {experts}");
                }
            }
        }
    });
}

#[test]
fn choices_are_sorted_by_expert() {
    on_devices(|device| {
        let experts = [3u32, 1, 1, 0, 3, 1];
        let choices: Vec<u32> = experts.iter().flat_map(|expert| [*expert, 0]).collect();
        let (starts, rows) = (device.room(6 * 4), device.room(6 * 4));
        let params = Params::new()
            .address(device.numbers(&choices))
            .address(starts)
            .address(rows)
            .address(device.numbers(&[3]))
            .u32(5)
            .u32(2);
        device.run(Kernel::GroupByExpert, [1, 1, 1], 0, params);
        assert_eq!(device.read_numbers(starts, 6), [0, 1, 4, 4, 6, 6]);
        assert_eq!(device.read_numbers(rows, 6), [3, 1, 2, 5, 0, 4]);
    });
}

#[test]
fn the_shared_experts_weight_is_the_sigmoid_of_its_gate() {
    on_devices(|device| {
        let mut random = Random(2);
        let (inputs, gate) = (random.floats(2 * 300), random.floats(300));
        for gated in [true, false] {
            let choices = device.room(16);
            let params = Params::new()
                .address(device.floats(&inputs))
                .optional(gated.then(|| device.floats(&gate)))
                .address(choices)
                .u32(300)
                .u32(0);
            device.run(Kernel::SharedWeight, [2, 1, 1], 0, params);
            let found = device.read_numbers(choices, 4);
            assert_eq!([found[0], found[2]], [0, 0], "the only expert there is");
            let expected = inputs.chunks_exact(300).map(|row| {
                let sum: f64 =
                    row.iter().zip(&gate).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                if gated { sigmoid(sum as f32) } else { 1.0 }
            });
            let found = [found[1], found[3]].map(f32::from_bits);
            assert_close("weight", &found, &expected.collect::<Vec<_>>(), !gated, 1.0);
        }
    });
}
