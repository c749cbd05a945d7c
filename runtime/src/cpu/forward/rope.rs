//! Rotary position embedding (arXiv 2104.09864): turns pairs of elements by an angle that grows
//! with the position.

use hardtack_kernels::rope::{self, Turn};

/// The turns of one position, one for each frequency.
pub fn turns(position: usize, frequencies: &[f32], out: &mut [Turn]) {
    out.iter_mut()
        .zip(rope::turns(position, frequencies, f64::sin_cos))
        .for_each(|(out, turn)| *out = turn);
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
