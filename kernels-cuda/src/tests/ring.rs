//! A ring's bytes: what the host makes of them, and storing and sealing on a device, equal to the
//! bit.

use crate::Kernel;
use crate::params::Params;
use crate::ring::{ChunkPlace, RingLayout};
use half::f16;
use hardtack_kernels::hadamard::hadamard;
use hardtack_kernels::nested::{CODE_BITS, CodeGroup, GROUP_ROWS, pack_unit, quantize_row, value};
use hardtack_kernels::ring_shape::{CHUNK, Matrix, RingShape, Scaled};

use super::devices::{OnDevice, on_devices};
use super::numbers::Random;

/// A layer's ring on the host.
pub struct Ring {
    pub layout: RingLayout,
    pub halves: Vec<f16>,
    pub units: Vec<u8>,
    pub scales: Vec<f16>,
    pub places: Vec<ChunkPlace>,
}

/// The shape of grouped attention, or of latent attention.
pub fn layout(
    heads: usize,
    widths: [usize; 2],
    latent: bool,
    window: usize,
    chunks: usize,
) -> RingLayout {
    let second = if latent { Scaled::Channel } else { Scaled::Token };
    let matrices = [(widths[0], Scaled::Channel), (widths[1], second)];
    let matrices = matrices.map(|(width, scaled)| Matrix { width, scaled });
    let shape = RingShape { heads, matrices, window, turned: 0 };
    RingLayout { shape, units: 17 * chunks, chunks }
}

impl Ring {
    /// Random f16, no chunk yet; what nobody wrote is no number.
    pub fn new(layout: RingLayout, random: &mut Random) -> Self {
        let halves = (0..layout.shape.f16_slots() * layout.shape.chunk_elements())
            .map(|_| f16::from_f32(random.float()))
            .collect();
        let units = vec![0xff; layout.units * layout.shape.unit_bytes()];
        let scales = vec![f16::from_bits(0xffff); layout.chunks * layout.shape.scale_elements()];
        Self { layout, halves, units, scales, places: Vec::new() }
    }

    /// Where a head's matrix begins among the f16.
    pub fn half_start(&self, chunk: usize, matrix: usize, head: usize) -> usize {
        let slot = if chunk == 0 { 0 } else { self.layout.shape.f16_slots() - 1 };
        let [first, second] = self.layout.shape.matrices.map(|matrix| matrix.width * CHUNK);
        let before = if matrix == 0 {
            head * first
        } else {
            self.layout.shape.heads * first + head * second
        };
        slot * self.layout.shape.chunk_elements() + before
    }

    /// Rows of scales before a head's matrix in its chunk.
    fn scale_start(&self, place: &ChunkPlace, matrix: usize, head: usize) -> usize {
        let [first, second] = self.layout.shape.matrices.map(Matrix::rows);
        let before = head * (first + second) + if matrix == 0 { 0 } else { first };
        place.entry as usize * self.layout.shape.scale_elements() + 2 * before
    }

    fn unit_start(&self, number: u32, matrix: usize, head: usize, first: usize) -> usize {
        let [keys, values] = self.layout.shape.matrices.map(Matrix::unit_bytes);
        let inside = match (self.layout.shape.parts(), matrix) {
            (1, 0) => head * (keys + values),
            (1, _) => head * (keys + values) + keys,
            (_, 0) => head * keys,
            _ => head * values,
        };
        let before = CodeGroup::unit_bytes(first, self.layout.shape.matrices[matrix].columns());
        number as usize * self.layout.shape.unit_bytes() + inside + before
    }

    /// Quantizes the open chunk into a place as the host does it.
    pub fn seal(&mut self, place: ChunkPlace) {
        let layout = self.layout;
        for (matrix, shape) in layout.shape.matrices.into_iter().enumerate() {
            let (rows, columns, by_token) =
                (shape.rows(), shape.columns(), shape.scaled == Scaled::Token);
            let (used, across) = if by_token { (CHUNK, shape.width) } else { (shape.width, CHUNK) };
            for head in 0..layout.shape.heads {
                let start = self.half_start(layout.shape.f16_slots() - 1, matrix, head);
                let halves = self.halves[start..start + shape.width * CHUNK].to_vec();
                let at = |row: usize, column: usize| {
                    let index = if by_token {
                        row * shape.width + column
                    } else {
                        column * shape.width + row
                    };
                    halves[index].to_f32()
                };
                let mut codes = vec![0; rows * columns];
                let scales = self.scale_start(&place, matrix, head);
                for row in 0..rows {
                    let codes = &mut codes[row * columns..][..across];
                    let scale = match row < used {
                        true => quantize_row((0..across).map(|column| at(row, column)), codes),
                        false => [f16::ZERO; 2],
                    };
                    [self.scales[scales + row], self.scales[scales + rows + row]] = scale;
                }
                let part = layout.shape.part(matrix);
                for (unit, &number) in
                    place.units[part][..place.bits[part] as usize].iter().enumerate()
                {
                    for first in (0..rows).step_by(GROUP_ROWS) {
                        let count = (rows - first).min(GROUP_ROWS);
                        let start = self.unit_start(number, matrix, head, first);
                        let bytes = CodeGroup::unit_bytes(count, columns);
                        let codes = &codes[first * columns..(first + count) * columns];
                        pack_unit(unit, count, codes, &mut self.units[start..start + bytes]);
                    }
                }
            }
        }
        self.places.push(place);
    }

    /// Codes of 64 rows or fewer from `first` on, and their lowest values and ranges.
    pub fn group(
        &self,
        place: &ChunkPlace,
        (matrix, head): (usize, usize),
        first: usize,
    ) -> (CodeGroup<'_>, &[f16], &[f16]) {
        let (shape, part) = (self.layout.shape.matrices[matrix], self.layout.shape.part(matrix));
        let (rows, columns) = ((shape.rows() - first).min(GROUP_ROWS), shape.columns());
        let mut units: [&[u8]; 8] = [&[]; 8];
        for (unit, &number) in units.iter_mut().zip(&place.units[part][..place.bits[part] as usize])
        {
            *unit = &self.units[self.unit_start(number, matrix, head, first)..]
                [..CodeGroup::unit_bytes(rows, columns)];
        }
        let start = self.scale_start(place, matrix, head) + first;
        let group = CodeGroup { bits: place.bits[part], rows, columns, units };
        (group, &self.scales[start..start + rows], &self.scales[start + shape.rows()..][..rows])
    }

    /// A place of `bits` bits for a chunk, with units in no order.
    pub fn place(&self, chunk: usize, bits: [u32; 2]) -> ChunkPlace {
        let index = self.places.len();
        let number = |part: usize, unit: usize| {
            ((index * 17 + part * 8 + unit) * 5 % self.layout.units) as u32
        };
        let units = [0, 1].map(|part| std::array::from_fn(|unit| number(part, unit)));
        ChunkPlace {
            chunk: chunk as u32,
            entry: (self.layout.chunks - 1 - index) as u32,
            bits,
            units,
        }
    }
}

pub fn half_bytes(halves: &[f16]) -> Vec<u8> {
    halves.iter().flat_map(|half| half.to_le_bytes()).collect()
}

fn seal_on(device: &OnDevice, ring: &Ring, place: &ChunkPlace) -> (Vec<u8>, Vec<u8>) {
    let layout = &ring.layout;
    let scales_before = vec![0xff; layout.chunks * layout.shape.scale_elements() * 2];
    let units = device.bytes(&vec![0xff; layout.units * layout.shape.unit_bytes()]);
    let scales = device.bytes(&scales_before);
    let mut params = Params::new()
        .address(device.bytes(&half_bytes(&ring.halves)))
        .address(units)
        .address(scales)
        .inner(layout.params())
        .u32(place.entry)
        .u32(0);
    for number in place.bits.iter().chain(place.units.as_flattened()) {
        params = params.u32(*number);
    }
    let rows = layout.shape.matrices.iter().map(|matrix| matrix.rows()).max().unwrap();
    device.run(Kernel::Seal, [layout.shape.heads, 2, rows.div_ceil(GROUP_ROWS)], 0, params);
    (
        device.read_bytes(units, layout.units * layout.shape.unit_bytes()),
        device.read_bytes(scales, scales_before.len()),
    )
}

#[test]
fn sealing_is_the_hosts_to_the_bit() {
    let shapes = [
        (2, [64, 64], false, 0),
        (1, [80, 80], false, 200),
        (3, [12, 12], false, 0),
        (1, [100, 24], true, 0),
        (1, [16, 128], false, 64),
    ];
    on_devices(|device| {
        for (index, (heads, widths, latent, window)) in shapes.into_iter().enumerate() {
            for bits in CODE_BITS {
                let mut random = Random(index as u64);
                let mut ring = Ring::new(layout(heads, widths, latent, window, 2), &mut random);
                // Numbers that do not differ, that differ by more than the largest f16, and
                // that hardly differ.
                let first = ring.half_start(1, 0, 0);
                for token in 0..CHUNK {
                    let row = &mut ring.halves[first + token * widths[0]..][..3];
                    row[0] = f16::from_f32(1.5);
                    row[1] = if token % 2 == 0 { f16::MAX } else { f16::MIN };
                    row[2] = f16::from_bits(token as u16 % 3);
                }
                let place = ring.place(5, [bits, CODE_BITS[(index + bits as usize) % 5]]);
                let (units, scales) = seal_on(device, &ring, &place);
                ring.seal(place);
                assert!(units == ring.units, "{widths:?}, {bits} bits: units");
                assert!(
                    scales == half_bytes(&ring.scales),
                    "{widths:?}, {bits} bits: lowest values and ranges"
                );
                // The numbers of the codes are what was there, about.
                let (group, lowest, ranges) = ring.group(&place, (0, 0), 0);
                let half = ring.halves[first + 3];
                let found = value([lowest[3], ranges[3]], bits, group.code(3, 0));
                assert!(
                    (found - half.to_f32()).abs() <= 4.1 / (1 << bits) as f32,
                    "{widths:?}, {bits} bits"
                );
            }
        }
    });
}

#[test]
fn tokens_are_stored_where_the_host_stores_them() {
    const HEADS: usize = 2;
    on_devices(|device| {
        for (width, position, window) in
            [(64, 3, 0), (80, 5 * CHUNK + 60, 0), (12, 2 * CHUNK, 100), (128, 70, 0)]
        {
            let mut random = Random(width as u64);
            let mut ring = Ring::new(layout(HEADS, [width; 2], false, window, 1), &mut random);
            let (tokens, before) = (4, half_bytes(&ring.halves));
            let rows =
                [random.floats(tokens * HEADS * width), random.floats(tokens * HEADS * width)];
            let halves = device.bytes(&before);
            let mut params = Params::new();
            for kind in [0, 1, 1, 1] {
                params = params
                    .address(device.floats(&rows[kind]))
                    .optional(None)
                    .address(halves.plus((kind * HEADS * width * CHUNK * 2) as u64))
                    .optional(None)
                    .u32((HEADS * width) as u32)
                    .u32(0)
                    .u32(HEADS as u32)
                    .u32(width as u32)
                    .u32(width as u32)
                    .u32(0)
                    .u32(0)
                    .u32(kind as u32);
            }
            let params = params
                .optional(None)
                .address(device.numbers(&[position as u32]))
                .u32(2)
                .u32(0)
                .u32(CHUNK as u32)
                .u32(1)
                .f32(1e-6)
                .f32(1.0)
                .u32(1)
                .u32(
                    ((ring.layout.shape.f16_slots() - 1) * ring.layout.shape.chunk_elements())
                        as u32,
                );
            device.run(Kernel::Heads, [2 * HEADS, tokens, 1], width * 4, params);
            for (matrix, rows) in rows.iter().enumerate() {
                for (index, row) in rows.chunks_exact(width).enumerate() {
                    let (token, head, mut row) =
                        (position % CHUNK + index / HEADS, index % HEADS, row.to_vec());
                    if matrix == 1 {
                        hadamard(&mut row);
                    }
                    let start = ring.half_start(position / CHUNK, matrix, head) + token * width;
                    let kept = &mut ring.halves[start..start + width];
                    kept.iter_mut().zip(row).for_each(|(kept, value)| *kept = f16::from_f32(value));
                }
            }
            assert!(
                device.read_bytes(halves, before.len()) == half_bytes(&ring.halves),
                "width {width}"
            );
        }
    });
}
