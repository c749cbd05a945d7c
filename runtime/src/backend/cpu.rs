//! Matrices times tokens on the CPU: the panels of any number of matrices shared out over the threads.

use hardtack_format::TensorRef;
use hardtack_format::encoding::PANEL_ROWS;
use hardtack_kernels::{Activations, KernelTable, PanelRows};
use rayon::prelude::*;

/// Work below this many bytes of weights is not worth another thread.
const SPLIT_BYTES: u64 = 32 * 1024;
/// Tokens that one kernel call may take: what it gives stays in the first-level cache.
const TOKENS_PER_CALL: usize = 16;

/// One matrix to be multiplied with consecutive tokens of the inputs.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// The matrix.
    pub tensor: TensorRef,
    /// Which of a stack of matrices.
    pub stack: u32,
    /// First row of the inputs.
    pub first_token: u32,
    /// How many of them.
    pub tokens: u32,
}

impl Product {
    /// The first matrix of a tensor, with the first `tokens` rows of the inputs.
    pub const fn new(tensor: TensorRef, tokens: usize) -> Self {
        Self { tensor, stack: 0, first_token: 0, tokens: tokens as u32 }
    }

    /// Panels of the matrix.
    const fn panels(&self) -> usize {
        (self.tensor.rows as usize).div_ceil(PANEL_ROWS)
    }

    /// Panel results that it gives, one for each panel and token.
    pub const fn results(&self) -> usize {
        self.panels() * self.tokens as usize
    }
}

/// The CPU: one tier of kernels, some threads, and the bytes of the blob.
#[derive(Clone, Copy)]
pub struct Cpu<'a> {
    /// The tier.
    pub kernels: &'static KernelTable,
    /// The blob's bytes.
    pub file: &'a [u8],
    /// Threads that work is split for.
    pub threads: usize,
}

impl<'a> Cpu<'a> {
    /// A vector of the blob as floats.
    pub fn vector(&self, tensor: &TensorRef) -> &'a [f32] {
        let start = tensor.offset as usize;
        // The file's first byte, its sections and their tensors are aligned, so the cast cannot fail.
        bytemuck::cast_slice(&self.file[start..start + tensor.bytes as usize])
    }

    /// Calls `work(index, chunk)` for every chunk of `width` elements, the chunks shared out over the threads.
    pub fn for_each_chunk(&self, out: &mut [f32], width: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
        if self.threads == 1 {
            out.chunks_exact_mut(width).enumerate().for_each(|(index, chunk)| work(index, chunk));
        } else {
            out.par_chunks_exact_mut(width).enumerate().for_each(|(index, chunk)| work(index, chunk));
        }
    }

    /// Computes all products. Results stand in `staging` product after product, each `[panels, tokens]`.
    ///
    /// # Panics
    /// If `staging` is not as long as the products' results together.
    pub fn multiply(&self, products: &[Product], activations: &Activations<'_>, staging: &mut [PanelRows]) {
        let results: usize = products.iter().map(Product::results).sum();
        assert_eq!(staging.len(), results, "staging");
        let bytes: u64 = products.iter().map(|product| product.tensor.bytes / u64::from(product.tensor.stack)).sum();
        let pieces = if self.threads == 1 { 1 } else { (bytes / SPLIT_BYTES).clamp(1, self.threads as u64 * 4) };
        let panels = products.iter().map(Product::panels).sum();
        let span = Span { products, skipped: 0, panels };
        self.split(span, activations, staging, pieces as usize);
    }

    /// Halves the work until it is one piece: neither the split nor the number of threads changes any result.
    fn split(&self, span: Span<'_>, activations: &Activations<'_>, staging: &mut [PanelRows], pieces: usize) {
        if pieces <= 1 || span.panels <= 1 {
            return self.run(span, activations, staging);
        }
        let (first, second, results) = span.halves();
        let (first_staging, second_staging) = staging.split_at_mut(results);
        rayon::join(
            || self.split(first, activations, first_staging, pieces / 2),
            || self.split(second, activations, second_staging, pieces - pieces / 2),
        );
    }

    fn run(&self, span: Span<'_>, activations: &Activations<'_>, mut staging: &mut [PanelRows]) {
        let (mut skip, mut left) = (span.skipped, span.panels);
        for product in span.products {
            let panels = (product.panels() - skip).min(left);
            if panels > 0 {
                let (own, rest) = staging.split_at_mut(panels * product.tokens as usize);
                self.run_product(product, skip, activations, own);
                staging = rest;
            }
            left -= panels;
            skip = 0;
        }
    }

    fn run_product(&self, product: &Product, first: usize, activations: &Activations<'_>, staging: &mut [PanelRows]) {
        let tensor = &product.tensor;
        let panel_bytes = tensor.encoding.panel_bytes(tensor.columns) as usize;
        let start = tensor.offset as usize + (product.stack as usize * product.panels() + first) * panel_bytes;
        let kernel = self.kernels.panel(tensor.encoding);
        let panels = self.file[start..].chunks_exact(panel_bytes);
        for (panel, results) in panels.zip(staging.chunks_exact_mut(product.tokens as usize)) {
            for (block, out) in results.chunks_mut(TOKENS_PER_CALL).enumerate() {
                kernel(panel, activations, product.first_token as usize + block * TOKENS_PER_CALL, out);
            }
        }
    }
}

/// Consecutive panels of a list of products.
#[derive(Clone, Copy)]
struct Span<'a> {
    products: &'a [Product],
    /// Panels of the first product that belong to another span.
    skipped: usize,
    panels: usize,
}

impl<'a> Span<'a> {
    /// Two spans of half the panels, and how many results belong to the first.
    fn halves(self) -> (Self, Self, usize) {
        let half = self.panels / 2;
        let (mut left, mut results, mut skipped) = (half, 0, self.skipped);
        for (index, product) in self.products.iter().enumerate() {
            let own = product.panels() - skipped;
            if own > left {
                let second =
                    Self { products: &self.products[index..], skipped: skipped + left, panels: self.panels - half };
                return (Self { panels: half, ..self }, second, results + left * product.tokens as usize);
            }
            left -= own;
            results += own * product.tokens as usize;
            skipped = 0;
        }
        unreachable!("half of the panels is fewer than all of them")
    }
}

/// Copies one product's results to rows `[tokens, rows]`, adding a bias to each.
pub fn collect(product: &Product, staging: &[PanelRows], bias: Option<&[f32]>, out: &mut [f32]) {
    let (rows, tokens) = (product.tensor.rows as usize, product.tokens as usize);
    assert!(staging.len() == product.results() && out.len() == rows * tokens, "one product");
    for (token, out) in out.chunks_exact_mut(rows).enumerate() {
        for (panel, out) in out.chunks_mut(PANEL_ROWS).enumerate() {
            out.copy_from_slice(&staging[panel * tokens + token][..out.len()]);
        }
        if let Some(bias) = bias {
            out.iter_mut().zip(bias).for_each(|(out, bias)| *out += bias);
        }
    }
}
