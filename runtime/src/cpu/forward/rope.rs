//! Rotary position embedding (arXiv 2104.09864): turns pairs of elements by an angle that grows
//! with the position.

use crate::cpu::scratch::Turn;

/// Positions from here on are turned by angles in double precision: in single precision a million
/// tokens would be off by a sixteenth of a turn's radian.
const SINGLE_MAX: usize = 1 << 17;

/// The turns of one position, one for each frequency.
pub fn turns(position: usize, frequencies: &[f32], out: &mut [Turn]) {
    for (turn, frequency) in out.iter_mut().zip(frequencies) {
        // The angle is rounded to single precision as the reference implementations do, as long as
        // that costs nothing; its sine and cosine are then taken in double precision, so that they
        // hardly depend on whose library computes them.
        let angle = if position < SINGLE_MAX {
            f64::from(position as f32 * frequency)
        } else {
            position as f64 * f64::from(*frequency)
        };
        let (sine, cosine) = angle.sin_cos();
        *turn = [sine as f32, cosine as f32];
    }
}

/// Turns element `i` with element `i + n/2` of `head[..n]`. `scale` multiplies the result (YaRN's
/// attention factor).
pub fn rotate(head: &mut [f32], turns: &[Turn], scale: f32) {
    let (first, second) = head.split_at_mut(head.len() / 2);
    for ((a, b), [sine, cosine]) in first.iter_mut().zip(second).zip(turns) {
        let (sine, cosine) = (sine * scale, cosine * scale);
        (*a, *b) = (*a * cosine - *b * sine, *b * cosine + *a * sine);
    }
}
