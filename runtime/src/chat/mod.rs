//! Conversations: a model's own form of them, its answers as they come, and files in which they are
//! kept.
//!
//! ```
//! use hardtack::{ChatOptions, Engine};
//!
//! # fn main() -> Result<(), hardtack::Error> {
//! let engine = Engine::open("tests/data/tiny.tack")?;
//! let mut chat = engine.chat(ChatOptions::new().system("Be brief."))?;
//! for piece in chat.ask("What is a ring buffer?")? {
//!     print!("{}", piece?);
//! }
//! # Ok(()) }
//! ```

mod answer;
mod file;
mod form;
mod ledger;
mod prompter;
mod reader;
mod state;
mod turn;
mod writer;

use std::path::{Path, PathBuf};

use serde_json::Map;

pub use answer::{Answer, Delta};
pub use prompter::{Prompt, Prompter};
pub use turn::Turn;
pub use writer::{Text, WriteOptions, Writer};

use crate::cancel::Cancel;
use crate::engine::Engine;
use crate::error::Error;
use crate::generate::{Report, Run};
use crate::sample::Sampler;
use crate::saved::{self, Written};
use crate::session::Session;
use crate::text::Json;
use answer::Before;
use file::{Note, SessionFile};
use ledger::Ledger;
use reader::Reader;
use state::{Prepared, State};
use turn::Turns;
use writer::Pen;

/// How a conversation is led.
///
/// ```
/// use hardtack::{ChatOptions, WriteOptions};
///
/// let options = ChatOptions::new()
///     .system("Be brief.")
///     .file("talk.session")
///     .write(WriteOptions::new().tokens_max(Some(200)));
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ChatOptions {
    /// The system prompt, which the model reads first.
    pub system: Option<String>,
    /// How answers are written.
    pub write: WriteOptions,
    /// The file in which the conversation is kept.
    pub file: Option<PathBuf>,
    /// Variables of the template, such as `enable_thinking`.
    pub variables: Map<String, Json>,
    /// Tools that the model may call.
    pub tools: Vec<Json>,
    /// Whether a conversation that goes on keeps its seed, whatever `write.sampling.seed` says.
    pub keep_seed: bool,
}

impl ChatOptions {
    /// No system prompt, no file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the system prompt, which the model reads first.
    #[must_use]
    pub fn system(mut self, system: impl Into<String>) -> Self {
        self.system = Some(system.into());
        self
    }

    /// Sets how answers are written.
    #[must_use]
    pub fn write(mut self, write: WriteOptions) -> Self {
        self.write = write;
        self
    }

    /// Keeps the conversation in a file: it goes on from what is there, and the file is replaced
    /// after every answer. No other program can open the file as a conversation meanwhile.
    #[must_use]
    pub fn file(mut self, file: impl Into<PathBuf>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// Sets variables of the template, such as `enable_thinking` or `reasoning_effort`.
    #[must_use]
    pub fn variables(mut self, variables: Map<String, Json>) -> Self {
        self.variables = variables;
        self
    }

    /// Sets tools that the model may call, each a JSON schema as chat APIs take them.
    #[must_use]
    pub fn tools(mut self, tools: Vec<Json>) -> Self {
        self.tools = tools;
        self
    }

    /// Goes on with the seed of a conversation that is there, whatever the sampling's seed is.
    #[must_use]
    pub fn keep_seed(mut self, keep: bool) -> Self {
        self.keep_seed = keep;
        self
    }
}

/// How a conversation goes on from its file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resumed {
    /// Turns that were said before.
    pub turns: usize,
    /// Tokens that the session holds again, none of which is computed anew.
    pub tokens: usize,
    /// Why the turns are read anew, if they are: what differs between the file and this session.
    pub reread: Option<String>,
    /// Whether the file has another system prompt than the options. The file's counts.
    pub other_system: bool,
}

/// A conversation with a model.
///
/// What somebody says can never become a control token, so that nobody can forge a turn. When the
/// context is full, the oldest exchanges are forgotten. Over a ring of keys and values a
/// conversation can go on for ever: a turn costs what is new in it.
///
/// ```
/// use hardtack::{ChatOptions, Engine};
///
/// # fn main() -> Result<(), hardtack::Error> {
/// let engine = Engine::open("tests/data/tiny.tack")?;
/// let mut chat = engine.chat(ChatOptions::new().system("Be brief."))?;
/// for question in ["What is a ring buffer?", "What is it good for?"] {
///     println!("{}", chat.ask(question)?.text()?);
/// }
/// assert_eq!(chat.turns().len(), 5);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Chat {
    prompter: Prompter,
    state: State,
    resumed: Option<Resumed>,
}

impl Engine {
    /// Begins a conversation, or goes on with the one in the options' file.
    ///
    /// # Errors
    /// The blob has no chat template; an option outside its range, or more memory than allowed; or
    /// a file that cannot be read and replaced, is damaged, or is open in another program.
    pub fn chat(&self, options: ChatOptions) -> Result<Chat, Error> {
        let file = options.file.as_deref().map(SessionFile::open).transpose()?;
        let prompter = Prompter::new(self)?
            .variables(options.variables.clone())
            .tools(options.tools.clone())
            .cancel(options.write.cancel.clone());
        let pen = Pen::new(self, &options.write)?;
        let context = self.plan(&options.write.session)?.context;
        let mut chat = Chat { prompter, state: State::new(pen, context), resumed: None };
        let kept =
            file.as_ref().filter(|file| file.has_content()).map(|file| file.path().to_owned());
        chat.state.file = file;
        match kept {
            Some(path) => chat.resume(&path, &options)?,
            None => {
                chat.state.turns =
                    Turns::new(options.system.map(Turn::system).into_iter().collect())
            }
        }
        Ok(chat)
    }
}

impl Chat {
    /// Sends a message. The answer comes piece by piece, and is computed as its pieces are asked
    /// for.
    ///
    /// # Errors
    /// The message does not fit the context, or the template refuses it: nothing has changed then.
    pub fn ask(&mut self, text: impl Into<String>) -> Result<Answer<'_>, Error> {
        self.say(Turn::user(text))
    }

    /// As [`Chat::ask`], for a turn of anybody, such as a tool's result.
    ///
    /// # Errors
    /// As [`Chat::ask`].
    pub fn say(&mut self, turn: Turn) -> Result<Answer<'_>, Error> {
        let Self { prompter, state, .. } = self;
        if let Some(error) = state.unsaid.take() {
            return Err(error);
        }
        state.check_size(&turn.content)?;
        let before =
            Before { ledger: state.ledger.clone(), position: state.pen.session.position() };
        state.turns.push(turn);
        let prepared = state.prepare(prompter);
        let Prepared { text, mark, turns, forgotten, kept, rest } = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                state.turns.pop();
                return Err(error);
            }
        };
        state.turns.forget(forgotten);
        let mut run = match Run::new(&state.pen.session, kept, rest) {
            Ok(run) => run,
            Err(error) => {
                state.turns.pop();
                return Err(error);
            }
        };
        run.note(forgotten, true);
        let reader = Reader::new(
            prompter.tokenizer()?.vocabulary(),
            (&prompter.form, &prompter.markers),
            &text,
            state.pen.stops.clone(),
        );
        state.ledger = None;
        let ledger = Ledger { text, mark, turns, prompt_end: 0, plain: true, unfed: None };
        Ok(Answer::new(state, reader, run, before, ledger))
    }

    /// Forgets everything but the system prompt; the sampler begins anew.
    pub fn reset(&mut self) {
        self.state.turns.reset();
        self.state.ledger = None;
        self.state.pen.sampler.restart();
    }

    /// What was said, the oldest turns excepted that are forgotten.
    pub fn turns(&self) -> &[Turn] {
        self.state.turns.all()
    }

    /// Bytes that a message may have: one that is longer is refused before anything is made of it.
    pub fn message_bytes_max(&self) -> usize {
        self.state.bytes_max
    }

    /// What the last answer took, and why it ended.
    pub fn report(&self) -> Option<&Report> {
        self.state.report.as_ref()
    }

    /// How the conversation goes on from its file; `None` for a new one.
    pub fn resumed(&self) -> Option<&Resumed> {
        self.resumed.as_ref()
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.state.pen.session
    }

    /// How its tokens are chosen; [`Sampler::push_first`] adds a mask.
    pub fn sampler_mut(&mut self) -> &mut Sampler {
        &mut self.state.pen.sampler
    }

    /// The seed of the numbers that tokens are chosen by.
    pub fn seed(&self) -> u64 {
        self.state.pen.sampler.options().seed
    }

    /// What ends an answer from elsewhere.
    pub fn cancel(&self) -> &Cancel {
        &self.state.pen.options.cancel
    }

    /// The prompt of the last answer, for people.
    pub fn last_prompt(&self) -> Option<String> {
        let ledger = self.state.ledger.as_ref()?;
        Some(ledger.text.replace(ledger.mark, ""))
    }

    /// Writes the conversation into another file than the options', with everything that the model
    /// made of it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let note = self.state.note(Written::Whole)?;
        self.state.pen.session.save(path, &note)
    }

    /// Ends the conversation: its file gets everything that the model made of it, so that it goes
    /// on without delay.
    ///
    /// # Errors
    /// The file cannot be written; what it had after the last answer is still there.
    pub fn close(mut self) -> Result<(), Error> {
        let said = self.state.turns.all().len() > self.state.turns.told_first();
        let has_content = self.state.file.as_ref().is_some_and(SessionFile::has_content);
        match self.state.unsaid.take() {
            Some(error) => Err(error),
            None if said || has_content => self.state.save(Written::Whole),
            None => Ok(()),
        }
    }

    /// Goes on from a file: from its cache if it is of this model and kept in this way, or else
    /// from its turns.
    fn resume(&mut self, path: &Path, options: &ChatOptions) -> Result<(), Error> {
        let session = &mut self.state.pen.session;
        let (note, reread) = match session.restore(path) {
            Ok(restored) => (restored.note, None),
            Err(Error::SavedElsewhere { what, expected, found, .. }) => {
                (saved::note(path)?, Some(format!("{what}: expected {expected}, found {found}")))
            }
            Err(error) => return Err(error),
        };
        let Note { turns, sampler: (seed, drawn), ledger } = Note::read(path, &note)?;
        let system: Vec<&str> = turns
            .iter()
            .take_while(|turn| turn.role == "system")
            .map(|turn| turn.content.as_str())
            .collect();
        let other_system = options.system.as_deref().is_some_and(|asked| system != [asked]);
        if options.keep_seed || seed == options.write.sampling.seed {
            self.state.pen.sampler.resume(seed, drawn);
        }
        let position = session.position();
        let unread = position == 0 && turns.len() > system.len();
        let reread = reread
            .or_else(|| unread.then(|| "the conversation was not closed in order".to_owned()));
        self.resumed = Some(Resumed { turns: turns.len(), tokens: position, reread, other_system });
        self.state.ledger = ledger.filter(|ledger| {
            ledger.prompt_end <= position && ledger.turns <= turns.len() && position > 0
        });
        self.state.turns = Turns::new(turns);
        Ok(())
    }
}
