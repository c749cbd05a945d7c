//! A conversation in a session's file: its turns as text, which any model can read, beside what
//! this one made of them.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::ledger::Ledger;
use super::turn::Turn;
use crate::error::Error;
use crate::sample::Sampler;
use crate::saved::{self, NOTE_BYTES_MAX, Written};
use crate::session::Session;
use crate::whole_file::{Replacement, is_same_file, open_private, remove_leftovers, target};

/// Most turns of a conversation that is read.
const TURNS_MAX: usize = 1 << 20;
/// Times that a file is opened which others replace meanwhile.
const TRIES: usize = 8;

/// A session's file that is open and locked for as long as its conversation.
#[derive(Debug)]
pub struct SessionFile {
    /// As it was given.
    path: PathBuf,
    /// Where links lead to.
    target: PathBuf,
    /// Holds the lock on the file that is there now.
    lock: File,
    /// Whether there is a conversation in it.
    has_content: bool,
}

impl SessionFile {
    /// Opens a file, making an empty one if there is none, and locks it: whatever can fail about it
    /// fails here.
    ///
    /// # Errors
    /// It cannot be read and replaced, is no file, or another program has it open.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::File { path: path.to_owned(), source };
        for _ in 0..TRIES {
            let target = target(path).map_err(failed)?;
            let lock = open_private(&target).map_err(failed)?;
            let metadata = lock.metadata().map_err(failed)?;
            if !metadata.is_file() {
                return Err(failed(io::Error::other("not a regular file")));
            }
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::SavedInUse { path: path.to_owned() });
                }
                // Some file systems have no locks; two programs are then the user's to avoid.
                Err(TryLockError::Error(_)) => {}
            }
            // Somebody may have replaced it between opening and locking.
            if is_same_file(&lock, &target) {
                let has_content = metadata.len() > 0;
                let file = Self { path: path.to_owned(), target, lock, has_content };
                remove_leftovers(&file.target);
                drop(Replacement::create(&file.target).map_err(failed)?);
                return Ok(file);
            }
        }
        Err(Error::SavedInUse { path: path.to_owned() })
    }

    /// Whether there is a conversation in it.
    pub fn has_content(&self) -> bool {
        self.has_content
    }

    /// Where it is, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(
        &mut self,
        session: &mut Session,
        note: &[u8],
        written: Written,
    ) -> Result<(), Error> {
        let failed = |source| Error::File { path: self.path.clone(), source };
        let replacement = Replacement::create(&self.target).map_err(failed)?;
        saved::write(&self.path, replacement.file(), &mut session.content(), note, written)?;
        // It is locked since it was made, before anybody could find it under this name.
        self.lock = replacement.commit().map_err(failed)?;
        self.has_content = true;
        Ok(())
    }
}

impl Drop for SessionFile {
    fn drop(&mut self) {
        // Nothing was said: the empty file was ours.
        if !self.has_content && is_same_file(&self.lock, &self.target) {
            let _ = std::fs::remove_file(&self.target);
        }
    }
}

/// What a session's file says beside the session.
#[derive(Debug)]
pub struct Note {
    /// What was said.
    pub turns: Vec<Turn>,
    /// The sampler's seed, and how many of its numbers were drawn.
    pub sampler: (u64, u64),
    /// What the session holds, but for the prompt's text.
    pub ledger: Option<Ledger>,
}

impl Note {
    /// The note's bytes.
    ///
    /// # Errors
    /// It is too long.
    pub fn write(
        turns: &[Turn],
        sampler: &Sampler,
        ledger: Option<&Ledger>,
    ) -> Result<Vec<u8>, Error> {
        let turn = |turn: &Turn| {
            let mut fields = Map::new();
            fields.insert("role".to_owned(), json!(turn.role));
            fields.insert("content".to_owned(), json!(turn.content));
            if !turn.thinking.is_empty() {
                fields.insert("thinking".to_owned(), json!(turn.thinking));
            }
            if !turn.markers.is_empty() {
                fields.insert("markers".to_owned(), json!(turn.markers));
            }
            Value::Object(fields)
        };
        let held = ledger.map(|ledger| {
            let Ledger { turns, prompt_end, plain, unfed, .. } = ledger;
            json!({ "turns": turns, "prompt_end": prompt_end, "plain": plain, "unfed": unfed })
        });
        let sampler = json!({ "seed": sampler.options().seed, "drawn": sampler.drawn() });
        let turns: Vec<Value> = turns.iter().map(turn).collect();
        let note =
            json!({ "turns": turns, "sampler": sampler, "held": held }).to_string().into_bytes();
        if note.len() > NOTE_BYTES_MAX {
            let found = format!("{} bytes", note.len());
            return Err(Error::MessageSize { found, room: NOTE_BYTES_MAX.to_string() });
        }
        Ok(note)
    }

    /// Reads a note.
    ///
    /// # Errors
    /// It is not one of a conversation.
    pub fn read(path: &Path, note: &[u8]) -> Result<Self, Error> {
        let refuse = |what: &'static str| Error::Saved {
            path: path.to_owned(),
            offset: 16 + note.len() as u64,
            what: "note",
            expected: "the turns of a conversation".to_owned(),
            found: what.to_owned(),
        };
        let note: Value = serde_json::from_slice(note).map_err(|_| refuse("no JSON"))?;
        let turns =
            note.get("turns").and_then(Value::as_array).ok_or_else(|| refuse("no turns"))?;
        if turns.len() > TURNS_MAX {
            return Err(refuse("more than a million turns"));
        }
        let turns = turns
            .iter()
            .map(read_turn)
            .collect::<Option<_>>()
            .ok_or_else(|| refuse("a turn without words"))?;
        let number = |name: &str| note.get("sampler")?.get(name)?.as_u64();
        let sampler = number("seed").zip(number("drawn")).ok_or_else(|| refuse("no sampler"))?;
        Ok(Self { turns, sampler, ledger: note.get("held").and_then(read_ledger) })
    }
}

fn read_turn(turn: &Value) -> Option<Turn> {
    let text = |name: &str| turn.get(name)?.as_str().map(str::to_owned);
    let markers = turn.get("markers").and_then(Value::as_array).into_iter().flatten();
    let markers: Option<Vec<usize>> =
        markers.map(|at| usize::try_from(at.as_u64()?).ok()).collect();
    let thinking = text("thinking").unwrap_or_default();
    Some(Turn { role: text("role")?, content: text("content")?, thinking, markers: markers? })
}

fn read_ledger(held: &Value) -> Option<Ledger> {
    let number = |name: &str| usize::try_from(held.get(name)?.as_u64()?).ok();
    let unfed = match held.get("unfed")? {
        Value::Null => None,
        token => Some(u32::try_from(token.as_u64()?).ok()?),
    };
    let plain = held.get("plain")?.as_bool()?;
    let (turns, prompt_end) = (number("turns")?, number("prompt_end")?);
    Some(Ledger { turns, prompt_end, plain, unfed, ..Ledger::default() })
}
