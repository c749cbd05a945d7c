//! Experts of one token and of a prompt, against scalar's panels and formulas.

use crate::Kernel;
use crate::address::Address;
use crate::params::Params;
use hardtack_format::Encoding;
use hardtack_kernels::scalar;

use super::devices::{Inputs, OnDevice, on_devices};
use super::numbers::{Matrix, Random, assert_close, assert_same};

const HIDDEN: usize = 96;
const INNER: usize = 80;
const EXPERTS: usize = 3;
const CHOSEN: usize = 2;
const TOKENS: usize = 40;

struct Expert {
    gated: Matrix,
    up: Matrix,
    down: Matrix,
    biases: [Vec<f32>; 3],
}

struct Mixture {
    experts: Vec<Expert>,
    /// Whether biases are used, and the clamped activation.
    clamped: bool,
    stream: Vec<f32>,
    /// `[TOKENS, CHOSEN]`
    choices: Vec<(usize, f32)>,
}

impl Mixture {
    fn random(encodings: [[Encoding; 3]; EXPERTS], clamped: bool) -> Self {
        let mut random = Random(11);
        let expert = |[gated, up, down]: [Encoding; 3], random: &mut Random| Expert {
            gated: Matrix::random(gated, INNER, HIDDEN, random),
            up: Matrix::random(up, INNER, HIDDEN, random),
            down: Matrix::random(down, HIDDEN, INNER, random),
            biases: [INNER, INNER, HIDDEN].map(|count| random.floats(count)),
        };
        let experts = encodings.map(|encodings| expert(encodings, &mut random)).into();
        // The last expert is chosen by every token, the first one by few, the second by the rest.
        let experts_of = |token: usize| [EXPERTS - 1, usize::from(token % 7 != 3)];
        let choices =
            (0..TOKENS).flat_map(experts_of).map(|expert| (expert, random.float())).collect();
        Self { experts, clamped, stream: random.floats(TOKENS * HIDDEN), choices }
    }

    /// What the CPU computes for one token: each choice's activated row, and the weighed sum on top
    /// of what stood before.
    fn expected(&self, token: usize, before: &[f32]) -> (Vec<Vec<f32>>, Vec<f32>) {
        let input = &self.stream[token * HIDDEN..][..HIDDEN];
        let (mut rows, mut sum) = (Vec::new(), before.to_vec());
        for (expert, weight) in &self.choices[token * CHOSEN..][..CHOSEN] {
            let expert = &self.experts[*expert];
            let biased = |mut values: Vec<f32>, bias: &[f32]| {
                if self.clamped {
                    values.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
                }
                values
            };
            let mut gated = biased(expert.gated.multiply(input), &expert.biases[0]);
            let up = biased(expert.up.multiply(input), &expert.biases[1]);
            match self.clamped {
                true => (scalar::TABLE.clamped_swiglu)(&mut gated, &up, 1.7, 3.0),
                false => (scalar::TABLE.silu_multiply)(&mut gated, &up),
            }
            let output = biased(expert.down.multiply(&gated), &expert.biases[2]);
            (scalar::TABLE.add_scaled)(&mut sum, *weight, &output);
            rows.push(gated);
        }
        (rows, sum)
    }
}

/// A mixture on a device.
struct Uploaded {
    table: Address,
    inputs: Inputs,
    activation: Params,
}

impl Uploaded {
    fn new(device: &OnDevice, mixture: &Mixture) -> Self {
        let mut table = Params::new();
        for expert in &mixture.experts {
            for matrix in [&expert.gated, &expert.up, &expert.down] {
                let address = device.bytes(&matrix.bytes);
                table = table.inner(
                    Params::new().address(address).u32(u32::from(matrix.encoding as u16)).u32(0),
                );
            }
            for bias in &expert.biases {
                table = table.optional(mixture.clamped.then(|| device.floats(bias)));
            }
        }
        Self {
            table: device.bytes(&table.into_bytes()),
            inputs: device.inputs(TOKENS, HIDDEN, &mixture.stream),
            activation: Params::new()
                .u32(if mixture.clamped { 2 } else { 1 })
                .f32(1.7)
                .f32(3.0)
                .u32(0),
        }
    }
}

fn upload_choices(device: &OnDevice, choices: &[(usize, f32)]) -> Address {
    device.numbers(
        &choices
            .iter()
            .flat_map(|(expert, weight)| [*expert as u32, weight.to_bits()])
            .collect::<Vec<_>>(),
    )
}

/// All tokens by the kernels of single tokens: activated rows, and the residual stream that began
/// with ones.
fn by_token(device: &OnDevice, mixture: &Mixture, uploaded: &Uploaded) -> (Inputs, Vec<f32>) {
    let choices = upload_choices(device, &mixture.choices);
    let activated = device.inputs_room(TOKENS * CHOSEN, INNER);
    let params = Params::new()
        .address(uploaded.table)
        .address(choices)
        .inner(uploaded.inputs.params())
        .inner(activated.params())
        .u32(CHOSEN as u32)
        .u32(HIDDEN as u32)
        .u32(INNER as u32)
        .u32(1)
        .inner(uploaded.activation.clone());
    device.run(Kernel::ExpertsGated, [INNER.div_ceil(64), CHOSEN, TOKENS], 0, params);
    let residual = device.floats(&[1.0; TOKENS * HIDDEN]);
    let params = Params::new()
        .address(uploaded.table)
        .address(choices)
        .inner(activated.params())
        .optional(None)
        .optional(None)
        .address(residual)
        .u32(CHOSEN as u32)
        .u32(HIDDEN as u32)
        .u32(INNER as u32)
        .u32(1)
        .f32(0.5)
        .u32(0);
    device.run(Kernel::ExpertsDown, [HIDDEN / 16, TOKENS, 1], 0, params);
    (activated, device.read_floats(residual, TOKENS * HIDDEN))
}

/// The same by the kernels of prompts.
fn by_prompt(device: &OnDevice, mixture: &Mixture, uploaded: &Uploaded) -> (Inputs, Vec<f32>) {
    let choices = upload_choices(device, &mixture.choices);
    let tokens = device.numbers(&[TOKENS as u32]);
    let (starts, rows) = (device.room((EXPERTS + 1) * 4), device.room(TOKENS * CHOSEN * 4));
    let grouping = Params::new().address(starts).address(rows).address(tokens);
    let params = Params::new()
        .address(choices)
        .inner(grouping.clone())
        .u32(EXPERTS as u32)
        .u32(CHOSEN as u32);
    device.run(Kernel::GroupByExpert, [1, 1, 1], 0, params);

    let activated = device.inputs_room(TOKENS * CHOSEN, INNER);
    let params = Params::new()
        .address(uploaded.table)
        .inner(grouping.clone())
        .inner(uploaded.inputs.params())
        .inner(activated.params())
        .u32(CHOSEN as u32)
        .u32(HIDDEN as u32)
        .u32(INNER as u32)
        .u32(0)
        .inner(uploaded.activation.clone());
    device.run(Kernel::ExpertsGatedPrompt, [INNER.div_ceil(64), EXPERTS, 1], 0, params);

    let outputs = device.room(TOKENS * CHOSEN * HIDDEN * 4);
    let params = Params::new()
        .address(uploaded.table)
        .inner(grouping)
        .inner(activated.params())
        .address(outputs)
        .u32(HIDDEN as u32)
        .u32(INNER as u32);
    device.run(Kernel::ExpertsDownPrompt, [1, EXPERTS, 1], 0, params);

    let residual = device.floats(&[1.0; TOKENS * HIDDEN]);
    let params = Params::new()
        .address(choices)
        .address(outputs)
        .optional(None)
        .optional(None)
        .address(residual)
        .u32(CHOSEN as u32)
        .u32(HIDDEN as u32)
        .f32(0.5)
        .u32(0);
    device.run(Kernel::ExpertsSum, [TOKENS, 1, 1], 0, params);
    (activated, device.read_floats(residual, TOKENS * HIDDEN))
}

fn check(encodings: [[Encoding; 3]; EXPERTS], clamped: bool, exact: bool) {
    let mixture = Mixture::random(encodings, clamped);
    on_devices(|device| {
        let uploaded = Uploaded::new(device, &mixture);
        let (activated, residual) = by_token(device, &mixture, &uploaded);
        let floats = device.input_floats(&activated);
        for token in 0..TOKENS {
            let (rows, sum) = mixture.expected(token, &[0.0; HIDDEN]);
            for (index, row) in rows.iter().enumerate() {
                let found = &floats[(token * CHOSEN + index) * INNER..][..INNER];
                assert_close(&format!("token {token}, choice {index}"), found, row, exact, 1e3);
            }
            let expected: Vec<f32> = sum.iter().map(|sum| 1.0 + 0.5 * sum).collect();
            assert_close(
                &format!("token {token}"),
                &residual[token * HIDDEN..][..HIDDEN],
                &expected,
                exact,
                1e4,
            );
        }
        let (by_expert, prompt_residual) = by_prompt(device, &mixture, &uploaded);
        assert_same("activated in a prompt", &device.input_floats(&by_expert), &floats);
        assert_eq!(device.quantized(&by_expert), device.quantized(&activated));
        assert_same("sum of a prompt", &prompt_residual, &residual);
    });
}

#[test]
fn experts_of_codes_are_scalars() {
    use Encoding::*;
    check([[Q4, Q4, Q4], [Q2, Q3, Q5], [Q1, Q6, Q8]], false, true);
}

#[test]
fn biases_and_the_clamped_activation() {
    use Encoding::*;
    check([[Q4, Q2, Q3], [Q8, Q8, Q8], [Q4, Q4, Q2]], true, true);
}

#[test]
fn experts_of_floats_and_codes_together() {
    use Encoding::*;
    check([[F32, Q4, F16], [Bf16, F32, Q4], [Q4, Q8, F32]], false, false);
}

#[test]
fn what_stood_before_and_a_place_for_the_sum() {
    use Encoding::*;
    let mixture = Mixture::random([[Q4; 3]; EXPERTS], false);
    on_devices(|device| {
        let uploaded = Uploaded::new(device, &mixture);
        let (activated, _) = by_token(device, &mixture, &uploaded);
        let before = Random(1).floats(TOKENS * HIDDEN);
        let out = device.room(TOKENS * HIDDEN * 4);
        let params = Params::new()
            .address(uploaded.table)
            .address(upload_choices(device, &mixture.choices))
            .inner(activated.params())
            .address(device.floats(&before))
            .address(out)
            .optional(None)
            .u32(CHOSEN as u32)
            .u32(HIDDEN as u32)
            .u32(INNER as u32)
            .u32(2)
            .f32(9.0)
            .u32(0);
        device.run(Kernel::ExpertsDown, [HIDDEN / 16, TOKENS, 1], 0, params);
        let found = device.read_floats(out, TOKENS * HIDDEN);
        for token in 0..TOKENS {
            let (_, expected) = mixture.expected(token, &before[token * HIDDEN..][..HIDDEN]);
            assert_same("with what stood before", &found[token * HIDDEN..][..HIDDEN], &expected);
        }
    });
}
