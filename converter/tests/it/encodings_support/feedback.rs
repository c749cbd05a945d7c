//! Rounding with the errors of earlier columns made good by later ones (GPTQ, arXiv 2210.17323),
//! for any levels. Ranges are those of plain rounding: the converter's own feedback searches them
//! again as it goes, but only for the shipped form.

use hardtack_converter::quantize::{DAMPING, Hessian};

/// How errors of earlier columns (rows) move the targets of later ones, `[columns, columns]`:
/// `R[i,j] / R[j,j]` with `H = R RT`, `R` upper triangular (see the converter's feedback).
pub fn carry(hessian: &Hessian) -> Vec<f32> {
    let columns = hessian.columns();
    let damping = DAMPING * hessian.mean_diagonal();
    let mut factor = vec![0.0f64; columns * columns];
    for column in (0..columns).rev() {
        let (above, own) = factor.split_at_mut(column * columns);
        let own = &mut own[..columns];
        let known: f64 = own[column + 1..].iter().map(|entry| entry * entry).sum();
        let rest = f64::from(hessian.at(column, column)) + damping - known;
        assert!(rest > 0.0, "a damped Hessian is positive definite");
        own[column] = rest.sqrt();
        for (row, entries) in above.chunks_exact_mut(columns).enumerate() {
            let known: f64 =
                entries[column + 1..].iter().zip(&own[column + 1..]).map(|(a, b)| a * b).sum();
            entries[column] = (f64::from(hessian.at(row, column)) - known) / own[column];
        }
    }
    let diagonal: Vec<f64> = (0..columns).map(|column| factor[column * (columns + 1)]).collect();
    factor.iter().enumerate().map(|(at, entry)| (entry / diagonal[at % columns]) as f32).collect()
}

/// Rounds one row; `round(column, target)` returns the level.
pub fn round_in_turn(weights: &mut [f32], carry: &[f32], round: impl Fn(usize, f32) -> f32) {
    let columns = weights.len();
    let mut moves = vec![0.0f32; columns];
    for column in 0..columns {
        let kept = round(column, weights[column] + moves[column]);
        let error = weights[column] - kept;
        let shares = &carry[column * columns..][column + 1..columns];
        moves[column + 1..]
            .iter_mut()
            .zip(shares)
            .for_each(|(target, share)| *target += error * share);
        weights[column] = kept;
    }
}
