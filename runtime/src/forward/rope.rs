//! Rotary position embedding (arXiv 2104.09864): turns pairs of elements by an angle that grows with the position.

/// Turns element `i` with element `i + n/2` of each `head[..n]` by `position * frequencies[i]`.
///
/// `scale` multiplies the result (YaRN's attention factor).
pub fn rotate(head: &mut [f32], position: usize, frequencies: &[f32], scale: f32) {
    let (first, second) = head.split_at_mut(head.len() / 2);
    for ((a, b), frequency) in first.iter_mut().zip(second).zip(frequencies) {
        // The angle is taken as the reference implementations take it, in single precision.
        let (sine, cosine) = (position as f32 * frequency).sin_cos();
        let (sine, cosine) = (sine * scale, cosine * scale);
        (*a, *b) = (*a * cosine - *b * sine, *b * cosine + *a * sine);
    }
}
