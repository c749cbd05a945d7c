//! Rotary position embedding (arXiv 2104.09864): turns pairs of elements by an angle that grows with the position.

use crate::scratch::Turn;

/// The turns of one position, one for each frequency.
pub fn turns(position: usize, frequencies: &[f32], out: &mut [Turn]) {
    for (turn, frequency) in out.iter_mut().zip(frequencies) {
        // The angle is rounded to single precision as the reference implementations do; its sine and cosine are then taken
        // in double precision, so that they hardly depend on whose library computes them.
        let (sine, cosine) = f64::from(position as f32 * frequency).sin_cos();
        *turn = [sine as f32, cosine as f32];
    }
}

/// Turns element `i` with element `i + n/2` of `head[..n]`. `scale` multiplies the result (YaRN's attention factor).
pub fn rotate(head: &mut [f32], turns: &[Turn], scale: f32) {
    let (first, second) = head.split_at_mut(head.len() / 2);
    for ((a, b), [sine, cosine]) in first.iter_mut().zip(second).zip(turns) {
        let (sine, cosine) = (sine * scale, cosine * scale);
        (*a, *b) = (*a * cosine - *b * sine, *b * cosine + *a * sine);
    }
}
