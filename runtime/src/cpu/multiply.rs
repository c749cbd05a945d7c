//! Matrices times tokens on the processor: the panels of any number of matrices shared out over the
//! threads.

use std::array::from_fn;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use hardtack_format::TensorRef;
use hardtack_format::encoding::PANEL_ROWS;
use hardtack_kernels::{Activations, KernelTable, PanelRows};

use super::buffer::{Buffer, List, buffers};
use super::pool::Pool;
use super::results::Results;
use super::rows::{Cut, Rows};

/// Most pieces of products.
const PIECES_MAX: usize = 256;
/// Most pieces of rows.
const ROW_PIECES_MAX: usize = 64;
/// Pieces for each thread: enough that one which is held up leaves little to wait for.
const PIECES_EACH: usize = 8;
/// Work below this cost, in bytes that memory could deliver meanwhile, is not worth another thread:
/// about 2 µs.
const PIECE_COST: u64 = 16 * 1024;
/// What multiplying a panel's column with one more token costs: 16 products, which take as long as
/// these bytes from memory.
const TOKEN_COST: u64 = 2;
/// What moving a number from a product's results to its row costs.
pub const COLLECT_COST: usize = 4;
/// Tokens that one kernel call may take: its results stay in the first-level cache.
const TOKENS_PER_CALL: usize = 24;

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

    /// Whether it reads the inputs' codes, and not their floats.
    pub const fn reads_codes(&self) -> bool {
        self.tensor.encoding.code_bits().is_some()
    }

    /// Panels of the matrix.
    const fn panels(&self) -> usize {
        (self.tensor.rows as usize).div_ceil(PANEL_ROWS)
    }

    /// What a panel of it costs, in bytes that memory could deliver meanwhile.
    const fn panel_cost(&self) -> u64 {
        let columns = self.tensor.columns;
        self.tensor.encoding.panel_bytes(columns) + TOKEN_COST * columns as u64 * self.tokens as u64
    }

    /// Its panel results, one for each panel and token.
    pub const fn results(&self) -> usize {
        self.panels() * self.tokens as usize
    }
}

buffers! {
    /// What products are listed in, and their results before they are collected.
    pub struct Workspace {
        /// The products that are multiplied together.
        pub list: List<Product>,
        /// Their results.
        pub staging: Buffer<PanelRows>,
    }
}

impl Workspace {
    /// Has room for a list of products with as many panel results together.
    pub fn need(&mut self, products: usize, results: usize) {
        self.list.need(products);
        self.staging.need(results);
    }
}

/// The CPU: one tier of kernels, some threads, and the bytes of the blob.
#[derive(Clone, Copy)]
pub struct Cpu<'a> {
    /// The tier.
    pub kernels: &'static KernelTable,
    /// The blob's bytes.
    pub file: &'a [u8],
    /// The threads.
    pub pool: &'a Pool,
}

impl<'a> Cpu<'a> {
    /// A vector of the blob as floats.
    pub fn vector(&self, tensor: &TensorRef) -> &'a [f32] {
        let start = tensor.offset as usize;
        // The file's first byte, its sections and their tensors are aligned, so the cast cannot
        // fail.
        bytemuck::cast_slice(&self.file[start..start + tensor.bytes as usize])
    }

    /// Calls `work(index, chunk)` for every chunk of `width` elements, the chunks shared out over
    /// the threads. `cost` is about what a chunk costs, in bytes that memory could deliver
    /// meanwhile.
    pub fn for_each_chunk<T: Send>(
        &self,
        out: &mut [T],
        width: usize,
        cost: usize,
        work: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let chunks = out.len() / width;
        self.for_rows(chunks, cost, Rows::new(out, width), |part, mut chunks| {
            part.zip(chunks.iter_mut()).for_each(|(index, chunk)| work(index, chunk));
        });
    }

    /// Cuts the first `count` of the rows into parts and calls `work(range, part)` for each of
    /// them, shared out over the threads. `cost` is about what a row costs, in bytes that memory
    /// could deliver meanwhile.
    pub fn for_rows<P: Cut>(
        &self,
        count: usize,
        cost: usize,
        rows: P,
        work: impl Fn(Range<usize>, P) + Sync,
    ) {
        let pieces = self.pieces((count * cost) as u64).min(ROW_PIECES_MAX).min(count);
        if pieces <= 1 {
            return work(0..count, rows.cut(count).0);
        }
        let range = |piece: usize| count * piece / pieces..count * (piece + 1) / pieces;
        let mut rest = Some(rows);
        let parts: [Mutex<Option<P>>; ROW_PIECES_MAX] = from_fn(|piece| {
            let own =
                rest.take().filter(|_| piece < pieces).map(|rows| rows.cut(range(piece).len()));
            Mutex::new(own.map(|(own, others)| {
                rest = Some(others);
                own
            }))
        });
        self.pool.run(pieces, &|piece| {
            let part = parts[piece].lock().unwrap_or_else(PoisonError::into_inner).take();
            work(range(piece), part.expect("every piece is run once"));
        });
    }

    /// Computes all products. Their results are at the start of `staging`, product after product,
    /// each `[panels, tokens]`.
    pub fn multiply<'s>(
        &self,
        products: &[Product],
        activations: &Activations<'_>,
        staging: &'s mut [PanelRows],
    ) -> &'s [PanelRows] {
        let results: usize = products.iter().map(Product::results).sum();
        let staging = &mut staging[..results];
        let total: u64 =
            products.iter().map(|product| product.panels() as u64 * product.panel_cost()).sum();
        let pieces = self.pieces(total);
        if pieces == 1 {
            self.fill(products, 0, activations, staging);
            return staging;
        }
        let ends = cut(products, total, pieces);
        // Neither where it is cut nor the number of threads changes any result.
        self.pool.split(staging, ends.as_slice(), |piece, part| {
            self.fill(products, ends.start(piece), activations, part)
        });
        staging
    }

    /// Copies one product's results to rows `[tokens, rows]`, adding a bias to each.
    pub fn collect(
        &self,
        product: &Product,
        staging: &[PanelRows],
        bias: Option<&[f32]>,
        out: &mut [f32],
    ) {
        let (rows, tokens) = (product.tensor.rows as usize, product.tokens as usize);
        assert!(staging.len() == product.results() && out.len() == rows * tokens, "one product");
        let results = Results { panels: staging, tokens, bias };
        self.for_rows(tokens, COLLECT_COST * rows, Rows::new(out, rows), |range, mut out| {
            results.collect(range.start, rows, out.elements());
        });
    }

    /// How many pieces work of this cost is worth.
    fn pieces(&self, cost: u64) -> usize {
        match self.pool.threads() {
            1 => 1,
            threads => (cost / PIECE_COST).clamp(1, (threads * PIECES_EACH).min(PIECES_MAX) as u64)
                as usize,
        }
    }

    /// Fills `staging` with the products' results from `first` on.
    fn fill(
        &self,
        products: &[Product],
        first: usize,
        activations: &Activations<'_>,
        mut staging: &mut [PanelRows],
    ) {
        let mut skip = first;
        for product in products {
            // A piece may be empty.
            if staging.is_empty() {
                break;
            }
            let results = product.results();
            if skip < results {
                let (own, rest) = staging.split_at_mut(staging.len().min(results - skip));
                self.run_product(product, skip / product.tokens as usize, activations, own);
                staging = rest;
            }
            skip = skip.saturating_sub(results);
        }
    }

    fn run_product(
        &self,
        product: &Product,
        first: usize,
        activations: &Activations<'_>,
        staging: &mut [PanelRows],
    ) {
        let tensor = &product.tensor;
        let panel_bytes = tensor.encoding.panel_bytes(tensor.columns) as usize;
        let start = tensor.offset as usize
            + (product.stack as usize * product.panels() + first) * panel_bytes;
        let kernel = self.kernels.panel(tensor.encoding);
        if product.tokens == 1 && self.kernels.streams > 1 {
            let panels = &self.file[start..start + staging.len() * panel_bytes];
            return kernel(panels, activations, product.first_token as usize, staging);
        }
        let panels = self.file[start..].chunks_exact(panel_bytes);
        for (panel, results) in panels.zip(staging.chunks_exact_mut(product.tokens as usize)) {
            for (block, out) in results.chunks_mut(TOKENS_PER_CALL).enumerate() {
                kernel(
                    panel,
                    activations,
                    product.first_token as usize + block * TOKENS_PER_CALL,
                    out,
                );
            }
        }
    }
}

/// Where work is cut into pieces: one past the last element of each.
struct Ends {
    count: usize,
    ends: [usize; PIECES_MAX],
}

impl Ends {
    const fn new() -> Self {
        Self { count: 0, ends: [0; PIECES_MAX] }
    }

    fn push(&mut self, end: usize) {
        self.ends[self.count] = end;
        self.count += 1;
    }

    fn as_slice(&self) -> &[usize] {
        &self.ends[..self.count]
    }

    const fn start(&self, piece: usize) -> usize {
        if piece == 0 { 0 } else { self.ends[piece - 1] }
    }
}

/// Cuts the results of products, which cost `total`, into pieces of whole panels and about equal
/// cost.
fn cut(products: &[Product], total: u64, pieces: usize) -> Ends {
    let mut ends = Ends::new();
    let (mut results, mut cost) = (0, 0);
    for product in products {
        let (panels, panel_cost) = (product.panels() as u64, product.panel_cost());
        while ends.count + 1 < pieces {
            let wanted =
                (total * (ends.count as u64 + 1) / pieces as u64 - cost).div_ceil(panel_cost);
            if wanted > panels {
                break;
            }
            ends.push(results + wanted as usize * product.tokens as usize);
        }
        results += product.results();
        cost += panels * panel_cost;
    }
    while ends.count < pieces {
        ends.push(results);
    }
    ends
}
