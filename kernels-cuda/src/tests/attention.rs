//! Attention over caches that are longer than a span, whole and in spans side by side.

use crate::Kernel;
use crate::address::Address;
use crate::params::Params;
use half::f16;

use super::devices::{Inputs, OnDevice, on_devices, quantize};
use super::numbers::{Random, assert_close, assert_same};

const SPAN: usize = 256;

#[derive(Clone, Copy, Debug)]
struct Case {
    heads: usize,
    kv_heads: usize,
    first: usize,
    second: usize,
    value: usize,
    /// Position of the first token, and how many there are.
    position: usize,
    tokens: usize,
    window: usize,
    sinks: bool,
    half: bool,
}

const CASES: [Case; 6] = [
    Case {
        heads: 4,
        kv_heads: 2,
        first: 64,
        second: 0,
        value: 64,
        position: 700,
        tokens: 2,
        window: 0,
        sinks: false,
        half: true,
    },
    Case {
        heads: 2,
        kv_heads: 2,
        first: 16,
        second: 0,
        value: 16,
        position: 0,
        tokens: 3,
        window: 0,
        sinks: true,
        half: false,
    },
    Case {
        heads: 2,
        kv_heads: 1,
        first: 80,
        second: 0,
        value: 80,
        position: 254,
        tokens: 3,
        window: 0,
        sinks: false,
        half: false,
    },
    Case {
        heads: 2,
        kv_heads: 1,
        first: 12,
        second: 0,
        value: 12,
        position: 600,
        tokens: 2,
        window: 300,
        sinks: true,
        half: true,
    },
    Case {
        heads: 3,
        kv_heads: 1,
        first: 32,
        second: 16,
        value: 32,
        position: 300,
        tokens: 2,
        window: 0,
        sinks: false,
        half: true,
    },
    Case {
        heads: 1,
        kv_heads: 1,
        first: 512,
        second: 64,
        value: 512,
        position: 30,
        tokens: 1,
        window: 20,
        sinks: false,
        half: false,
    },
];

struct Memory {
    queries: [Vec<f32>; 2],
    /// Keys in two parts and values, as the kernel will read them.
    cache: [Vec<f32>; 3],
    sinks: Vec<f32>,
    capacity: usize,
}

impl Memory {
    fn random(case: &Case) -> Self {
        let mut random = Random(case.first as u64 + case.position as u64);
        let capacity = case.position + case.tokens + 3;
        let rounded = |values: Vec<f32>| match case.half {
            true => values.into_iter().map(|value| f16::from_f32(value).to_f32()).collect(),
            false => values,
        };
        let mut cache = |width: usize| rounded(random.floats(case.kv_heads * capacity * width));
        let cache = [cache(case.first), cache(case.second), cache(case.value)];
        let queries =
            [case.first, case.second].map(|width| random.floats(case.tokens * case.heads * width));
        Self { queries, cache, sinks: random.floats(case.heads), capacity }
    }

    /// Attention by its formula, in double precision.
    fn expected(&self, case: &Case, token: usize, head: usize) -> Vec<f32> {
        let end = case.position + token + 1;
        let start = if case.window > 0 { end.saturating_sub(case.window) } else { 0 };
        let (row, kv_head) = (token * case.heads + head, head / (case.heads / case.kv_heads));
        let dot = |part: usize, width: usize, position: usize| -> f64 {
            let key = &self.cache[part][(kv_head * self.capacity + position) * width..][..width];
            self.queries[part][row * width..][..width]
                .iter()
                .zip(key)
                .map(|(a, b)| f64::from(*a) * f64::from(*b))
                .sum()
        };
        let score =
            |position| (dot(0, case.first, position) + dot(1, case.second, position)) * 0.25;
        let scores: Vec<f64> = (start..end).map(score).collect();
        let sink = if case.sinks { f64::from(self.sinks[head]).exp() } else { 0.0 };
        let sum: f64 = scores.iter().map(|score| score.exp()).sum::<f64>() + sink;
        let mut out = vec![0.0; case.value];
        for (position, score) in (start..end).zip(scores) {
            let value =
                &self.cache[2][(kv_head * self.capacity + position) * case.value..][..case.value];
            out.iter_mut()
                .zip(value)
                .for_each(|(out, value)| *out += score.exp() / sum * f64::from(*value));
        }
        out.into_iter().map(|value| value as f32).collect()
    }
}

/// Runs the kernel over all tokens, in one or span by span, and returns the joined result with its
/// codes' place.
fn run(device: &OnDevice, case: &Case, memory: &Memory, in_one: bool) -> Inputs {
    let upload = |values: &[f32]| match (values.is_empty(), case.half) {
        (true, _) => None,
        (false, true) => Some(device.bytes(
            &values.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect::<Vec<_>>(),
        )),
        (false, false) => Some(device.floats(values)),
    };
    let [keys, second_keys, values] = memory.cache.each_ref().map(|values| upload(values));
    let sinks = case.sinks.then(|| device.floats(&memory.sinks));
    let rows = case.tokens * case.heads;
    let spans = memory.capacity.div_ceil(SPAN);
    let position = device.numbers(&[case.position as u32]);
    let (states, parts) =
        (device.room(rows * spans * 8), device.room(rows * spans * case.value * 4));
    // Rows of all heads together, as grouped attention has them.
    let columns = case.heads * case.value;
    let out = device.inputs_room(case.tokens, columns);
    let params = Params::new()
        .address(device.floats(&memory.queries[0]))
        .optional((case.second > 0).then(|| device.floats(&memory.queries[1])))
        .optional(keys)
        .optional(second_keys)
        .optional(values)
        .optional(sinks)
        .address(position)
        .optional(in_one.then_some(out.floats))
        .address(states)
        .address(parts)
        .u32(case.heads as u32)
        .u32((case.heads / case.kv_heads) as u32)
        .u32(memory.capacity as u32)
        .u32(case.first as u32)
        .u32(case.second as u32)
        .u32(case.value as u32)
        .u32(case.window as u32)
        .u32(spans as u32)
        .f32(0.25)
        .u32(0);
    let kernel = if case.half { Kernel::AttentionHalf } else { Kernel::AttentionFloat };
    let shared = (case.first + case.second + case.value + case.value.max(1024)) * 4;
    device.run(kernel, [case.heads, case.tokens, if in_one { 1 } else { spans }], shared, params);
    if !in_one {
        combine(device, case, [states, parts, position], sinks, &out, spans);
    }
    out
}

fn combine(
    device: &OnDevice,
    case: &Case,
    [states, parts, position]: [Address; 3],
    sinks: Option<Address>,
    out: &Inputs,
    spans: usize,
) {
    let columns = case.heads * case.value;
    let params = Params::new()
        .address(states)
        .address(parts)
        .optional(sinks)
        .address(position)
        .inner(out.params())
        .u32(case.heads as u32)
        .u32(case.value as u32)
        .u32(columns as u32)
        .u32(case.window as u32)
        .u32(spans as u32)
        .u32(0);
    device.run(Kernel::Combine, [columns.div_ceil(64), case.tokens, 1], 0, params);
}

#[test]
fn attention_keeps_to_its_formula_and_spans_change_nothing() {
    on_devices(|device| {
        for case in &CASES {
            let memory = Memory::random(case);
            let whole = device.input_floats(&run(device, case, &memory, true));
            for (row, found) in whole.chunks_exact(case.value).enumerate() {
                let expected = memory.expected(case, row / case.heads, row % case.heads);
                assert_close(&format!("{case:?}, row {row}"), found, &expected, false, 2.0);
            }
            let joined = run(device, case, &memory, false);
            assert_same(&format!("spans of {case:?}"), &device.input_floats(&joined), &whole);
            let columns = case.heads * case.value;
            assert_eq!(
                device.quantized(&joined),
                quantize(case.tokens, columns, &whole),
                "{case:?}"
            );
        }
    });
}
