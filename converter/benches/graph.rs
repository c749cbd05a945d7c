//! Matrix products of the graph, forward and backward, at the shapes of a small model's training
//! step: to be compared with `models/crumb/recipe/speed.py`.

use candle_core::{DType, Device, Result, Tensor, Var};
use divan::Bencher;
use divan::counter::ItemsCount;

/// Tokens of a step, and columns and rows of the matrices: attention and a dense block of Crumb's
/// twin.
const TOKENS: usize = 4096;
const SHAPES: [(usize, usize); 3] = [(256, 256), (256, 512), (512, 256)];

fn main() {
    divan::main();
}

fn variable(rows: usize, columns: usize, dtype: DType) -> Result<Var> {
    let values = Tensor::randn(0f32, 1.0, (rows, columns), &Device::Cpu)?;
    Var::from_tensor(&values.to_dtype(dtype)?)
}

/// Items are operations, so that items a second are FLOP a second.
#[divan::bench(args = [DType::F32, DType::BF16], sample_count = 15, sample_size = 1)]
fn training_step(bencher: Bencher<'_, '_>, dtype: DType) {
    let operations: usize =
        SHAPES.iter().map(|(columns, rows)| 3 * 2 * TOKENS * rows * columns).sum();
    let pairs: Result<Vec<(Var, Var)>> = SHAPES
        .iter()
        .map(|&(columns, rows)| {
            Ok((variable(TOKENS, columns, dtype)?, variable(rows, columns, dtype)?))
        })
        .collect();
    let pairs = pairs.expect("memory");
    bencher.counter(ItemsCount::new(operations)).bench_local(|| {
        for (x, w) in &pairs {
            let product = x.matmul(&w.t().expect("a matrix")).expect("shapes that agree");
            let gradients = product.sum_all().and_then(|sum| sum.backward()).expect("gradients");
            assert!(gradients.get(x).is_some() && gradients.get(w).is_some());
        }
    });
}
