//! Panels of floats: the loop over columns and tokens, around what each encoding knows: to widen
//! eight rows of a column.

use core::arch::x86_64::{
    __m256, _mm256_add_ps, _mm256_fmadd_ps, _mm256_set1_ps, _mm256_setzero_ps,
};

use hardtack_kernels::{Activations, PanelRows};

use super::memory::{prefetch_ahead, store_floats};

/// Sums of even and of odd columns: two chains hide the latency of the multiplication, and their
/// order does not depend on how many tokens are multiplied together.
const CHAINS: usize = 2;

/// Multiplies a panel with the tokens. `BYTES` are those of eight rows of a column, which `widen`
/// turns into floats.
///
/// One token takes all 16 rows at once and so reads the panel in order. Four tokens take eight
/// rows, then the other eight: sums for more would not fit in the registers.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn panel<const BYTES: usize>(
    panel: &[u8],
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows],
    widen: impl Fn(&[u8; BYTES]) -> __m256,
) {
    // [columns, 2] halves of columns, of eight rows each
    let (halves, rest) = panel.as_chunks();
    if halves.len() > 2 * activations.columns {
        assert!(
            halves.len() == 2 * activations.columns * out.len() && rest.is_empty(),
            "a panel for each result"
        );
        for (out, halves) in out.iter_mut().zip(halves.chunks_exact(2 * activations.columns)) {
            tokens::<BYTES, 1, 2>(
                halves,
                0,
                activations,
                first_token,
                core::array::from_mut(out),
                &widen,
            );
        }
        return;
    }
    assert!(halves.len() == 2 * activations.columns && rest.is_empty(), "one panel");
    let mut token = first_token;
    let (fours, ones) = out.as_chunks_mut();
    for out in fours {
        tokens::<BYTES, 4, 1>(halves, 0, activations, token, out, &widen);
        tokens::<BYTES, 4, 1>(halves, 1, activations, token, out, &widen);
        token += 4;
    }
    for out in ones.as_chunks_mut().0 {
        tokens::<BYTES, 1, 2>(halves, 0, activations, token, out, &widen);
        token += 1;
    }
}

/// Multiplies `HALVES` halves from `first_half` of every column with these tokens.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn tokens<const BYTES: usize, const TOKENS: usize, const HALVES: usize>(
    columns: &[[u8; BYTES]],
    first_half: usize,
    activations: &Activations<'_>,
    first_token: usize,
    out: &mut [PanelRows; TOKENS],
    widen: &impl Fn(&[u8; BYTES]) -> __m256,
) {
    let (columns, _) = columns.as_chunks::<2>();
    let (blocks, rest) = columns.as_chunks::<CHAINS>();
    // Cut to the one length, so that the loop below needs no checks.
    let mut inputs: [&[[f32; CHAINS]]; TOKENS] = [&[]; TOKENS];
    let mut inputs_rest: [&[f32]; TOKENS] = [&[]; TOKENS];
    for token in 0..TOKENS {
        let (own, own_rest) =
            activations.token_floats(first_token + token)[..columns.len()].as_chunks();
        inputs[token] = &own[..blocks.len()];
        inputs_rest[token] = own_rest;
    }
    let mut sums = [[[_mm256_setzero_ps(); CHAINS]; HALVES]; TOKENS];
    for block in 0..blocks.len() {
        if TOKENS == 1 {
            prefetch_ahead(blocks[block].as_flattened().as_flattened());
        }
        for chain in 0..CHAINS {
            for half in 0..HALVES {
                let weights = widen(&blocks[block][chain][first_half + half]);
                for token in 0..TOKENS {
                    let input = _mm256_set1_ps(inputs[token][block][chain]);
                    sums[token][half][chain] =
                        _mm256_fmadd_ps(weights, input, sums[token][half][chain]);
                }
            }
        }
    }
    for (chain, column) in rest.iter().enumerate() {
        for half in 0..HALVES {
            let weights = widen(&column[first_half + half]);
            for token in 0..TOKENS {
                let input = _mm256_set1_ps(inputs_rest[token][chain]);
                sums[token][half][chain] =
                    _mm256_fmadd_ps(weights, input, sums[token][half][chain]);
            }
        }
    }
    for token in 0..TOKENS {
        let (rows, _) = out[token].as_chunks_mut();
        for half in 0..HALVES {
            let [even, odd] = sums[token][half];
            store_floats(&mut rows[first_half + half], _mm256_add_ps(even, odd));
        }
    }
}
