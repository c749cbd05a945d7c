//! The few functions that every tier computes by the same steps, so that their results are equal to
//! the bit.

/// Below this `exp` is 0, above [`EXP_MAX`] it is `exp(EXP_MAX)`.
pub const EXP_MIN: f32 = -87.0;
/// Just below the logarithm of the largest float.
pub const EXP_MAX: f32 = 88.0;
/// 1 / ln 2
pub const LOG2_E: f32 = core::f32::consts::LOG2_E;
/// ln 2 in two parts, the first with so few bits that its product with an exponent is exact (Cody
/// and Waite).
pub const LN_2_HIGH: f32 = 0.693_359_4;
/// The rest of ln 2.
pub const LN_2_LOW: f32 = -2.121_944_4e-4;
/// `(exp(r) - 1 - r) / r^2` on |r| <= ln 2 / 2, from the highest power down (Cephes' minimax
/// coefficients).
pub const EXP_POLYNOMIAL: [f32; 6] =
    [1.987_569_2e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1];
/// Adding and subtracting 1.5 * 2^23 rounds a float below 2^22 to the nearest integer, ties to
/// even.
pub const ROUNDER: f32 = 12_582_912.0;

/// A group of activations whose largest magnitude is below this counts as zero (the inverse scale
/// would overflow).
pub const ACTIVATION_MIN: f32 = 1e-30;

/// `e^x` to about 2 units in the last place for `EXP_MIN <= x <= EXP_MAX`.
pub fn exp(x: f32) -> f32 {
    if x < EXP_MIN {
        return 0.0;
    }
    let x = if x > EXP_MAX { EXP_MAX } else { x };
    let exponent = round(x * LOG2_E);
    let r = (x - exponent * LN_2_HIGH) - exponent * LN_2_LOW;
    let mut polynomial = EXP_POLYNOMIAL[0];
    for coefficient in &EXP_POLYNOMIAL[1..] {
        polynomial = polynomial * r + coefficient;
    }
    let mantissa = (polynomial * (r * r) + r) + 1.0;
    mantissa * f32::from_bits(((exponent as i32 + 127) as u32) << 23)
}

/// The nearest integer, ties to even, for |x| < 2^22.
pub fn round(x: f32) -> f32 {
    (x + ROUNDER) - ROUNDER
}

/// The square root, correctly rounded on every processor. `core` has none yet, and vectors do.
#[inline(always)]
pub fn sqrt(x: f32) -> f32 {
    wide::f32x4::splat(x).sqrt().to_array()[0]
}

/// `1 / (1 + e^-x)`
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    extern crate std;

    #[test]
    fn exp_is_close_to_the_library() {
        let mut x = -86.9f32;
        while x < 88.0 {
            let expected = f64::from(x).exp();
            let error = ((f64::from(super::exp(x)) - expected) / expected).abs();
            assert!(error < 2.5e-7, "exp({x}): relative error {error}");
            x += 0.0137;
        }
        assert_eq!(super::exp(0.0), 1.0);
        assert_eq!(super::exp(-1e9), 0.0);
        assert_eq!(super::exp(f32::NEG_INFINITY), 0.0);
        assert!(super::exp(1e9).is_finite());
    }
}
