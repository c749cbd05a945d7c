//! Stored tensors that have no place in a network: what they are, said in a word.

use std::collections::BTreeMap;
use std::fmt;

/// Tensors of one kind that a blob does not get.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOut {
    /// Their names, with `*` for numbers.
    pub pattern: String,
    /// How many there are.
    pub count: usize,
    /// What they are, if they are known to mean nothing to the text that comes out.
    pub what: Option<&'static str>,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.count, self.pattern)?;
        self.what.map_or(Ok(()), |what| write!(f, " ({what})"))
    }
}

/// Parts of names that tell what a tensor is for.
const KNOWN: [(&[&str], &str); 4] = [
    (&["rotary_emb.inv_freq"], "frequencies, which are computed"),
    (
        &[
            "vision_tower.",
            "vision_model.",
            "visual.",
            "multi_modal_projector.",
            "mm_projector.",
            "vision_embed_tokens.",
        ],
        "vision",
    ),
    (&["audio_tower.", "audio_projector.", "speech_encoder."], "audio"),
    (&["mtp.", ".nextn.", "mtp_block."], "layers that predict further tokens"),
];

/// What a tensor is, if it is known to mean nothing to the text that comes out.
pub(crate) fn word(name: &str) -> Option<&'static str> {
    let known =
        KNOWN.iter().find(|(parts, _)| parts.iter().any(|part| at_start_of_a_part(name, part)));
    known.map(|(_, word)| *word)
}

/// Whether the part is in the name, after a dot or at its start.
fn at_start_of_a_part(name: &str, part: &str) -> bool {
    let part = part.trim_start_matches('.');
    name.match_indices(part).any(|(at, _)| at == 0 || name[..at].ends_with('.'))
}

/// Names by kind.
pub(crate) fn grouped(names: &[String], tied: impl Fn(&str) -> bool) -> Vec<LeftOut> {
    let mut groups: BTreeMap<String, (usize, Option<&'static str>)> = BTreeMap::new();
    for name in names {
        let what = if tied(name) { Some("the embeddings again") } else { word(name) };
        // Of a tower the first part of its name says enough.
        let pattern = match what {
            Some("vision" | "audio") => {
                let parts: Vec<&str> = name.split('.').take(2).collect();
                format!("{}.*", numbers_as_stars(&parts.join(".")))
            }
            _ => numbers_as_stars(name),
        };
        groups.entry(pattern).or_insert((0, what)).0 += 1;
    }
    groups.into_iter().map(|(pattern, (count, what))| LeftOut { pattern, count, what }).collect()
}

fn numbers_as_stars(name: &str) -> String {
    let is_number =
        |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> =
        name.split('.').map(|part| if is_number(&part) { "*" } else { part }).collect();
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_are_named_by_kind() {
        let names = [
            "model.layers.0.self_attn.rotary_emb.inv_freq",
            "model.layers.1.self_attn.rotary_emb.inv_freq",
            "model.layers.1.mlp.odd.weight",
            "mtp.fc.weight",
            "vision_tower.blocks.0.weight",
            "vision_tower.blocks.1.weight",
            "lm_head.weight",
        ];
        let names = names.map(String::from);
        let lines: Vec<String> = grouped(&names, |name| name == "lm_head.weight")
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            lines,
            [
                "1 lm_head.weight (the embeddings again)",
                "1 model.layers.*.mlp.odd.weight",
                "2 model.layers.*.self_attn.rotary_emb.inv_freq (frequencies, which are computed)",
                "1 mtp.fc.weight (layers that predict further tokens)",
                "2 vision_tower.blocks.* (vision)",
            ]
        );
        assert_eq!(word("model.layers.0.supervisual.weight"), None);
    }
}
