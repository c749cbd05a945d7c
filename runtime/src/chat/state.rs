//! The state of a conversation: its turns, what the session holds of them, and its file.

use super::file::{Note, SessionFile};
use super::ledger::Ledger;
use super::prompter::Prompter;
use super::turn::{Turn, Turns};
use super::writer::Pen;
use crate::cache::size::KvSize;
use crate::error::Error;
use crate::generate::Report;
use crate::saved::Written;
use crate::session::Session;

/// Bytes of text that a conversation keeps and a message may have, for each token that fits the
/// context: words of most languages take three to five bytes a token.
const BYTES_PER_TOKEN: usize = 8;
/// However short the context is.
const BYTES_MAX_LEAST: usize = 32 << 10;
/// However long the context is: a note in a session's file has room for it.
const BYTES_MAX_MOST: usize = 4 << 20;
/// The largest cache that is written after every turn; a larger one is written when the
/// conversation is closed.
const CACHE_EACH_TURN_BYTES: u64 = 16 << 20;

/// A conversation.
#[derive(Debug)]
pub struct State {
    pub pen: Pen,
    pub turns: Turns,
    pub ledger: Option<Ledger>,
    pub file: Option<SessionFile>,
    pub report: Option<Report>,
    /// An error that came when nobody was there to see it.
    pub unsaid: Option<Error>,
    /// Most bytes of all turns, and of a message.
    pub bytes_max: usize,
}

/// A prompt that fits.
pub struct Prepared {
    /// The rendered text, with breaks.
    pub text: String,
    /// The break.
    pub mark: char,
    /// Turns that it is made of.
    pub turns: usize,
    /// Oldest turns that it leaves out.
    pub forgotten: usize,
    /// Tokens that the session holds already.
    pub kept: usize,
    /// The rest.
    pub rest: Vec<u32>,
}

/// How a prompt compares with the room for it.
enum Fit {
    Fits {
        kept: usize,
        rest: Vec<u32>,
    },
    /// The number of tokens, if they were counted.
    TooLong(Option<usize>),
}

impl State {
    /// An empty conversation.
    pub fn new(pen: Pen, context: usize) -> Self {
        let bytes_max =
            context.saturating_mul(BYTES_PER_TOKEN).clamp(BYTES_MAX_LEAST, BYTES_MAX_MOST);
        let (turns, ledger, file) = (Turns::default(), None, None);
        Self { pen, turns, ledger, file, report: None, unsaid: None, bytes_max }
    }

    /// Makes a prompt of all turns, or if they are too many, of those that fit. The newest one is
    /// never left out.
    ///
    /// # Errors
    /// The newest turn alone does not fit, or the template or the tokenizer fails.
    pub fn prepare(&mut self, prompter: &Prompter) -> Result<Prepared, Error> {
        let room = self.pen.prompt_max();
        let mut forgotten = 0;
        // What was said long ago is forgotten by its bytes first.
        while self.turns.bytes(forgotten) > self.bytes_max
            && let Some(next) = self.turns.next_exchange(forgotten)
        {
            forgotten = next;
        }
        loop {
            let turns = self.turns.without(forgotten);
            let mark = prompter.mark(&turns);
            let text = prompter.render(&turns, mark)?;
            let count = turns.len();
            let found = match self.fit(prompter, &text, mark, forgotten, room)? {
                Fit::Fits { kept, rest } => {
                    return Ok(Prepared { text, mark, turns: count, forgotten, kept, rest });
                }
                Fit::TooLong(found) => found,
            };
            let (bytes, mut left_out) = (text.len(), 0);
            // As many turns are left out as by their bytes the rest fits, one exchange at least.
            let surplus = match found {
                Some(found) => (found - room) as u64 * bytes as u64 / found as u64 * 7 / 8,
                None => bytes as u64 / 2,
            };
            loop {
                let Some(next) = self.turns.next_exchange(forgotten) else {
                    if left_out > 0 {
                        break;
                    }
                    let found = found.map_or_else(
                        || format!("more than {room} tokens"),
                        |found| format!("{found} tokens"),
                    );
                    return Err(Error::MessageSize { found, room: room.to_string() });
                };
                left_out += (self.turns.bytes(forgotten) - self.turns.bytes(next)) as u64;
                forgotten = next;
                if left_out >= surplus {
                    break;
                }
            }
        }
    }

    /// Refuses a message that cannot fit before anything is made of it.
    pub fn check_size(&self, text: &str) -> Result<(), Error> {
        if text.len() <= self.bytes_max {
            return Ok(());
        }
        Err(Error::MessageSize {
            found: format!("{} bytes", text.len()),
            room: self.bytes_max.to_string(),
        })
    }

    /// What of a prompt the session holds, and the tokens of the rest.
    fn fit(
        &mut self,
        prompter: &Prompter,
        text: &str,
        mark: char,
        forgotten: usize,
        room: usize,
    ) -> Result<Fit, Error> {
        // Counted a little further than there is room, to know how much is to be forgotten.
        let most = room.saturating_mul(4);
        if let Some((kept, rest)) = self.grown(prompter, text, mark, forgotten, most)? {
            let found = kept + rest.len();
            return Ok(if found <= room {
                Fit::Fits { kept, rest }
            } else {
                Fit::TooLong(Some(found))
            });
        }
        let Some(mut tokens) = prompter.encode_whole(text, mark, most)? else {
            return Ok(Fit::TooLong(None));
        };
        if tokens.len() > room {
            return Ok(Fit::TooLong(Some(tokens.len())));
        }
        let kept = self.pen.session.keep_common(&tokens);
        Ok(Fit::Fits { kept, rest: tokens.split_off(kept) })
    }

    /// The tokens that follow what the session holds, where the conversation has only grown.
    fn grown(
        &mut self,
        prompter: &Prompter,
        text: &str,
        mark: char,
        forgotten: usize,
        most: usize,
    ) -> Result<Option<(usize, Vec<u32>)>, Error> {
        let Some(ledger) = &self.ledger else { return Ok(None) };
        let session = &mut self.pen.session;
        if session.position() < ledger.prompt_end {
            return Ok(None);
        }
        // The session of a ring goes on though the oldest turns are in no prompt any more.
        let slid = session.position() > session.tokens().len();
        let Some(turns) = ledger.turns.checked_sub(forgotten) else { return Ok(None) };
        let rest = match text.strip_prefix(ledger.text.as_str()) {
            Some(rest) if forgotten == 0 && !ledger.text.is_empty() => rest,
            _ if matches!(session.kv(), KvSize::Ring(_)) && turns > 0 => {
                let all = self.turns.without(forgotten);
                let Some(before) = all.get(..turns) else { return Ok(None) };
                let Ok(base) = prompter.render(before, mark) else { return Ok(None) };
                let Some(rest) = text.strip_prefix(base.as_str()) else { return Ok(None) };
                rest
            }
            _ => return Ok(None),
        };
        let answer = self
            .turns
            .without(forgotten)
            .get(turns)
            .map(|turn: &&Turn| prompter.guarded(turn, mark));
        if ledger.plain
            && let Some(after) = answer.as_deref().and_then(|answer| rest.strip_prefix(answer))
            && (slid || prompter.begins_with_name(after))
        {
            let Some(tokens) = prompter.encode(after, mark, most)? else { return Ok(None) };
            let rest: Vec<u32> = ledger.unfed.into_iter().chain(tokens).collect();
            return Ok((!rest.is_empty()).then_some((session.position(), rest)));
        }
        if !slid {
            return Ok(None);
        }
        // The template writes the answer in another form: the session goes back to where they part.
        let Some(mut tokens) = prompter.encode(rest, mark, most)? else { return Ok(None) };
        let prompt_end = ledger.prompt_end;
        let Some(held) = session.tokens_since(prompt_end) else { return Ok(None) };
        let common = held.iter().zip(&tokens).take_while(|(held, wanted)| held == wanted).count();
        let kept = prompt_end + common.min(tokens.len().saturating_sub(1));
        if session.truncate(kept) != kept {
            return Ok(None);
        }
        Ok(Some((kept, tokens.split_off(kept - prompt_end))))
    }

    /// Writes the file, if there is one.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&mut self, written: Written) -> Result<(), Error> {
        let note = self.note(written)?;
        match &mut self.file {
            Some(file) => file.save(&mut self.pen.session, &note, written),
            None => Ok(()),
        }
    }

    /// As [`State::save`], with the cache where it is small.
    pub fn save_after_turn(&mut self) -> Result<(), Error> {
        let small = used_bytes(&self.pen.session) <= CACHE_EACH_TURN_BYTES;
        self.save(if small { Written::Whole } else { Written::Note })
    }

    /// What a session's file says beside the session.
    pub fn note(&self, written: Written) -> Result<Vec<u8>, Error> {
        let ledger = self.ledger.as_ref().filter(|_| written == Written::Whole);
        Note::write(self.turns.all(), &self.pen.sampler, ledger)
    }
}

/// Bytes of the cache that hold something.
fn used_bytes(session: &Session) -> u64 {
    match session.kv() {
        KvSize::F16(tokens) | KvSize::F32(tokens) => {
            (u128::from(session.kv_bytes()) * session.position() as u128 / tokens.max(1) as u128)
                as u64
        }
        KvSize::Ring(_) => session.kv_bytes(),
    }
}
