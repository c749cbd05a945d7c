//! `hardtack chat`: a conversation on the terminal.

use anyhow::{bail, ensure};
use hardtack::text::{Opening, Tokenizer};
use hardtack::{Engine, KvSize};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use crate::args::ChatArguments;
use crate::conversation::{Conversation, Prompt};
use crate::output::{note, one_line, show};
use crate::saved;
use crate::size::show_bytes;
use crate::speak::{Speaker, Why};
use crate::{interrupt, model};

const HELP: &str = "/reset  begin anew\n/help   this list\n/quit   leave (also Ctrl-D)\nCtrl-C ends an answer, and on an empty line the program.\n";

/// Talks until the person leaves.
pub fn chat(arguments: &ChatArguments) -> anyhow::Result<()> {
    interrupt::catch()?;
    let options = model::session_options(&arguments.cache);
    let engine = model::open(&arguments.blob, &arguments.engine, &options)?;
    let tokenizer = model::tokenizer(&engine)?;
    let conversation = Conversation::new(&engine, &tokenizer, arguments.system.as_deref())?;
    let session = engine.session(&options)?;
    let kept = match session.kv() {
        KvSize::F16(tokens) | KvSize::F32(tokens) => format!("context {tokens} tokens"),
        KvSize::Ring(size) => format!("a ring of {} over up to {} tokens", show_bytes(session.kv_bytes()), size.reach),
    };
    let speaker = Speaker::new(session, &tokenizer, &arguments.sampling, arguments.cache.batch)?;
    let mut chat = Chat { arguments, tokenizer: &tokenizer, conversation, speaker };
    let before = arguments.session.as_deref().filter(|file| file.exists());
    if let Some(file) = before {
        chat.conversation.turns = saved::restore(file, &mut chat.speaker)?;
    }
    note(format_args!("[{}, {kept}; /help for help]", model::describe(&engine)));
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
    fn run(&mut self, engine: &Engine) -> anyhow::Result<()> {
        let mut editor = DefaultEditor::new()?;
        loop {
            let line = match editor.readline("> ") {
                Ok(line) => line,
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(()),
                Err(error) => bail!("cannot read from the terminal: {error}"),
            };
            // A Ctrl-C that ended the last answer has done its work.
            interrupt::take();
            match line.trim() {
                "" => {}
                "/quit" => return Ok(()),
                "/help" => show(HELP)?,
                "/reset" => {
                    self.conversation.reset();
                    self.speaker.restart();
                }
                text => {
                    // The editor keeps lines for the up key only; a failure there is nobody's loss.
                    let _ = editor.add_history_entry(text);
                    self.turn(engine, text)?;
                }
            }
        }
    }

    /// One message and its answer. A message that cannot be sent changes nothing.
    fn turn(&mut self, engine: &Engine, text: &str) -> anyhow::Result<()> {
        let before = self.conversation.turns.clone();
        self.conversation.say("user", text);
        let prompt = match self.fitting_prompt() {
            Ok(prompt) => prompt,
            Err(error) => {
                self.conversation.turns = before;
                note(format_args!("[{}; the message was not sent]", one_line(&error)));
                return Ok(());
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
        Ok(())
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
