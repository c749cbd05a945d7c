//! The angles of rotary position embedding (arXiv 2104.09864), the same on every device.

/// Sine and cosine of the angle by which a pair of elements is turned.
pub type Turn = [f32; 2];

/// Positions from here on have angles in double precision: in single precision a million tokens
/// would be off by a sixteenth of a turn's radian.
const SINGLE_MAX: usize = 1 << 17;

/// The turns of one position, one for each frequency. `sin_cos` is the caller's, as `core` has
/// none.
///
/// Up to 2^17 positions the angle is rounded to single precision, as the reference implementations
/// do. Its sine and cosine are taken in double precision, so that they hardly depend on whose
/// library computes them.
pub fn turns(
    position: usize,
    frequencies: &[f32],
    sin_cos: impl Fn(f64) -> (f64, f64),
) -> impl Iterator<Item = Turn> {
    frequencies.iter().map(move |frequency| {
        let angle = if position < SINGLE_MAX {
            f64::from(position as f32 * frequency)
        } else {
            position as f64 * f64::from(*frequency)
        };
        let (sine, cosine) = sin_cos(angle);
        [sine as f32, cosine as f32]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The angle alone, to see its rounding.
    fn angle(position: usize, frequency: f32) -> f32 {
        let [_, angle] = turns(position, &[frequency], |angle| (0.0, angle)).next().unwrap();
        angle
    }

    #[test]
    fn angles_are_single_up_to_the_limit_and_double_after() {
        // 0.1 is not a float: the product of the rounded factors shows where rounding happens.
        let at = SINGLE_MAX - 1;
        assert_eq!(angle(at, 0.1), at as f32 * 0.1);
        let wide = turns(1_000_003, &[1.000_000_1], |angle| (angle - 1_000_003.0, 0.0));
        let [rest, _] = wide.into_iter().next().unwrap();
        assert!((rest - 0.119_209).abs() < 1e-3, "{rest}");
        let rounded = (1_000_003.0_f32 * 1.000_000_1 - 1_000_003.0) as f64;
        assert!((rounded - 0.119_209).abs() > 1e-3, "single precision cannot say it: {rounded}");
    }
}
