//! What a blob says about its making, in words.

use std::borrow::Cow;
use std::fmt::Write;

use hardtack_converter::allocation::STARVED_TOKENS;
use hardtack_converter::bake::{Allocated, Factor};
use serde::Deserialize;

use crate::output::escaped;
use crate::provenance;

/// What a blob says about its making. A blob is a stranger's file: one that says it otherwise says
/// nothing.
#[derive(Default, Deserialize)]
pub struct Provenance {
    family: Option<String>,
    baked_by: Option<String>,
    #[serde(default)]
    sources: Vec<Source>,
    /// What a calibrated blob says about its bits.
    pub allocation: Option<Allocated>,
}

#[derive(Deserialize)]
struct Source {
    name: String,
}

/// Files that are named as a blob's sources.
const SOURCES_SHOWN: usize = 64;
/// Experts that are named because few tokens reached them.
const STARVED_SHOWN: usize = 256;

/// One line about what was baked from what.
pub fn made(own: &Provenance) -> Option<String> {
    let (family, program) = (own.family.as_deref()?, own.baked_by.as_deref()?);
    let sources: Vec<Cow<'_, str>> =
        own.sources.iter().take(SOURCES_SHOWN).map(|source| escaped(&source.name)).collect();
    let more = own.sources.len().saturating_sub(SOURCES_SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let (family, program) = (escaped(family), escaped(program));
    Some(format!("family {family}, baked by {program} from {}{more}\n", sources.join(", ")))
}

/// How bits were chosen, which experts saw too little text, and what it cost on text held out.
pub fn verdict(own: &Allocated) -> String {
    let clean = |text: &str| escaped(text).into_owned();
    let bits = own.expert_bits.map_or(String::new(), |bits| format!(", {bits:.2} bits per expert"));
    let mut text = format!(
        "\nallocation {} for {}{bits}; routers {}\n",
        clean(&own.method),
        clean(&own.target),
        clean(provenance::routers(&own.routers))
    );
    let all = own.expert_tokens.iter().enumerate();
    let mut starved = all
        .flat_map(|(layer, experts)| {
            experts.iter().enumerate().map(move |(expert, tokens)| (layer, expert, *tokens))
        })
        .filter(|(_, _, tokens)| *tokens < STARVED_TOKENS)
        .map(|(layer, expert, tokens)| format!("{layer}.{expert} ({tokens})"));
    let shown: Vec<String> = starved.by_ref().take(STARVED_SHOWN).collect();
    if !shown.is_empty() {
        let more = starved.count();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = writeln!(
            text,
            "experts that few calibration tokens reached: {}{more}",
            shown.join(" ")
        );
    }
    let by_factor = |left: &&Factor, right: &&Factor| left.factor.total_cmp(&right.factor);
    if let (Some(least), Some(most)) =
        (own.factors.iter().min_by(by_factor), own.factors.iter().max_by(by_factor))
    {
        let end = |own: &Factor| format!("{:.2} ({})", own.factor, clean(&own.parts));
        let _ = writeln!(text, "costs measured, and taken times {} to {}", end(least), end(most));
    }
    for own in &own.held_out {
        let _ = writeln!(
            text,
            "held out {}: perplexity {:.3}, baked {:.3}, divergence {:.5} over {} tokens",
            clean(&own.domain),
            own.exact.exp(),
            own.baked.exp(),
            own.divergence,
            own.tokens
        );
    }
    text
}
