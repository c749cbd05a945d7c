//! What a model's policy chooses for a chunk of its cache. The layer's kv_router predicts from the
//! chunk's keys what bits cost, and that is weighed against the price of their bytes. One truth for
//! the runtime that follows a policy and the converter that makes it.

use half::f16;
use hardtack_format::kv_policy::{BITS, Costs, KvRouter, LayerPolicy, PARTS, Price};
use hardtack_format::limits::KV_ROUTER_WIDTH_MAX;

use crate::math::{exp, sqrt};

/// Costs of a chunk, as logarithms. `keys` are `[heads, tokens, width]`, of whose elements the
/// first `turned` come in pairs that RoPE turns.
pub fn costs(policy: &LayerPolicy, keys: &[f16], width: usize, turned: usize) -> Costs {
    tell(policy, keys.chunks_exact(width).map(|row| inputs(row, turned)))
}

/// The same from the router's inputs for each token and head.
pub fn tell(
    policy: &LayerPolicy,
    rows: impl ExactSizeIterator<Item = impl Iterator<Item = f32>>,
) -> Costs {
    let mut costs = policy.costs;
    let Some(router) = &policy.router else { return costs };
    let mut units = [0.0; KV_ROUTER_WIDTH_MAX as usize];
    let units = &mut units[..router.width as usize];
    let share = 1.0 / rows.len() as f32;
    rows.for_each(|row| add_units(router, row, units));
    for (cost, weights) in
        costs.as_flattened_mut().iter_mut().zip(router.out.chunks_exact(units.len()))
    {
        *cost += share * units.iter().zip(weights).map(|(unit, weight)| unit * weight).sum::<f32>();
    }
    costs
}

/// Adds the router's units, `silu(W1 x) * W2 x`, of one token's keys in one head.
fn add_units(router: &KvRouter, inputs: impl Iterator<Item = f32>, sums: &mut [f32]) {
    let width = sums.len();
    let mut units = [[0.0f32; 2]; KV_ROUTER_WIDTH_MAX as usize];
    let rows = router.gate.chunks_exact(width).zip(router.up.chunks_exact(width));
    for (input, (gate, up)) in inputs.zip(rows) {
        for ((unit, gate), up) in units.iter_mut().zip(gate).zip(up) {
            unit[0] += input * gate;
            unit[1] += input * up;
        }
    }
    for (sum, [gate, up]) in sums.iter_mut().zip(units) {
        *sum += gate / (1.0 + exp(-gate)) * up;
    }
}

/// The length of every pair, then the elements that are not turned: what does not depend on a
/// token's position.
pub fn inputs(row: &[f16], turned: usize) -> impl Iterator<Item = f32> {
    let (pairs, single) = row.split_at(turned);
    let (first, second) = pairs.split_at(turned / 2);
    let squares =
        first.iter().zip(second).map(|(a, b)| a.to_f32() * a.to_f32() + b.to_f32() * b.to_f32());
    squares.map(sqrt).chain(single.iter().map(|value| value.to_f32()))
}

/// What one part is worth at each of the [`BITS`]: `exp(cost) + price * bytes`, for `elements`
/// numbers of a token.
pub fn worths(costs: &[f32; BITS.len()], price: Price, elements: usize) -> [f32; BITS.len()] {
    let bit_bytes = elements as f32 / 8.0;
    core::array::from_fn(|index| exp(costs[index]) + price.byte * bit_bytes * BITS[index] as f32)
}

/// The bits that are worth least in every part; of two, the fewer. `elements` are a token's numbers
/// in each.
pub fn choose(costs: &Costs, price: Price, elements: [usize; PARTS]) -> [u32; PARTS] {
    core::array::from_fn(|part| {
        let worths = worths(&costs[part], price, elements[part]);
        BITS[(1..BITS.len())
            .fold(0, |least, index| if worths[index] < worths[least] { index } else { least })]
    })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn dearer_bytes_never_take_more_bits() {
        let costs = [[0.0, -1.5, -2.0, -5.0, -6.0], [-3.0, -3.1, -3.2, -8.0, -8.1]];
        let mut last = [8; 2];
        for step in 0..60 {
            let price = Price { bits: 4.0, byte: 1e-6 * 1.4f32.powi(step) };
            let bits = choose(&costs, price, [32; 2]);
            assert!(bits[0] <= last[0] && bits[1] <= last[1], "{bits:?} after {last:?}");
            last = bits;
        }
        assert_eq!(last, [2, 2]);
        assert_eq!(choose(&costs, Price { bits: 8.0, byte: 0.0 }, [32; 2]), [8, 8]);
    }

    #[test]
    fn turning_keys_changes_no_cost_and_longer_keys_do() {
        let weights = |count: usize, from: f32| {
            (0..count).map(|at| ((at * 7 % 5) as f32 - from) * 0.3).collect()
        };
        let router = KvRouter {
            width: 2,
            gate: weights(32, 1.0),
            up: weights(32, 1.5),
            out: weights(20, 2.0),
        };
        let policy = LayerPolicy { costs: Costs::default(), router: Some(router) };
        let (width, turned) = (24, 16);
        let of = |angle: f32, scale: f32| {
            let mut keys: Vec<f32> =
                (0..4 * width).map(|at| scale * ((at * 13 % 11) as f32 - 5.0)).collect();
            for row in keys.chunks_exact_mut(width) {
                for at in 0..turned / 2 {
                    let (a, b) = (row[at], row[at + turned / 2]);
                    row[at] = a * angle.cos() - b * angle.sin();
                    row[at + turned / 2] = b * angle.cos() + a * angle.sin();
                }
            }
            let keys: Vec<f16> = keys.into_iter().map(f16::from_f32).collect();
            costs(&policy, &keys, width, turned)
        };
        let still = of(0.0, 1.0);
        let off = |other: Costs| {
            let pairs = still.as_flattened().iter().zip(other.as_flattened());
            pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        let (turned_by_one, longer) = (off(of(1.0, 1.0)), off(of(0.0, 1.5)));
        assert!(longer > 0.0 && turned_by_one < 0.02 * longer, "{turned_by_one}, {longer}");
    }
}
