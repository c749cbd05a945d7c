//! From the results of panels to rows.

use hardtack_kernels::PanelRows;

/// Tokens that are collected together: their results of a panel are side by side, and their
/// rows in the first cache.
pub const COLLECTED: usize = 16;

/// The results of one product.
#[derive(Clone, Copy, Debug)]
pub struct Results<'a> {
    /// `[panels, tokens]`
    pub panels: &'a [PanelRows],
    /// Tokens of the product.
    pub tokens: usize,
    /// What is added to every row.
    pub bias: Option<&'a [f32]>,
}

impl Results<'_> {
    /// Copies the results of consecutive tokens from `first` on to rows `[tokens, width]`, and adds
    /// the bias.
    pub fn collect(&self, first: usize, width: usize, out: &mut [f32]) {
        for (block, out) in out.chunks_mut(COLLECTED * width).enumerate() {
            let first = first + block * COLLECTED;
            let tokens = first..first + out.len() / width;
            for (panel, results) in self.panels.chunks_exact(self.tokens).enumerate() {
                for (row, results) in out.chunks_exact_mut(width).zip(&results[tokens.clone()]) {
                    let place = &mut row[panel * results.len()..];
                    // A whole panel in one move: its length is known here.
                    match place.first_chunk_mut() {
                        Some(whole) => *whole = *results,
                        None => place.copy_from_slice(&results[..place.len()]),
                    }
                }
            }
            if let Some(bias) = self.bias {
                out.chunks_exact_mut(width)
                    .flat_map(|row| row.iter_mut().zip(bias))
                    .for_each(|(out, bias)| *out += bias);
            }
        }
    }
}
