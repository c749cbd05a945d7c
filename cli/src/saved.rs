//! A conversation in a session's file: its turns are the note beside the tokens.

use std::path::Path;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use crate::conversation::Turn;
use crate::speak::Speaker;

/// Most turns of a conversation that is restored.
const TURNS_MAX: usize = 1 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedTurn<'a> {
    role: Role,
    #[serde(borrow)]
    content: std::borrow::Cow<'a, str>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    System,
    User,
    Assistant,
}

/// Writes what was said and what the model made of it.
pub fn save(file: &Path, turns: &[Turn], speaker: &mut Speaker<'_>) -> anyhow::Result<()> {
    let role = |turn: &Turn| match turn.role {
        "system" => Role::System,
        "user" => Role::User,
        _ => Role::Assistant,
    };
    let turns = turns.iter().map(|turn| SavedTurn { role: role(turn), content: turn.content.as_str().into() });
    let note = serde_json::to_vec(&turns.collect::<Vec<_>>())?;
    let (path, most) = (file.display(), hardtack::session::NOTE_BYTES_MAX);
    ensure!(note.len() <= most, "{path}: expected a conversation of at most {most} bytes, found {}", note.len());
    speaker.save(file, &note)
}

/// Reads what was said; the speaker holds what the model made of it.
pub fn restore(file: &Path, speaker: &mut Speaker<'_>) -> anyhow::Result<Vec<Turn>> {
    let note = speaker.restore(file)?;
    let path = file.display();
    let turns: Vec<SavedTurn<'_>> =
        serde_json::from_slice(&note).with_context(|| format!("{path}: expected the turns of a conversation"))?;
    ensure!(turns.len() <= TURNS_MAX, "{path}: expected at most {TURNS_MAX} turns, found {}", turns.len());
    let turn = |turn: SavedTurn<'_>| {
        let role = match turn.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        Turn { role, content: turn.content.into_owned() }
    };
    Ok(turns.into_iter().map(turn).collect())
}
