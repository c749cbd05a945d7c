//! SentencePiece BPE has scores where Hugging Face's BPE has a list of merges: this makes the list
//! from the scores.

use std::collections::HashMap;

/// Every way to make a piece from two others, best score first; among equal scores in the order of
/// the pieces, and for one piece in the order of its parts. The published `tokenizer.json` of
/// Mistral has exactly this order (a later version of `transformers/convert_slow_tokenizer.py` also
/// sorts equal scores by length).
pub fn from_scores<'a>(
    pieces: &[(&'a str, f32)],
    ids: &HashMap<&str, u32>,
) -> Vec<(&'a str, &'a str)> {
    let mut merges = Vec::new();
    for &(piece, score) in pieces {
        let mut splits: Vec<_> = piece
            .char_indices()
            .skip(1)
            .filter_map(|(at, _)| {
                let (left, right) = piece.split_at(at);
                Some((*ids.get(left)?, *ids.get(right)?, left, right))
            })
            .collect();
        splits.sort_unstable();
        merges.extend(splits.into_iter().map(|(_, _, left, right)| (score, left, right)));
    }
    // A stable sort, as Python's is.
    merges.sort_by(|a, b| b.0.total_cmp(&a.0));
    merges.into_iter().map(|(_, left, right)| (left, right)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_score_first_then_order_of_the_parts() {
        let pieces = [("a", 0.0), ("b", 0.0), ("ab", -2.0), ("aba", -1.0), ("ba", -3.0)];
        let ids = pieces.iter().enumerate().map(|(id, piece)| (piece.0, id as u32)).collect();
        let merges = from_scores(&pieces, &ids);
        assert_eq!(merges, [("a", "ba"), ("ab", "a"), ("a", "b"), ("b", "a")]);
    }
}
