//! `hardtack chat`: a conversation on the terminal.

mod command;

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use hardtack::text::{Opening, Tokenizer};
use hardtack::{Engine, KvSize};

use crate::args::ChatArguments;
use crate::conversation::{Conversation, Prompt};
use crate::lines::{Lines, Next};
use crate::output::{escaped, note, one_line, path, show};
use crate::saved;
use crate::size::show_bytes;
use crate::speak::{Speaker, Why};
use crate::{interrupt, model};
use command::{HELP, Line};

/// A Ctrl-C that comes so soon after an answer was meant for it.
const MEANT_FOR_ANSWER: Duration = Duration::from_secs(1);
/// Bounds of the longest message that is read, whatever a vocabulary says about its tokens.
const MESSAGE_BYTES_MIN: usize = 64 << 10;
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Talks until the person leaves.
pub fn chat(arguments: &ChatArguments) -> anyhow::Result<()> {
    interrupt::catch()?;
    let loading = interrupt::Loading::begin();
    let options = model::session_options(&arguments.cache);
    let engine = model::open(&arguments.blob, &arguments.engine, &options)?;
    let tokenizer = model::tokenizer(&engine)?;
    let conversation = Conversation::new(&engine, &tokenizer, arguments.system.as_deref())?;
    let session = engine.session(&options)?;
    let kept = match session.kv() {
        KvSize::F16(tokens) | KvSize::F32(tokens) => format!("context {tokens} tokens"),
        KvSize::Ring(size) => format!("a ring of {} over up to {} tokens", show_bytes(session.kv_bytes()), size.reach),
    };
    let (sampling, seed) = arguments.sampling.settle();
    let speaker = Speaker::new(session, &tokenizer, &sampling, arguments.cache.batch)?;
    let mut chat = Chat { arguments, tokenizer: &tokenizer, conversation, speaker };
    let before = arguments.session.as_deref().filter(|file| file.exists());
    if let Some(file) = before {
        chat.conversation.turns = saved::restore(file, &mut chat.speaker)?;
    }
    drop(loading);
    let seed = seed.map_or(String::new(), |seed| format!(", seed {seed}"));
    note(format_args!("[{}, {kept}{seed}; /help for help]", model::describe(&engine)));
    if let Some(file) = before {
        note(format_args!("[{}: {} tokens reused]", file.display(), chat.speaker.held().len()));
    }
    let result = chat.run(&engine);
    if let Some(file) = &arguments.session {
        saved::save(file, &chat.conversation.turns, &mut chat.speaker)?;
        note(format_args!("[{}: {} tokens kept]", file.display(), chat.speaker.held().len()));
    }
    result
}

struct Chat<'a> {
    arguments: &'a ChatArguments,
    tokenizer: &'a Tokenizer,
    conversation: Conversation,
    speaker: Speaker<'a>,
}

impl Chat<'_> {
    /// Talks until the person leaves. An error if a message from a pipe was not sent: nobody is there to see the note.
    fn run(&mut self, engine: &Engine) -> anyhow::Result<()> {
        let lines = Lines::open("> ", self.message_bytes_max())?;
        let (mut unsent, mut answered) = (0, None::<Instant>);
        loop {
            let next = lines.next()?;
            let text = match next {
                Next::Message(text) => text,
                Next::TooLong => {
                    note(format_args!("[a message of more bytes than the context holds; it was not sent]"));
                    unsent += 1;
                    continue;
                }
                // Meant for the answer that ended by itself just before.
                Next::Interrupted if answered.take().is_some_and(|end| end.elapsed() < MEANT_FOR_ANSWER) => continue,
                Next::Interrupted | Next::End | Next::Stopped => break,
                Next::Failed(error) => bail!(error),
            };
            answered = None;
            match Line::of(&text) {
                Line::Empty => {}
                Line::Leave => break,
                Line::Help => show(HELP)?,
                Line::Reset => {
                    self.conversation.reset();
                    self.speaker.restart();
                }
                Line::Save(file) => match saved::save(&file, &self.conversation.turns, &mut self.speaker) {
                    Ok(()) => note(format_args!("[{} has the conversation]", path(&file))),
                    Err(error) => note(format_args!("[{}]", one_line(&error))),
                },
                Line::Unknown(told) => note(format_args!("[{}]", escaped(&told))),
                Line::Message(text) => {
                    if !self.turn(engine, text)? {
                        unsent += 1;
                    }
                    answered = Some(Instant::now());
                    if interrupt::requested() {
                        break;
                    }
                }
            }
        }
        ensure!(
            unsent == 0 || lines.from_terminal(),
            "{unsent} of the messages {} not sent",
            if unsent == 1 { "was" } else { "were" }
        );
        Ok(())
    }

    /// Bytes that no message which fits the context has more of.
    fn message_bytes_max(&self) -> usize {
        let vocabulary = self.speaker.session.engine().network().spec.vocabulary;
        let longest = (0..vocabulary).map(|token| self.tokenizer.bytes(token).len()).max().unwrap_or(1);
        (self.speaker.session.capacity() * longest.max(1)).clamp(MESSAGE_BYTES_MIN, MESSAGE_BYTES_MAX)
    }

    /// One message and its answer. A message that cannot be sent changes nothing: false.
    fn turn(&mut self, engine: &Engine, text: &str) -> anyhow::Result<bool> {
        let before = self.conversation.turns.clone();
        self.conversation.say("user", text);
        let prompt = match self.fitting_prompt() {
            Ok(prompt) => prompt,
            Err(error) => {
                self.conversation.turns = before;
                note(format_args!("[{}; the message was not sent]", one_line(&error)));
                return Ok(false);
            }
        };
        if self.arguments.show_prompt {
            note(format_args!("[prompt]\n{}[end of prompt]", prompt.text));
        }
        let answer = self.speaker.answer(&prompt.tokens, Opening::Text, show)?;
        show("\n")?;
        if self.arguments.show_prompt {
            note(format_args!("[{} prompt tokens, {} of them kept from before]", prompt.tokens.len(), answer.reused));
        }
        match answer.why {
            Why::Interrupted => note(format_args!("[interrupted]")),
            Why::Length => note(format_args!("[{} tokens, the most that --max-tokens allows]", answer.tokens)),
            Why::ContextFull => note(format_args!("[the context of {} is full]", engine.path().display())),
            Why::Finished => {}
        }
        interrupt::take();
        self.conversation.say("assistant", &answer.text);
        Ok(true)
    }

    /// The prompt of the conversation, the oldest exchanges forgotten until it fits.
    fn fitting_prompt(&mut self) -> anyhow::Result<Prompt> {
        let room = self.speaker.prompt_max();
        let mut forgotten = 0;
        loop {
            let prompt = self.conversation.prompt(self.tokenizer)?;
            if prompt.tokens.len() <= room {
                if forgotten > 0 {
                    note(format_args!("[the context is full: the oldest {forgotten} exchanges are forgotten]"));
                }
                return Ok(prompt);
            }
            let found = prompt.tokens.len();
            ensure!(
                self.conversation.forget_oldest(),
                "this message makes a prompt of {found} tokens, {room} fit the context"
            );
            forgotten += 1;
        }
    }
}
