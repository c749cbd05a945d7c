//! The Hadamard transform of an input vector in blocks of 64 or 128, without its scale, which
//! weights can have.

use core::arch::x86_64::{
    __m256, _mm256_add_ps, _mm256_fmadd_ps, _mm256_permute_ps, _mm256_permute2f128_ps,
    _mm256_setr_ps, _mm256_sub_ps,
};

use crate::memory::{load_floats, store_floats};

/// Turns the blocks of `VECTORS` (8 or 16) vectors of 8 floats.
#[target_feature(enable = "avx2,fma,f16c")]
pub fn turn<const VECTORS: usize>(values: &mut [f32]) {
    let (vectors, rest) = values.as_chunks_mut::<8>();
    let (blocks, tail) = vectors.as_chunks_mut::<VECTORS>();
    assert!(rest.is_empty() && tail.is_empty(), "whole blocks");
    for block in blocks {
        let mut x: [__m256; VECTORS] = core::array::from_fn(|at| within(load_floats(&block[at])));
        let mut apart = 1;
        while apart < VECTORS {
            for first in (0..VECTORS).filter(|at| at & apart == 0) {
                let (a, b) = (x[first], x[first + apart]);
                (x[first], x[first + apart]) = (_mm256_add_ps(a, b), _mm256_sub_ps(a, b));
            }
            apart *= 2;
        }
        for (out, x) in block.iter_mut().zip(x) {
            store_floats(out, x);
        }
    }
}

/// The transform of the eight elements of one vector.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn within(x: __m256) -> __m256 {
    let one = _mm256_setr_ps(1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0);
    let two = _mm256_setr_ps(1.0, 1.0, -1.0, -1.0, 1.0, 1.0, -1.0, -1.0);
    let four = _mm256_setr_ps(1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0);
    let x = _mm256_fmadd_ps(x, one, _mm256_permute_ps::<0b10_11_00_01>(x));
    let x = _mm256_fmadd_ps(x, two, _mm256_permute_ps::<0b01_00_11_10>(x));
    _mm256_fmadd_ps(x, four, _mm256_permute2f128_ps::<0x01>(x, x))
}
