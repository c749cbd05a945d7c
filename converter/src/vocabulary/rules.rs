//! Which tokens end a generation.

use hardtack_format::vocabulary::{ENDS_MAX, TokenKind};

/// Names of control tokens that end a turn or a text in every family that has them.
const END_NAMES: [&str; 11] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "</s>",
    "<|return|>",
    "<|call|>",
    "<|end|>",
    "<｜end▁of▁sentence｜>",
];

/// The ids that end a generation: those `named` by the checkpoint and those of well-known names, ascending.
/// Ids beyond the table are dropped with a warning, because configurations are known to name absent tokens.
pub fn end_ids(named: &[u32], tokens: &[(TokenKind, Vec<u8>)], warnings: &mut Vec<String>) -> Vec<u32> {
    // In gpt-oss `<|end|>` closes one message of several, and `<|return|>` the turn.
    let has_return = tokens.iter().any(|(kind, bytes)| *kind == TokenKind::Control && bytes == b"<|return|>");
    let well_known =
        |bytes: &[u8]| END_NAMES.iter().any(|name| name.as_bytes() == bytes) && !(has_return && bytes == b"<|end|>");
    let mut ends: Vec<u32> = Vec::new();
    for &id in named {
        if (id as usize) < tokens.len() {
            ends.push(id);
        } else {
            warnings.push(format!("end token {id} is not in the vocabulary and was left out"));
        }
    }
    ends.sort_unstable();
    ends.dedup();
    ends.truncate(ENDS_MAX as usize);
    for (id, (kind, bytes)) in (0..).zip(tokens) {
        if *kind == TokenKind::Control && well_known(bytes) && !ends.contains(&id) && ends.len() < ENDS_MAX as usize {
            ends.push(id);
        }
    }
    ends.sort_unstable();
    if ends.is_empty() {
        warnings.push("no token ends a generation: only the token limit will stop it".into());
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(names: &[&str]) -> Vec<(TokenKind, Vec<u8>)> {
        names.iter().map(|name| (TokenKind::Control, name.as_bytes().to_vec())).collect()
    }

    #[test]
    fn joins_named_and_well_known_ends() {
        let mut warnings = Vec::new();
        let mut tokens = control(&["<|im_start|>", "<|im_end|>", "<stop>", "<|endoftext|>"]);
        tokens.push((TokenKind::Normal, b"</s>".to_vec()));
        assert_eq!(end_ids(&[2, 1, 2], &tokens, &mut warnings), [1, 2, 3]);
        assert!(warnings.is_empty());
        assert_eq!(end_ids(&[99], &tokens, &mut warnings), [1, 3]);
        assert_eq!(warnings.len(), 1);
    }

    #[test]
    fn end_of_a_message_is_no_end_where_there_is_an_end_of_the_turn() {
        let mut warnings = Vec::new();
        assert_eq!(end_ids(&[], &control(&["<|end|>"]), &mut warnings), [0]);
        assert_eq!(end_ids(&[], &control(&["<|end|>", "<|return|>"]), &mut warnings), [1]);
    }
}
