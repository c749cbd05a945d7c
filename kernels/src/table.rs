//! The table of operations that a tier of kernels fills in.
//!
//! Entries are safe functions over slices. They check lengths (with `assert!`: a wrong length is
//! our own mistake), never allocate, and start no threads.

use half::f16;
use hardtack_format::encoding::{Encoding, PANEL_ROWS};

use crate::activations::{Activations, ActivationsMut};
use crate::attention::Scores;
use crate::nested::{CodeGroup, Folded};

/// A panel times one token: one number for each of its 16 rows.
pub type PanelRows = [f32; PANEL_ROWS];

/// Multiplies one panel with tokens `first_token ..` of the activations, one token for each element
/// of `out`.
///
/// `out[t][r] = sum over c of weight[r][c] * activation[first_token + t][c]`. Codes are multiplied
/// with the int8 activations, group by group. One order of operations makes all tiers equal to the
/// bit: `out += (code_sum as f32 * activation_scale) * scale + activation_sum * minimum`. Float
/// panels are multiplied with the float activations in an order of the tier's choice, the same for
/// every number of tokens.
///
/// Where [`KernelTable::streams`] is more than 1, `panel` may also be several consecutive panels
/// for one token. Then `out` has an element for each panel: what calls for each of them alone would
/// return.
pub type PanelFn =
    fn(panel: &[u8], activations: &Activations<'_>, first_token: usize, out: &mut [PanelRows]);

/// One tier of kernels.
#[derive(Clone, Copy)]
pub struct KernelTable {
    /// Its name, as `--kernels` takes it.
    pub name: &'static str,
    /// Panel times activations, by [`Encoding::slot`].
    pub panels: [PanelFn; Encoding::MATRICES.len()],
    /// Panels that are multiplied with one token side by side where a call has as many: a
    /// processor reads memory faster in several places at once. 1: calls have one panel.
    pub streams: usize,
    /// Quantizes one token's activations to int8 by groups of 64: `scale = max|x| / 127`,
    /// `code = round_half_even(x * (127 / max|x|))`, `sum = scale * sum of codes`.
    pub quantize: fn(out: ActivationsMut<'_>),
    /// `sum of x^2`
    pub sum_squares: fn(x: &[f32]) -> f32,
    /// `out = x * scale * gain`
    pub scale_gain: fn(x: &[f32], scale: f32, gain: &[f32], out: &mut [f32]),
    /// `sum of a * b`
    pub dot: fn(a: &[f32], b: &[f32]) -> f32,
    /// `sum of a * b`
    pub dot_f16: fn(a: &[f32], b: &[f16]) -> f32,
    /// `out += weight * x`
    pub add_scaled: fn(out: &mut [f32], weight: f32, x: &[f32]),
    /// `out += weight * x`
    pub add_scaled_f16: fn(out: &mut [f32], weight: f32, x: &[f16]),
    /// `scores[q][k] += sum of queries[q] * keys[k]` for every query and all keys `[keys, width]`,
    /// at most 64 of them. Each query's result is its own.
    pub score_f16: fn(queries: &[&[f32]], keys: &[f16], scores: &mut [Scores]),
    /// `out[q] += weights[q][0] * values[0] + weights[q][1] * values[1] ...`, added one after
    /// another, for values `[values, width]`, at most 64 of them; `out` is `[queries, at least
    /// width]`. Each query's result is its own.
    pub gather_f16: fn(weights: &[Scores], values: &[f16], width: usize, out: &mut [f32]),
    /// Prefetches codes, and the lowest values and ranges of their rows, that will be read soon:
    /// units of a chunk lie apart, and none is long enough for a processor to foresee the rest.
    /// Nothing is computed, and a tier may do nothing.
    pub prefetch: fn(group: &CodeGroup<'_>, scales: [&[f16]; 2]),
    /// Multiplies up to 64 inputs with the ranges of their rows of codes, and writes the products
    /// as integers: `scale = max|x * range| / 32767`, `code = round_half_even(x * range * (32767 /
    /// max|x * range|))`, zero after the last. All tiers are equal to the bit.
    pub fold: fn(inputs: &[f32], ranges: &[f16], out: &mut Folded),
    /// For every input: `out[column] += (sum over rows of input[row] * code[row][column]) as f32 *
    /// scale`. `out` is `[inputs, columns]`. All tiers are equal to the bit, for any number of
    /// inputs.
    pub code_rows: fn(group: &CodeGroup<'_>, inputs: &[Folded], out: &mut [f32]),
    /// For every input: `out[row] += (sum over columns of input[column] * code[row][column]) as
    /// f32 * scale`, for at most 64 columns. `out` is `[inputs, rows]`. All tiers are equal to the
    /// bit, for any number of inputs.
    pub code_columns: fn(group: &CodeGroup<'_>, inputs: &[Folded], out: &mut [f32]),
    /// `x = exp(x - maximum)`, and the sum of the results.
    pub exp_sum: fn(x: &mut [f32], maximum: f32) -> f32,
    /// The largest element; negative infinity of none.
    pub maximum: fn(x: &[f32]) -> f32,
    /// `gated = gated * sigmoid(gated) * up`
    pub silu_multiply: fn(gated: &mut [f32], up: &[f32]),
    /// `g = min(gated, limit)`, `u = clamp(up, -limit, limit)`: `gated = g * sigmoid(alpha * g) *
    /// (u + 1)`
    pub clamped_swiglu: fn(gated: &mut [f32], up: &[f32], alpha: f32, limit: f32),
}

impl KernelTable {
    /// The kernel for panels of this encoding.
    ///
    /// # Panics
    /// For [`Encoding::Plain`], which no matrix has.
    pub fn panel(&self, encoding: Encoding) -> PanelFn {
        self.panels[encoding.slot().expect("a matrix is never plain")]
    }
}
