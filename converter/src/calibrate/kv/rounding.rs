//! A chunk of keys, values or latents as the runtime's ring returns it at each number of bits.

use candle_core::{Device, Result, Tensor};
use half::f16;
use hardtack_format::kv_policy::BITS;
use hardtack_kernels::hadamard::hadamard;
use hardtack_kernels::nested::{quantize_row, value};

/// What shares a lowest value and a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaled {
    /// One channel of all tokens of the chunk: keys and latents.
    Channel,
    /// All channels of a token, rotated: values.
    Token,
}

/// A chunk `[heads, tokens, width]` at each of the [`BITS`].
pub fn rounded(chunk: &Tensor, scaled: Scaled) -> Result<Vec<Tensor>> {
    let (heads, tokens, width) = chunk.dims3()?;
    let mut halves = chunk.flatten_all()?.to_vec1::<f32>()?;
    if scaled == Scaled::Token {
        halves.chunks_exact_mut(width).for_each(hadamard);
    }
    halves.iter_mut().for_each(|value| *value = f16::from_f32(*value).to_f32());
    let mut all = vec![vec![0.0; halves.len()]; BITS.len()];
    let mut codes = vec![0; tokens.max(width)];
    for head in 0..heads {
        let rows = if scaled == Scaled::Channel { width } else { tokens };
        for row in 0..rows {
            let columns = heads * tokens * width / heads / rows;
            let at = |column: usize| match scaled {
                Scaled::Channel => (head * tokens + column) * width + row,
                Scaled::Token => (head * tokens + row) * width + column,
            };
            let scale = quantize_row((0..columns).map(|column| halves[at(column)]), &mut codes);
            for (all, bits) in all.iter_mut().zip(BITS) {
                for (column, &code) in codes[..columns].iter().enumerate() {
                    all[at(column)] = value(scale, bits, code >> (8 - bits));
                }
            }
        }
    }
    let back = |mut values: Vec<f32>| {
        if scaled == Scaled::Token {
            values.chunks_exact_mut(width).for_each(hadamard);
        }
        Tensor::from_vec(values, (heads, tokens, width), &Device::Cpu)
    };
    all.into_iter().map(back).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_bits_are_closer_and_eight_are_close() {
        let values: Vec<f32> =
            (0..2 * 64 * 32).map(|at| ((at * 37 % 101) as f32 - 50.0) * 0.02).collect();
        let chunk = Tensor::from_vec(values.clone(), (2, 64, 32), &Device::Cpu).unwrap();
        for scaled in [Scaled::Channel, Scaled::Token] {
            let mut last = f32::INFINITY;
            for (rounded, bits) in rounded(&chunk, scaled).unwrap().into_iter().zip(BITS) {
                let rounded = rounded.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let off = rounded.iter().zip(&values).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
                let mean = (off / values.len() as f32).sqrt();
                assert!(
                    mean < last && mean < 2.5 / (1 << bits) as f32,
                    "{scaled:?}, {bits} bits: {mean}"
                );
                last = mean;
            }
        }
    }
}
