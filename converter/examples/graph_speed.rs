//! How fast the graph's matrix products are, forward and backward, at the shapes of a small model's
//! training step: one line for `models/crumb/recipe/speed.py` to be compared with.

use std::time::Instant;

use candle_core::{DType, Device, Tensor, Var};

/// Tokens of a step, and rows and columns of the matrices: attention and a dense block of Crumb's
/// twin.
const TOKENS: usize = 4096;
const SHAPES: [(usize, usize); 3] = [(256, 256), (256, 512), (512, 256)];
const RUNS: usize = 15;

fn main() -> candle_core::Result<()> {
    for dtype in [DType::F32, DType::BF16] {
        let mut seconds = Vec::new();
        for _ in 0..RUNS {
            let mut own = 0.0;
            for (columns, rows) in SHAPES {
                let x = Var::from_tensor(
                    &Tensor::randn(0f32, 1.0, (TOKENS, columns), &Device::Cpu)?.to_dtype(dtype)?,
                )?;
                let w = Var::from_tensor(
                    &Tensor::randn(0f32, 1.0, (rows, columns), &Device::Cpu)?.to_dtype(dtype)?,
                )?;
                let began = Instant::now();
                let y = x.matmul(&w.t()?)?;
                let gradients = y.sum_all()?.backward()?;
                assert!(gradients.get(&x).is_some() && gradients.get(&w).is_some());
                own += began.elapsed().as_secs_f64();
            }
            seconds.push(own);
        }
        seconds.sort_by(f64::total_cmp);
        let operations: usize =
            SHAPES.iter().map(|(columns, rows)| 3 * 2 * TOKENS * rows * columns).sum();
        println!("candle {dtype:?}: {:.1} GFLOP/s", operations as f64 / seconds[RUNS / 2] / 1e9);
    }
    Ok(())
}
