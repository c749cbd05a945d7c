//! Which tokens steer a model though their file calls them text.
//!
//! A token that a chat template or an answer's format uses as a mark is no text that somebody may
//! type: whoever could would forge a turn. Files do not always say so. Qwen3's `<think>` and
//! DeepSeek's `<｜User｜>` are added tokens with `special: false`, since they are shown; some GGUF
//! files type `<|im_end|>` as a word.

use hardtack_format::vocabulary::TokenKind;

use crate::vocabulary::rules::END_NAMES;

/// Names of tokens that formats of conversations and answers are made of, in every family that has
/// them as tokens. Those for filling in the middle of code are none: they are for whoever writes a
/// plain prompt.
const FORMAT_NAMES: [&str; 39] = [
    "<think>",
    "</think>",
    "[THINK]",
    "[/THINK]",
    "<tools>",
    "</tools>",
    "<tool_call>",
    "</tool_call>",
    "<tool_calls>",
    "</tool_calls>",
    "<tool_response>",
    "</tool_response>",
    "<arg_key>",
    "</arg_key>",
    "<arg_value>",
    "</arg_value>",
    "[INST]",
    "[/INST]",
    "[TOOL_CALLS]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "<start_of_turn>",
    "<|im_start|>",
    "<|im_sep|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|tool|>",
    "<|observation|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|start_of_role|>",
    "<|end_of_role|>",
    "<|start|>",
    "<|message|>",
    "<|channel|>",
    "<|constrain|>",
    "<｜User｜>",
    "<｜Assistant｜>",
];

/// What a checkpoint says about its tokens besides their kinds.
pub(super) struct Evidence<'a> {
    /// The chat template.
    pub template: Option<&'a str>,
    /// Ids that the checkpoint names as begin or end.
    pub named: &'a [u32],
}

impl Evidence<'_> {
    /// The kind that a blob records for a token which its file calls `declared`. `reachable`: plain
    /// text can come to it by merging, so that it is a word however it looks.
    pub fn kind(
        &self,
        id: u32,
        name: &str,
        declared: TokenKind,
        reachable: impl FnOnce() -> bool,
    ) -> TokenKind {
        let added = declared == TokenKind::UserDefined;
        if !(added || declared == TokenKind::Normal) || !looks_like_a_mark(name) {
            return declared;
        }
        // Where it is added as text and no end by name, `</s>` is HTML (Gemma).
        let ends =
            self.named.contains(&id) || (END_NAMES.contains(&name) && !(added && name == "</s>"));
        let written = || self.template.is_some_and(|template| template.contains(name));
        let marks = ends || FORMAT_NAMES.contains(&name) || written();
        if !marks || (!added && reachable()) {
            return declared;
        }
        // An added token that is not special is shown by design; one that is typed as a word is
        // shown by mistake.
        let hidden = ends || (!added && name.starts_with("<|"));
        if hidden { TokenKind::Control } else { TokenKind::Marker }
    }
}

/// Whether a name is written as marks are: signs on both sides, something between, no space.
/// So an added word of some language or a run of line breaks is never taken for one.
pub(super) fn looks_like_a_mark(name: &str) -> bool {
    let is_sign = |character: char| !character.is_alphanumeric() && !character.is_whitespace();
    name.starts_with(is_sign)
        && name.ends_with(is_sign)
        && name.contains(char::is_alphanumeric)
        && !name.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_have_signs_on_both_sides() {
        for mark in [
            "<think>",
            "</s>",
            "<|im_end|>",
            "<｜User｜>",
            "[INST]",
            "]~b]",
            "<｜tool▁calls▁begin｜>",
            "_<EOT>",
        ] {
            assert!(looks_like_a_mark(mark), "{mark}");
        }
        for text in
            ["", "<", "...", "\n\n", "▁▁", "assistant", " <b>", "<b >", "'s", "你好", "a>", "don't"]
        {
            assert!(!looks_like_a_mark(text), "{text:?}");
        }
    }

    #[test]
    fn what_a_template_writes_steers_and_words_stay_words() {
        let template = "{{ '<turn>' }}user: (s) {{ m.content }}\n\n<|fim_prefix|]";
        let evidence = Evidence { template: Some(template), named: &[7] };
        let kind = |id, name, declared| evidence.kind(id, name, declared, || name == "(s)");
        use TokenKind::*;
        let right = [
            // An added token that the template writes is shown; a word is not, if it was meant as
            // a mark.
            ((1, "<turn>", UserDefined), Marker),
            ((1, "<turn>", Normal), Marker),
            ((1, "<|turn|>", Normal), Normal),
            ((1, "<other>", UserDefined), UserDefined),
            // Well known by name; ends are hidden.
            ((1, "<think>", UserDefined), Marker),
            ((1, "<|im_start|>", Normal), Control),
            ((1, "<|im_end|>", UserDefined), Control),
            ((1, "<｜User｜>", UserDefined), Marker),
            // Named as an end, if it may be one.
            ((7, "<stop>", Normal), Control),
            ((7, "</s>", UserDefined), Control),
            ((1, "</s>", UserDefined), UserDefined),
            ((1, "</s>", Normal), Control),
            ((7, "stop", Normal), Normal),
            // Text comes to it.
            ((1, "(s)", Normal), Normal),
            ((1, "(s)", UserDefined), Marker),
            ((1, "user", UserDefined), UserDefined),
            ((1, "\n\n", UserDefined), UserDefined),
            ((1, "<|fim_prefix|>", UserDefined), UserDefined),
            // What the file says of the rest holds.
            ((1, "<turn>", Control), Control),
            ((1, "<turn>", Byte), Byte),
            ((1, "<think>", Unused), Unused),
        ];
        for ((id, name, declared), expected) in right {
            assert_eq!(kind(id, name, declared), expected, "{name} as {declared:?}");
        }
    }
}
