//! What a ring keeps, demotes and forgets.

use hardtack_format::spec::{AttentionKind, HeadNorm};

use hardtack_kernels::nested::{Places, value};

use super::*;
use crate::cache::ladder::{Ladder, Level};
use crate::options::{RingBits, RingOptions};

const HEAD: usize = 32;

fn ring(steps: &[u32], chunks_of_first: u64, context: usize, window: u32) -> RingLayer {
    let kind = AttentionKind::Grouped { kv_heads: 1, head_dim: HEAD as u32, norm: HeadNorm::None };
    let layer =
        AttentionSpec { heads: 1, score_scale: 1.0, window, rope_dim: 32, rope_scale: 1.0, kind };
    let levels: Vec<_> = steps.iter().map(|&bits| [bits; 2]).collect();
    let bits = RingBits::Ladder(Ladder::new(&levels).unwrap());
    let of =
        |bytes| RingSize::of(&RingOptions::new().bytes(bytes).bits(bits), None, &[layer], context);
    let chunk = (RingShape::of(&layer).unit_bytes() * 2 * steps[0] as usize) as u64;
    let least =
        (0..).map(|units| units * 16).find(|&bytes| bytes > 0 && of(bytes).is_ok()).unwrap();
    let size = of(least + (chunks_of_first - 1) * chunk * 3 / 2).unwrap();
    RingLayer::new(&size, &layer).unwrap()
}

/// Fills chunks `0..count`, each number after its place.
fn fill(layer: &mut RingLayer, count: usize) {
    let mut codes = vec![0; 64 * 64];
    for position in 0..count * CHUNK {
        layer.begin(position / CHUNK, None, &mut codes);
        let values: Vec<f32> =
            (0..HEAD).map(|at| ((position * 31 + at * 17) % 97) as f32 - 48.0).collect();
        layer.store(position, [&mut values.clone(), &mut values.clone()]);
    }
}

fn held(layer: &RingLayer) -> Vec<(u32, u32)> {
    layer.chunks.sealed().iter().map(|sealed| (sealed.chunk, sealed.level().0[0])).collect()
}

#[test]
fn bits_are_lost_before_chunks_and_the_first_chunk_stays() {
    let mut layer = ring(&[8, 4, 2], 4, 4096, 0);
    fill(&mut layer, 40);
    let held = held(&layer);
    assert_eq!(held.last().unwrap().0, 38, "all but the open chunk are sealed");
    assert!(held.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0), "no gaps: {held:?}");
    assert!(
        held.windows(2).all(|pair| pair[0].1 <= pair[1].1),
        "never more precise with age: {held:?}"
    );
    for bits in [8, 4, 2] {
        assert!(held.iter().any(|&(_, own)| own == bits), "{bits} bits: {held:?}");
    }
    let used: u32 = held.iter().map(|&(_, bits)| 2 * bits).sum();
    assert_eq!(used as usize + layer.chunks.free_units(), layer.chunks.size().units);
    assert!(matches!(layer.chunks_seen().next(), Some(Chunk::Exact(0))));
    // Plain forgetting holds fewer.
    let mut plain = ring(&[8], 4, 4096, 0);
    fill(&mut plain, 40);
    assert!(plain.chunks.sealed().len() < held.len());
}

#[test]
fn a_demoted_chunk_is_what_sealing_at_fewer_bits_gives() {
    let (mut demoted, mut direct) = (ring(&[8, 2], 2, 4096, 0), ring(&[2], 8, 4096, 0));
    fill(&mut demoted, 9);
    fill(&mut direct, 9);
    let mut compared = 0;
    for old in demoted.chunks.sealed().iter().filter(|sealed| sealed.level() == Level([2, 2])) {
        let Some(new) = direct.chunks.sealed().iter().find(|sealed| sealed.chunk == old.chunk)
        else {
            continue;
        };
        for matrix in 0..2 {
            for group in demoted.shape().matrices[matrix].groups() {
                let ((a, low_a, range_a), (b, low_b, range_b)) =
                    (demoted.codes(old, matrix, 0, group), direct.codes(new, matrix, 0, group));
                assert_eq!((&a.units[..2], low_a, range_a), (&b.units[..2], low_b, range_b));
                compared += 1;
            }
        }
    }
    assert!(compared >= 4, "{compared}");
}

#[test]
fn codes_stand_for_numbers_of_their_part_of_the_range() {
    for bits in [8, 6, 4, 3, 2] {
        // From the first code's value to the other end of its part.
        let furthest = 1.0 / (1 << bits) as f32 - Places::of(bits).first;
        let mut layer = ring(&[bits], 4, 4096, 0);
        fill(&mut layer, 3);
        let sealed = layer.chunks.sealed()[0];
        for (matrix, shape) in layer.shape().matrices.into_iter().enumerate() {
            let (codes, lowest, ranges) =
                layer.codes(&sealed, matrix, 0, shape.groups().next().unwrap());
            for token in 0..CHUNK {
                for channel in 0..HEAD {
                    let (row, column) =
                        if matrix == 0 { (channel, token) } else { (token, channel) };
                    let range = ranges[row].to_f32();
                    let mut truth: Vec<f32> = (0..HEAD)
                        .map(|at| (((CHUNK + token) * 31 + at * 17) % 97) as f32 - 48.0)
                        .collect();
                    if matrix == 1 {
                        hadamard(&mut truth);
                    }
                    let ours = value([lowest[row], ranges[row]], bits, codes.code(row, column));
                    let off = (ours - truth[channel]).abs();
                    assert!(off <= range * furthest + 0.05, "{bits} bits: {off} of {range}");
                }
            }
        }
    }
}

#[test]
fn windows_and_reach_end_what_is_held() {
    let mut window = ring(&[8], 99, 4096, 100);
    fill(&mut window, 20);
    // Token 19 * 64 sees 99 tokens before it: from 1117, which is in chunk 17.
    assert_eq!(held(&window).iter().map(|&(chunk, _)| chunk).collect::<Vec<_>>(), [17, 18]);
    let mut reach = ring(&[8], 99, 512, 0);
    fill(&mut reach, 20);
    // Eight chunks: the first and the open one among them.
    assert_eq!(
        held(&reach).iter().map(|&(chunk, _)| chunk).collect::<Vec<_>>(),
        [13, 14, 15, 16, 17, 18]
    );
    assert_eq!((reach.shift(7), reach.shift(8), reach.shift(19)), (0, 64, 12 * 64));
}
