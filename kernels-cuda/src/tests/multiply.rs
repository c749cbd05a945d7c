//! Matrices times rows, one by one and as prompts.

use crate::Kernel;
use crate::address::Address;
use crate::params::Params;
use hardtack_format::Encoding;

use super::devices::{Inputs, OnDevice, on_devices};
use super::numbers::{Matrix, Random, assert_close, assert_same};

/// Columns around the sizes of groups, of a warp's share and of a block's.
const COLUMNS: [usize; 7] = [1, 63, 64, 96, 576, 640, 4224];

/// Where the results of one matrix go.
#[derive(Clone, Copy)]
struct Target {
    bias: Option<Address>,
    out: Option<Address>,
    residual: Option<Address>,
    scale: f32,
}

fn matrix_params(panels: Address, matrix: &Matrix) -> Params {
    Params::new().address(panels).u32(u32::from(matrix.encoding as u16)).u32(0)
}

fn multiply(
    device: &OnDevice,
    jobs: &[(&Matrix, u32, Target)],
    inputs: &Inputs,
    rows: usize,
    team_warps: usize,
) {
    let columns = jobs[0].0.columns;
    let (mut params, mut panels) = (Params::new(), 0);
    for index in 0..3 {
        let (matrix, stack, target) = jobs.get(index).unwrap_or(&jobs[0]);
        params = params
            .inner(matrix_params(device.bytes(&matrix.bytes), matrix))
            .optional(target.bias)
            .optional(target.out)
            .optional(target.residual)
            .u32(matrix.rows as u32 / stack)
            .u32(*stack)
            .f32(target.scale)
            .u32(panels as u32);
        if index < jobs.len() {
            panels += (matrix.rows / *stack as usize).div_ceil(16);
        }
    }
    let params = params
        .inner(inputs.params())
        .optional(None)
        .u32(jobs.len() as u32)
        .u32(panels as u32)
        .u32(columns as u32)
        .u32(team_warps as u32);
    device.run(Kernel::Multiply, [panels.div_ceil(8 / team_warps), rows, 1], 0, params);
}

fn multiply_prompt(
    device: &OnDevice,
    matrix: &Matrix,
    inputs: &Inputs,
    tokens: usize,
    target: Target,
) {
    let params = Params::new()
        .inner(matrix_params(device.bytes(&matrix.bytes), matrix))
        .optional(target.bias)
        .inner(inputs.params())
        .optional(target.out)
        .optional(target.residual)
        .address(device.numbers(&[tokens as u32]))
        .u32(matrix.rows as u32)
        .u32(matrix.columns as u32)
        .f32(target.scale)
        .u32(0);
    let blocks = matrix.rows.div_ceil(16).div_ceil(8);
    device.run(Kernel::MultiplyPrompt, [blocks, tokens.div_ceil(32), 1], 0, params);
}

#[test]
fn every_encoding_is_scalars_and_prompts_change_nothing() {
    on_devices(|device| {
        for encoding in Encoding::MATRICES {
            for columns in COLUMNS {
                let mut random = Random(columns as u64);
                // A panel that is not full, and more tokens than eight.
                let (rows, tokens) = (if columns < 1000 { 39 } else { 17 }, 11);
                let matrix = Matrix::random(encoding, rows, columns, &mut random);
                let floats = random.floats(tokens * columns);
                let what = format!("{}, {columns} columns", encoding.name());
                let inputs = device.inputs(tokens, columns, &floats);
                let expected = matrix.multiply(&floats);

                let out = device.room(expected.len() * 4);
                let target = Target { bias: None, out: Some(out), residual: None, scale: 1.0 };
                let team_warps = columns.div_ceil(512).next_power_of_two().min(8);
                multiply(device, &[(&matrix, 1, target)], &inputs, tokens, team_warps);
                let single = device.read_floats(out, expected.len());
                assert_close(&what, &single, &expected, matrix.is_exact(), columns as f32 * 4.0);

                let out = device.room(expected.len() * 4);
                multiply_prompt(
                    device,
                    &matrix,
                    &inputs,
                    tokens,
                    Target { out: Some(out), ..target },
                );
                assert_same(
                    &format!("prompt, {what}"),
                    &device.read_floats(out, expected.len()),
                    &single,
                );
            }
        }
    });
}

#[test]
fn codes_at_their_largest_do_not_overflow() {
    on_devices(|device| {
        for encoding in [Encoding::Q8, Encoding::Q6] {
            let mut matrix = Matrix::random(encoding, 16, 64, &mut Random(1));
            matrix.bytes[64..].fill(0xff);
            for sign in [1.5f32, -1.5] {
                let floats = [sign; 64];
                let expected = matrix.multiply(&floats);
                let inputs = device.inputs(1, 64, &floats);
                for prompt in [false, true] {
                    let out = device.room(64);
                    let target = Target { bias: None, out: Some(out), residual: None, scale: 1.0 };
                    match prompt {
                        false => multiply(device, &[(&matrix, 1, target)], &inputs, 1, 1),
                        true => multiply_prompt(device, &matrix, &inputs, 1, target),
                    }
                    assert_same(encoding.name(), &device.read_floats(out, 16), &expected);
                }
            }
        }
    });
}

#[test]
fn the_size_of_teams_changes_nothing() {
    on_devices(|device| {
        for encoding in [Encoding::F16, Encoding::Q3] {
            let mut random = Random(3);
            let matrix = Matrix::random(encoding, 70, 1100, &mut random);
            let inputs = device.inputs(1, 1100, &random.floats(1100));
            let results = [1, 2, 4, 8].map(|team_warps| {
                let out = device.room(70 * 4);
                let target = Target { bias: None, out: Some(out), residual: None, scale: 1.0 };
                multiply(device, &[(&matrix, 1, target)], &inputs, 1, team_warps);
                device.read_floats(out, 70)
            });
            results[1..].iter().for_each(|other| assert_same(encoding.name(), other, &results[0]));
        }
    });
}

#[test]
fn three_matrices_with_biases_go_where_they_should() {
    on_devices(|device| {
        let mut random = Random(4);
        let columns = 160;
        let matrices = [(Encoding::Q4, 33), (Encoding::Q2, 16), (Encoding::Bf16, 20)]
            .map(|(encoding, rows)| Matrix::random(encoding, rows, columns, &mut random));
        let floats = random.floats(2 * columns);
        let inputs = device.inputs(2, columns, &floats);
        let bias = random.floats(33);
        let before = random.floats(2 * 16);
        let outs = matrices.each_ref().map(|matrix| device.room(2 * matrix.rows * 4));
        let residual = device.floats(&before);
        let targets = [
            Target {
                bias: Some(device.floats(&bias)),
                out: Some(outs[0]),
                residual: None,
                scale: 0.5,
            },
            Target { bias: None, out: None, residual: Some(residual), scale: 0.25 },
            Target { bias: None, out: Some(outs[2]), residual: None, scale: 1.0 },
        ];
        let jobs = [0, 1, 2].map(|index| (&matrices[index], 1, targets[index]));
        multiply(device, &jobs, &inputs, 2, 1);

        let expected: Vec<f32> = matrices[0]
            .multiply(&floats)
            .iter()
            .zip(bias.iter().cycle())
            .map(|(x, bias)| (x + bias) * 0.5)
            .collect();
        assert_same("with a bias", &device.read_floats(outs[0], 66), &expected);
        let expected: Vec<f32> = matrices[1]
            .multiply(&floats)
            .iter()
            .zip(&before)
            .map(|(x, before)| before + 0.25 * x)
            .collect();
        assert_same("residual", &device.read_floats(residual, 32), &expected);
        assert_close(
            "floats",
            &device.read_floats(outs[2], 40),
            &matrices[2].multiply(&floats),
            false,
            640.0,
        );

        let residual = device.floats(&before);
        multiply_prompt(
            device,
            &matrices[1],
            &inputs,
            2,
            Target { residual: Some(residual), ..targets[1] },
        );
        assert_same("residual of a prompt", &device.read_floats(residual, 32), &expected);
    });
}

#[test]
fn a_stack_gives_each_head_its_own_matrix() {
    on_devices(|device| {
        let mut random = Random(5);
        // Three matrices of 16 rows, one after another.
        let stack = Matrix::random(Encoding::Q5, 48, 96, &mut random);
        let floats = random.floats(6 * 96);
        let inputs = device.inputs(6, 96, &floats);
        let out = device.room(6 * 16 * 4);
        let target = Target { bias: None, out: Some(out), residual: None, scale: 1.0 };
        multiply(device, &[(&stack, 3, target)], &inputs, 6, 1);
        let (all, found) = (stack.multiply(&floats), device.read_floats(out, 6 * 16));
        for (row, found) in found.chunks_exact(16).enumerate() {
            assert_same("row of a stack", found, &all[row * 48 + row % 3 * 16..][..16]);
        }
    });
}
