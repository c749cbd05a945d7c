//! Attention over a ring against a computation with the same codes, whole and in spans, in pieces
//! and token by token.

use crate::Kernel;
use crate::params::Params;
use crate::ring::ChunkPlace;
use half::f16;
use hardtack_kernels::hadamard::hadamard;
use hardtack_kernels::nested::{Folded, GROUP_ROWS, Places};
use hardtack_kernels::ring_shape::{CHUNK, Scaled};
use hardtack_kernels::scalar;

use super::devices::{OnDevice, on_devices, quantize};
use super::numbers::{Random, assert_close, assert_same};
use super::ring::{Ring, half_bytes, layout};

const SCALE: f32 = 0.2;

#[derive(Clone, Copy, Debug)]
struct Case {
    heads: usize,
    kv_heads: usize,
    widths: [usize; 2],
    latent: bool,
    /// The first token is in the chunk after this many that are sealed, of which others were
    /// forgotten before.
    sealed: usize,
    forgotten: usize,
    /// Where in its chunk.
    at: usize,
    tokens: usize,
    window: usize,
    sinks: bool,
    /// How far the first chunk is moved, and how much of a query RoPE turns.
    shift: usize,
    turned: usize,
}

const GROUPED: Case = Case {
    heads: 4,
    kv_heads: 2,
    widths: [64, 64],
    latent: false,
    sealed: 6,
    forgotten: 3,
    at: 10,
    tokens: 3,
    window: 0,
    sinks: false,
    shift: 130,
    turned: 32,
};

const CASES: [Case; 7] = [
    GROUPED,
    // The first chunk alone, from its first token on.
    Case {
        heads: 3,
        kv_heads: 3,
        widths: [16; 2],
        sealed: 0,
        forgotten: 0,
        at: 0,
        shift: 0,
        sinks: true,
        ..GROUPED
    },
    // One that is not moved, and the open one, full.
    Case {
        heads: 3,
        kv_heads: 1,
        widths: [80; 2],
        sealed: 1,
        forgotten: 0,
        at: 61,
        shift: 0,
        ..GROUPED
    },
    // A window that ends within chunks.
    Case {
        heads: 2,
        widths: [12; 2],
        sealed: 3,
        at: 1,
        window: 130,
        sinks: true,
        shift: 0,
        turned: 0,
        ..GROUPED
    },
    // A window that sees little more than the open chunk.
    Case {
        heads: 5,
        kv_heads: 1,
        widths: [128; 2],
        sealed: 4,
        at: 40,
        window: 50,
        shift: 0,
        ..GROUPED
    },
    Case { heads: 5, kv_heads: 1, widths: [72, 24], latent: true, turned: 24, ..GROUPED },
    Case {
        heads: 2,
        kv_heads: 1,
        widths: [512, 64],
        latent: true,
        sealed: 3,
        tokens: 2,
        turned: 64,
        ..GROUPED
    },
];

struct Memory {
    ring: Ring,
    queries: [Vec<f32>; 2],
    turns_back: Vec<f32>,
    sinks: Vec<f32>,
    /// The chunk that is open.
    open: usize,
}

impl Case {
    fn second(&self) -> usize {
        if self.latent { self.widths[1] } else { 0 }
    }

    fn memory(&self) -> Memory {
        let mut random = Random(self.widths[0] as u64 + self.at as u64);
        let layout =
            layout(self.kv_heads, self.widths, self.latent, self.window, self.sealed.max(1) + 1);
        let first = usize::from(self.window == 0);
        let mut ring = Ring::new(layout, &mut random);
        for index in 0..self.sealed {
            let bits = [[4, 4], [8, 2], [2, 6], [3, 3], [6, 8], [4, 3]][index];
            let place = ring.place(first + self.forgotten + index, bits);
            let fresh = Ring::new(layout, &mut random).halves;
            let open = (layout.shape.f16_slots() - 1) * layout.shape.chunk_elements();
            ring.halves[open..].copy_from_slice(&fresh[open..]);
            ring.seal(place);
        }
        let open = if self.sealed == 0 { 0 } else { first + self.forgotten + self.sealed };
        let rows = self.tokens * self.heads;
        let queries = [random.floats(rows * self.widths[0]), random.floats(rows * self.second())];
        let angles = random.floats(self.turned / 2);
        let turns_back = angles.iter().flat_map(|angle| [-angle.sin(), angle.cos()]).collect();
        Memory { ring, queries, turns_back, sinks: random.floats(self.heads), open }
    }
}

impl Memory {
    /// A query for both matrices; turned back for keys that were moved.
    fn query(&self, case: &Case, row: usize, moved: bool) -> [Vec<f32>; 2] {
        let part =
            |part: usize, width: usize| self.queries[part][row * width..(row + 1) * width].to_vec();
        let mut query = [part(0, case.widths[0]), part(1, case.second())];
        if moved {
            let (turned, half) = (&mut query[usize::from(case.latent)], case.turned / 2);
            for index in 0..half {
                let (sine, cosine) = (self.turns_back[2 * index], self.turns_back[2 * index + 1]);
                let (a, b) = (turned[index], turned[index + half]);
                (turned[index], turned[index + half]) =
                    (a * cosine - b * sine, b * cosine + a * sine);
            }
        }
        query
    }

    fn half(
        &self,
        chunk: usize,
        (matrix, head): (usize, usize),
        token: usize,
        column: usize,
    ) -> f64 {
        let width = self.ring.layout.shape.matrices[matrix].width;
        self.ring.halves[self.ring.half_start(chunk, matrix, head) + token * width + column]
            .to_f32()
            .into()
    }

    fn score_f16(&self, case: &Case, chunk: usize, head: usize, row: usize) -> Vec<f64> {
        let query = self.query(case, row, chunk == 0 && case.shift > 0);
        let of = |token: usize| {
            let part = |matrix: usize| {
                let products = query[matrix].iter().enumerate();
                products
                    .map(|(at, x)| f64::from(*x) * self.half(chunk, (matrix, head), token, at))
                    .sum::<f64>()
            };
            part(0) + part(1)
        };
        (0..CHUNK).map(of).collect()
    }

    /// Scores as the scalar tier has them, its integers included.
    fn score_codes(&self, case: &Case, place: &ChunkPlace, head: usize, row: usize) -> Vec<f64> {
        let (query, mut scores) = (self.query(case, row, false), vec![0.0f32; CHUNK]);
        for (matrix, shape) in self.ring.layout.shape.matrices.iter().enumerate() {
            if shape.scaled == Scaled::Token {
                continue;
            }
            for first in (0..shape.width).step_by(GROUP_ROWS) {
                let (group, lowest, ranges) = self.ring.group(place, (matrix, head), first);
                let query = &query[matrix][first..shape.width.min(first + GROUP_ROWS)];
                add_rows(&group, query, lowest, ranges, &mut scores);
            }
        }
        scores.into_iter().map(f64::from).collect()
    }

    fn gather_codes(
        &self,
        case: &Case,
        place: &ChunkPlace,
        head: usize,
        weights: &[f32],
    ) -> Vec<f32> {
        if !case.latent {
            let (group, lowest, ranges) = self.ring.group(place, (1, head), 0);
            let mut out = vec![0.0; group.columns];
            add_rows(&group, weights, lowest, ranges, &mut out);
            return out;
        }
        let (mut folded, sum, mut out) = (Folded::ZERO, weights.iter().sum::<f32>(), Vec::new());
        (scalar::TABLE.fold)(weights, &[f16::ONE; CHUNK], &mut folded);
        for first in (0..case.widths[0]).step_by(GROUP_ROWS) {
            let (group, lowest, ranges) = self.ring.group(place, (0, head), first);
            let mut products = vec![0.0; group.rows];
            (scalar::TABLE.code_columns)(&group, &[folded], &mut products);
            for (row, product) in products.into_iter().enumerate() {
                let places = Places::of(group.bits);
                let inside = places.step * product + places.first * sum;
                out.push(lowest[row].to_f32() * sum + ranges[row].to_f32() * inside);
            }
        }
        out
    }

    fn expected(&self, case: &Case, token: usize, head: usize) -> Vec<f32> {
        let (row, kv_head) = (token * case.heads + head, head / (case.heads / case.kv_heads));
        let position = self.open * CHUNK + case.at + token;
        let oldest = if case.window > 0 { (position + 1).saturating_sub(case.window) } else { 0 };
        // Chunks with their scores, minus infinity where a token is not seen.
        let first = (case.window == 0 && self.open > 0).then_some((0, None));
        let sealed = self.ring.places.iter().map(|place| (place.chunk as usize, Some(place)));
        let chunks: Vec<_> = first.into_iter().chain(sealed).chain([(self.open, None)]).collect();
        let scores: Vec<Vec<f64>> = chunks
            .iter()
            .map(|&(chunk, place)| {
                let scores = match place {
                    Some(place) => self.score_codes(case, place, kv_head, row),
                    None => self.score_f16(case, chunk, kv_head, row),
                };
                let seen = |at: usize| (oldest..=position).contains(&(chunk * CHUNK + at));
                let scaled = |(at, score): (usize, f64)| {
                    if seen(at) { score * f64::from(SCALE) } else { f64::NEG_INFINITY }
                };
                scores.into_iter().enumerate().map(scaled).collect()
            })
            .collect();
        let largest =
            scores.iter().flatten().fold(f64::NEG_INFINITY, |largest, score| largest.max(*score));
        let mut sum = if case.sinks { (f64::from(self.sinks[head]) - largest).exp() } else { 0.0 };
        let mut out = vec![0.0f64; case.widths[usize::from(!case.latent)]];
        for ((chunk, place), scores) in chunks.into_iter().zip(scores) {
            let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
            sum += weights.iter().sum::<f64>();
            if let Some(place) = place {
                let weights: Vec<f32> = weights.iter().map(|weight| *weight as f32).collect();
                let values = self.gather_codes(case, place, kv_head, &weights);
                out.iter_mut().zip(values).for_each(|(out, value)| *out += f64::from(value));
                continue;
            }
            for (at, weight) in weights.into_iter().enumerate().filter(|(_, weight)| *weight > 0.0)
            {
                for (column, out) in out.iter_mut().enumerate() {
                    *out +=
                        weight * self.half(chunk, (usize::from(!case.latent), kv_head), at, column);
                }
            }
        }
        let mut out: Vec<f32> = out.into_iter().map(|value| (value / sum) as f32).collect();
        if !case.latent {
            hadamard(&mut out);
        }
        out
    }
}

/// `out[column] += sum over rows of x * (lowest + range * (code + 1/2) / 2^bits)`
fn add_rows(
    group: &hardtack_kernels::nested::CodeGroup<'_>,
    x: &[f32],
    lowest: &[f16],
    ranges: &[f16],
    out: &mut [f32],
) {
    let (mut folded, Places { first, step }) = (Folded::ZERO, Places::of(group.bits));
    let (lowest, ranges) = (&lowest[..x.len()], &ranges[..x.len()]);
    (scalar::TABLE.fold)(x, ranges, &mut folded);
    folded.scale *= step;
    let offset = (scalar::TABLE.dot_f16)(x, lowest) + first * (scalar::TABLE.dot_f16)(x, ranges);
    out.iter_mut().for_each(|out| *out += offset);
    (scalar::TABLE.code_rows)(group, &[folded], out);
}

/// How a pass is run: its tokens, queries of a block, and whether spans are taken in turn.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: usize,
    tokens: usize,
    queries: usize,
    in_one: bool,
}

fn run(device: &OnDevice, case: &Case, memory: &Memory, run: Run) -> Vec<f32> {
    let Run { first, tokens, queries, in_one } = run;
    let (ring, second) = (&memory.ring, case.second());
    let mut halves = ring.halves.clone();
    // Tokens after the last one are not there yet.
    for (matrix, shape) in ring.layout.shape.matrices.iter().enumerate() {
        for head in 0..case.kv_heads {
            let start = ring.half_start(memory.open, matrix, head);
            let from = (case.at + first + tokens) * shape.width;
            halves[start + from..start + CHUNK * shape.width].fill(f16::from_bits(0xffff));
        }
    }
    let mut table = vec![ring.places.len() as u32, 0, 0, 0];
    for place in &ring.places {
        table.extend(
            [place.chunk, place.entry].iter().chain(&place.bits).chain(place.units.as_flattened()),
        );
    }
    let table = device.numbers(&table);
    let value = case.widths[usize::from(!case.latent)];
    let (rows, spans) = (tokens * case.heads, (ring.layout.chunks + 2).div_ceil(4));
    let (states, parts) = (device.room(rows * spans * 8), device.room(rows * spans * value * 4));
    let columns = if case.latent { value } else { case.heads * value };
    let out = device.inputs_room(rows * value / columns, columns);
    let of = |part: usize, width: usize| {
        device.floats(&memory.queries[part][first * case.heads * width..][..rows * width])
    };
    let sinks = case.sinks.then(|| device.floats(&memory.sinks));
    let position = memory.open * CHUNK + case.at + first;
    let params = Params::new()
        .address(of(0, case.widths[0]))
        .optional((second > 0).then(|| of(1, second)))
        .address(device.bytes(&half_bytes(&halves)))
        .address(device.bytes(&ring.units))
        .address(device.bytes(&half_bytes(&ring.scales)))
        .address(table)
        .optional(sinks)
        .address(device.numbers(&[position as u32, tokens as u32, 0, case.shift as u32]))
        .optional((case.turned > 0).then(|| device.floats(&memory.turns_back)))
        .optional(in_one.then_some(out.floats))
        .address(states)
        .address(parts)
        .inner(ring.layout.params());
    let group = case.heads / case.kv_heads;
    let params =
        [case.heads, group, case.widths[0], second, value, case.window, spans, case.turned]
            .into_iter()
            .fold(params, |params, number| params.u32(number as u32))
            .f32(SCALE)
            .u32(0);
    let kernel =
        [Kernel::AttentionRing1, Kernel::AttentionRing2, Kernel::AttentionRing4][queries / 2];
    let moved = if second > 0 { second } else { case.widths[0] };
    let shared = queries * (case.widths[0] + second + moved + 256 + 5 * value) * 4;
    let grid = [case.kv_heads, (tokens * group).div_ceil(queries), if in_one { 1 } else { spans }];
    device.run(kernel, grid, shared, params);
    if in_one {
        return device.input_floats(&out);
    }
    let whole = value.is_multiple_of(64) || columns == value;
    let params = Params::new()
        .address(states)
        .address(parts)
        .optional(sinks)
        .address(table)
        .inner(out.params());
    let params = [case.heads, value, spans, usize::from(!case.latent), usize::from(whole), 0]
        .into_iter()
        .fold(params, |params, number| params.u32(number as u32));
    device.run(Kernel::CombineRing, [case.heads, tokens, 1], value * 4, params);
    let floats = device.input_floats(&out);
    if whole {
        assert_eq!(
            device.quantized(&out),
            quantize(rows * value / columns, columns, &floats),
            "{case:?}"
        );
    }
    floats
}

#[test]
fn attention_over_a_ring_is_what_its_codes_say() {
    on_devices(|device| {
        for case in &CASES {
            let memory = case.memory();
            let all = Run { first: 0, tokens: case.tokens, queries: 4, in_one: true };
            let whole = run(device, case, &memory, all);
            let value = case.widths[usize::from(!case.latent)];
            for (row, found) in whole.chunks_exact(value).enumerate() {
                let expected = memory.expected(case, row / case.heads, row % case.heads);
                assert_close(&format!("{case:?}, row {row}"), found, &expected, false, 8.0);
            }
            for (queries, in_one) in [(1, true), (2, false), (4, false)] {
                let found = run(device, case, &memory, Run { queries, in_one, ..all });
                assert_same(&format!("{queries} queries, {in_one}, of {case:?}"), &found, &whole);
            }
            for (first, expected) in whole.chunks_exact(case.heads * value).enumerate() {
                let one = Run {
                    first,
                    tokens: 1,
                    queries: if case.heads > 2 { 4 } else { 1 },
                    in_one: false,
                };
                assert_same(
                    &format!("token {first} of {case:?}"),
                    &run(device, case, &memory, one),
                    expected,
                );
            }
        }
    });
}
