//! Which tokens end a generation.

use hardtack_format::vocabulary::{ENDS_MAX, TokenKind};

use crate::vocabulary::findings::Findings;

/// Names of control tokens that end a turn or a text in every family that has them.
pub(super) const END_NAMES: [&str; 17] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<end_of_utterance>",
    "</s>",
    "<eos>",
    "[EOS]",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "<|return|>",
    "<|call|>",
    "<|end|>",
    "<｜end▁of▁sentence｜>",
];

/// An end token as a checkpoint names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamedEnd {
    /// The file and the field that name it.
    pub place: &'static str,
    /// What it is called there, where it is called by name.
    pub name: Option<String>,
    /// Its id, unless the vocabulary has no token of that name.
    pub id: Option<u32>,
    /// Another file that says the same outranks this one.
    pub outranked: bool,
}

impl NamedEnd {
    /// An end that is named by id.
    pub fn by_id(place: &'static str, id: u32) -> Self {
        Self { place, name: None, id: Some(id), outranked: false }
    }
}

/// The ids that end a generation: those `named` by the checkpoint and those of well-known names,
/// ascending. An id that no token has is left out, because configurations are known to name such,
/// as long as another is there. A name that no token has is a problem: it is how the model was
/// taught to end a turn.
pub(super) fn end_ids(
    named: &[NamedEnd],
    tokens: &[(TokenKind, Vec<u8>)],
    has_template: bool,
    findings: &mut Findings,
) -> Vec<u32> {
    let kind = |id: u32| {
        tokens.get(id as usize).map(|(kind, _)| *kind).filter(|kind| *kind != TokenKind::Unused)
    };
    let mut ends: Vec<u32> = Vec::new();
    let mut absent = Vec::new();
    for end in named {
        let place = end.place;
        match (end.id, end.id.and_then(kind)) {
            (Some(id), Some(TokenKind::Normal | TokenKind::Byte | TokenKind::UserDefined)) => {
                let text =
                    String::from_utf8_lossy(&tokens[id as usize].1).escape_debug().to_string();
                let what =
                    format!("{place} names token {id} as an end, which is the text `{text}`");
                if end.outranked {
                    findings
                        .warnings
                        .push(format!("{what}: left out, another file names the ends"));
                } else {
                    findings.warnings.push(format!("{what}: answers will stop there"));
                    ends.push(id);
                }
            }
            (Some(id), Some(_)) => ends.push(id),
            (Some(id), None) => {
                absent.push(format!("{place} names end token {id}, which is not in the vocabulary"))
            }
            (None, _) => {
                let name = end.name.as_deref().unwrap_or_default().escape_debug();
                findings.problems.push(format!(
                    "{place} names the end token `{name}`, which is not in the vocabulary"
                ));
            }
        }
    }
    ends.sort_unstable();
    ends.dedup();
    ends.truncate(ENDS_MAX as usize);
    let named_ends = ends.len();
    add_well_known(&mut ends, tokens);
    if named_ends > 0 || absent.is_empty() {
        findings.warnings.extend(absent.into_iter().map(|line| line + " and was left out"));
    } else {
        findings.problems.extend(absent);
    }
    if ends.is_empty() {
        let line = "no token ends a generation: only the token limit will stop it".to_owned();
        if has_template { findings.problems.push(line) } else { findings.warnings.push(line) }
    }
    ends
}

fn add_well_known(ends: &mut Vec<u32>, tokens: &[(TokenKind, Vec<u8>)]) {
    // In gpt-oss `<|end|>` closes one message of several, and `<|return|>` the turn.
    let has_return =
        tokens.iter().any(|(kind, bytes)| *kind == TokenKind::Control && bytes == b"<|return|>");
    let well_known = |bytes: &[u8]| {
        END_NAMES.iter().any(|name| name.as_bytes() == bytes)
            && !(has_return && bytes == b"<|end|>")
    };
    for (id, (kind, bytes)) in (0..).zip(tokens) {
        if *kind == TokenKind::Control
            && well_known(bytes)
            && !ends.contains(&id)
            && ends.len() < ENDS_MAX as usize
        {
            ends.push(id);
        }
    }
    ends.sort_unstable();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(names: &[&str]) -> Vec<(TokenKind, Vec<u8>)> {
        names.iter().map(|name| (TokenKind::Control, name.as_bytes().to_vec())).collect()
    }

    fn by_id(ids: &[u32]) -> Vec<NamedEnd> {
        ids.iter().map(|&id| NamedEnd::by_id("config.json eos_token_id", id)).collect()
    }

    #[test]
    fn joins_named_and_well_known_ends() {
        let mut findings = Findings::default();
        let mut tokens = control(&["<|im_start|>", "<|im_end|>", "<stop>", "<|endoftext|>"]);
        tokens.push((TokenKind::Normal, b"</s>".to_vec()));
        assert_eq!(end_ids(&by_id(&[2, 1, 2]), &tokens, true, &mut findings), [1, 2, 3]);
        assert!(findings.warnings.is_empty() && findings.problems.is_empty());
        assert_eq!(end_ids(&by_id(&[99, 2]), &tokens, true, &mut findings), [1, 2, 3]);
        assert_eq!((findings.warnings.len(), findings.problems.len()), (1, 0));
    }

    #[test]
    fn end_of_a_message_is_no_end_where_there_is_an_end_of_the_turn() {
        let mut findings = Findings::default();
        assert_eq!(end_ids(&[], &control(&["<|end|>"]), true, &mut findings), [0]);
        assert_eq!(end_ids(&[], &control(&["<|end|>", "<|return|>"]), true, &mut findings), [1]);
    }

    #[test]
    fn an_end_that_is_named_and_not_there_is_a_problem() {
        let tokens = control(&["</s>"]);
        let problems = |named: &[NamedEnd], tokens: &[(TokenKind, Vec<u8>)]| {
            let mut findings = Findings::default();
            end_ids(named, tokens, true, &mut findings);
            findings.problems
        };
        // A name that is taken for another's, an id where there is no other, and no end at all.
        let named = NamedEnd {
            place: "tokenizer_config.json eos_token",
            name: Some("<|im_end|>".into()),
            id: None,
            outranked: false,
        };
        assert!(problems(&[named], &tokens)[0].contains("`<|im_end|>`"));
        assert!(problems(&by_id(&[99]), &tokens)[0].contains("99"));
        assert!(problems(&by_id(&[0, 99]), &tokens).is_empty());
        assert!(problems(&[], &[(TokenKind::Normal, b"a".to_vec())])[0].contains("no token ends"));
    }

    #[test]
    fn a_word_that_only_an_outranked_file_calls_an_end_is_none() {
        let mut findings = Findings::default();
        let tokens = [(TokenKind::Control, b"</s>".to_vec()), (TokenKind::Normal, b"#".to_vec())];
        let mut named = by_id(&[0, 1]);
        assert_eq!(end_ids(&named, &tokens, true, &mut findings), [0, 1]);
        named[1].outranked = true;
        assert_eq!(end_ids(&named, &tokens, true, &mut findings), [0]);
        assert_eq!(findings.warnings.len(), 2);
    }
}
