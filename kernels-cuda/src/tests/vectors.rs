//! Operations on vectors: embedding, normalization, quantization, heads, the likeliest token.

use crate::Kernel;
use crate::params::Params;
use hardtack_format::Encoding;
use hardtack_kernels::pack::unpack_row;

use super::devices::{on_devices, quantize};
use super::numbers::{Matrix, Random, assert_close, assert_same};

#[test]
fn quantize_is_scalars() {
    on_devices(|device| {
        for columns in [1, 63, 64, 65, 200, 1100] {
            let mut random = Random(columns as u64);
            let mut floats = random.floats(3 * columns);
            // One row of zeros and numbers near it, and a group whose halves are ties: the largest
            // is 127.
            floats[columns..2 * columns]
                .iter_mut()
                .enumerate()
                .for_each(|(at, x)| *x *= if at % 2 == 0 { 0.0 } else { 1e-33 });
            let ties = [-127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5, 63.49999, 5e-39, -0.0];
            floats.iter_mut().zip(ties).for_each(|(x, tie)| *x = tie);
            let inputs = device.inputs_room(3, columns).with_floats(device.floats(&floats));
            let params = Params::new().inner(inputs.params()).u32(columns as u32).u32(0);
            device.run(Kernel::Quantize, [3, 1, 1], 0, params);
            assert_eq!(
                device.quantized(&inputs),
                quantize(3, columns, &floats),
                "{columns} columns"
            );
        }
    });
}

#[test]
fn normalize_keeps_to_its_formula_and_quantizes_what_it_gives() {
    on_devices(|device| {
        for columns in [1, 64, 100, 2048] {
            let mut random = Random(columns as u64);
            let (stream, gain) = (random.floats(3 * columns), random.floats(columns));
            let out = device.inputs_room(2, columns);
            // The second and third row.
            let params = Params::new()
                .address(device.floats(&stream))
                .address(device.floats(&gain))
                .inner(out.params())
                .address(device.numbers(&[1]))
                .u32(columns as u32)
                .f32(1e-5);
            device.run(Kernel::Normalize, [2, 1, 1], 0, params);
            let found = device.input_floats(&out);
            for (found, stream) in
                found.chunks_exact(columns).zip(stream[columns..].chunks_exact(columns))
            {
                let squares: f64 = stream.iter().map(|x| f64::from(*x).powi(2)).sum();
                let scale = 1.0 / (squares / columns as f64 + 1e-5).sqrt();
                let expected: Vec<f32> = stream
                    .iter()
                    .zip(&gain)
                    .map(|(x, gain)| (f64::from(*x) * scale) as f32 * gain)
                    .collect();
                assert_close("normalize", found, &expected, false, 4.0);
            }
            assert_eq!(device.quantized(&out), quantize(2, columns, &found), "{columns} columns");
        }
    });
}

#[test]
fn embed_reads_the_rows_that_tokens_name() {
    on_devices(|device| {
        for encoding in Encoding::MATRICES {
            let table = Matrix::random(encoding, 40, 100, &mut Random(9));
            let tokens = [0u32, 39, 17];
            let out = device.room(3 * 100 * 4);
            let params = Params::new()
                .inner(
                    Params::new()
                        .address(device.bytes(&table.bytes))
                        .u32(u32::from(encoding as u16))
                        .u32(0),
                )
                .address(device.numbers(&tokens))
                .address(out)
                .u32(100)
                .f32(0.75);
            device.run(Kernel::Embed, [3, 1, 1], 0, params);
            let panel_bytes = encoding.panel_bytes(100) as usize;
            for (token, found) in tokens.iter().zip(device.read_floats(out, 300).chunks_exact(100))
            {
                let mut expected = vec![0.0; 100];
                let (panel, row) = (*token as usize / 16, *token as usize % 16);
                unpack_row(
                    encoding,
                    &table.bytes[panel * panel_bytes..][..panel_bytes],
                    row,
                    &mut expected,
                );
                expected.iter_mut().for_each(|value| *value *= 0.75);
                assert_same(encoding.name(), found, &expected);
            }
        }
    });
}

#[test]
fn heads_are_normalized_turned_and_kept() {
    const HEADS: usize = 3;
    const WIDTH: usize = 16;
    const TURNED: usize = 12;
    const CAPACITY: usize = 8;
    const TOKENS: usize = 2;
    const POSITION: usize = 5;
    on_devices(|device| {
        let mut random = Random(6);
        let rows = random.floats(TOKENS * HEADS * WIDTH);
        let turns = random.floats(TOKENS * TURNED / 2 * 2);
        let head_gain = random.floats(WIDTH);
        let whole_gain = random.floats(HEADS * WIDTH);
        for half in [false, true] {
            for norm in [0u32, 1, 2] {
                let gain = if norm == 2 { &whole_gain } else { &head_gain };
                let out = device.room(TOKENS * HEADS * WIDTH * 4);
                let bytes = if half { 2 } else { 4 };
                let cache = device.bytes(&vec![0; HEADS * CAPACITY * WIDTH * bytes]);
                let from = device.floats(&rows);
                let kind = Params::new()
                    .address(from)
                    .address(out)
                    .address(cache)
                    .address(device.floats(gain))
                    .u32((HEADS * WIDTH) as u32)
                    .u32(0)
                    .u32(HEADS as u32)
                    .u32(WIDTH as u32)
                    .u32(WIDTH as u32)
                    .u32(norm)
                    .u32(TURNED as u32)
                    .u32(0);
                let mut params = Params::new();
                for _ in 0..4 {
                    params = params.inner(kind.clone());
                }
                let params = params
                    .address(device.floats(&turns))
                    .address(device.numbers(&[POSITION as u32]))
                    .u32(1)
                    .u32(TURNED as u32 / 2)
                    .u32(CAPACITY as u32)
                    .u32(u32::from(half))
                    .f32(1e-6)
                    .f32(1.25)
                    .u32(0)
                    .u32(0);
                device.run(Kernel::Heads, [HEADS, TOKENS, 1], WIDTH * 4, params);

                let found = device.read_floats(out, TOKENS * HEADS * WIDTH);
                let expected = expected_heads(&rows, gain, &turns, norm);
                assert_close("heads", &found, &expected, false, 8.0);
                let kept = device.read_bytes(cache, HEADS * CAPACITY * WIDTH * bytes);
                for token in 0..TOKENS {
                    for head in 0..HEADS {
                        for index in 0..WIDTH {
                            let at = (head * CAPACITY + POSITION + token) * WIDTH + index;
                            let value = found[(token * HEADS + head) * WIDTH + index];
                            match half {
                                true => assert_eq!(
                                    kept[at * 2..][..2],
                                    half::f16::from_f32(value).to_le_bytes()
                                ),
                                false => assert_eq!(kept[at * 4..][..4], value.to_le_bytes()),
                            }
                        }
                    }
                }
                assert!(
                    kept[..POSITION * WIDTH * bytes].iter().all(|byte| *byte == 0),
                    "other positions stay"
                );
            }
        }
    });

    fn expected_heads(rows: &[f32], gain: &[f32], turns: &[f32], norm: u32) -> Vec<f32> {
        let mut all = Vec::new();
        for (token, row) in rows.chunks_exact(HEADS * WIDTH).enumerate() {
            let scale = |part: &[f32]| {
                let mean =
                    part.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / part.len() as f64;
                1.0 / (mean + 1e-6).sqrt()
            };
            for (head, part) in row.chunks_exact(WIDTH).enumerate() {
                let scale = if norm == 0 { 1.0 } else { scale(if norm == 1 { part } else { row }) };
                let mut values: Vec<f64> = part.iter().map(|x| f64::from(*x) * scale).collect();
                for (index, value) in values.iter_mut().enumerate().filter(|_| norm > 0) {
                    *value *= f64::from(gain[if norm == 2 { head * WIDTH + index } else { index }]);
                }
                for index in 0..TURNED / 2 {
                    let turn = &turns[(token * TURNED / 2 + index) * 2..][..2];
                    let (sine, cosine) = (f64::from(turn[0]) * 1.25, f64::from(turn[1]) * 1.25);
                    let (a, b) = (values[index], values[index + TURNED / 2]);
                    values[index] = a * cosine - b * sine;
                    values[index + TURNED / 2] = b * cosine + a * sine;
                }
                all.extend(values.into_iter().map(|value| value as f32));
            }
        }
        all
    }
}

#[test]
fn the_likeliest_is_the_first_of_the_largest() {
    on_devices(|device| {
        let likeliest = |logits: &[f32]| {
            let token = device.room(4);
            let params = Params::new()
                .address(device.floats(logits))
                .address(device.room(5 * 4))
                .address(device.room(5 * 4))
                .address(token)
                .u32(logits.len() as u32)
                .u32(5);
            device.run(Kernel::BestOfParts, [5, 1, 1], 0, params.clone());
            device.run(Kernel::BestOfAll, [1, 1, 1], 0, params);
            device.read_numbers(token, 1)[0] as usize
        };
        let mut logits: Vec<f32> = Random(8).floats(3000);
        for place in [0, 31, 1279, 1280, 2999] {
            logits[place] = 3.0;
            assert_eq!(likeliest(&logits), place);
            logits[place] = -1.0;
        }
        (logits[700], logits[1500], logits[2900]) = (4.0, 4.0, f32::NAN);
        assert_eq!(likeliest(&logits), 700);
        assert_eq!(likeliest(&[f32::NAN; 70]), 0);
        assert_eq!(likeliest(&[f32::NAN, f32::NEG_INFINITY, -1.0, f32::NAN]), 2);
        assert_eq!(likeliest(&[1.0]), 0);
    });
}
