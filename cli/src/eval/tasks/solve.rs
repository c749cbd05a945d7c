//! A model at GSM8K: it writes, greedily, and the number it comes to is looked for in its text.

use anyhow::{Context, ensure};
use hardtack::Engine;
use hardtack::text::{Opening, Special, Tokenizer};

use super::answer::{Answer, Given};
use super::item::Problem;
use super::{number, prompts};
use crate::args::{SamplingArguments, TasksArguments, TokenLimit};
use crate::conversation::Conversation;
use crate::model;
use crate::speak::{Speaker, Why};

/// Where an answer ends: the harness's three.
const STOPS: [&str; 3] = ["Question:", "</s>", "<|im_end|>"];

/// A model that solves.
pub struct Solver<'a> {
    tokenizer: &'a Tokenizer,
    speaker: Speaker<'a>,
    /// Through the chat template, or as one text.
    conversation: Option<Conversation>,
    /// Tokens that a prompt may have.
    room: usize,
}

impl<'a> Solver<'a> {
    /// A solver as the flags say.
    ///
    /// # Errors
    /// No session for the flags, no room for an answer, or no chat template where one is wanted.
    pub fn new(engine: &Engine, tokenizer: &'a Tokenizer, arguments: &TasksArguments) -> anyhow::Result<Self> {
        let session = engine.session(&model::session_options(&arguments.session))?;
        let (capacity, answer) = (session.capacity(), arguments.max_tokens);
        ensure!((1..capacity).contains(&answer), "an answer of {answer} tokens does not fit a context of {capacity}");
        let sampling = SamplingArguments {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: Some(Some(0)),
            max_tokens: TokenLimit(Some(answer)),
            stop: STOPS.map(str::to_owned).to_vec(),
        };
        let speaker = Speaker::new(session, tokenizer, &sampling, arguments.session.batch)?;
        let conversation = if arguments.chat { Some(Conversation::new(engine, tokenizer, None)?) } else { None };
        Ok(Self { tokenizer, speaker, conversation, room: capacity - answer })
    }

    /// Answers a problem behind solved examples; nothing if Ctrl-C came before the answer's end. A prompt that is too long
    /// keeps its end.
    ///
    /// # Errors
    /// A text that the model has no tokens for.
    pub fn answer(&mut self, problem: &Problem, examples: &[Problem]) -> anyhow::Result<Option<Answer>> {
        let (prompt, opening) = self.prompt(problem, examples).with_context(|| problem.place.clone())?;
        let truncated = prompt.len() > self.room;
        let prompt = &prompt[prompt.len().saturating_sub(self.room)..];
        let answer = self.speaker.answer(prompt, opening, |_| Ok(())).with_context(|| problem.place.clone())?;
        if answer.why == Why::Interrupted {
            return Ok(None);
        }
        let gold = number::gold(&problem.solution);
        let found = [number::strict(&answer.text), number::flexible(&answer.text)];
        let right = found.each_ref().map(|found| found.as_ref() == Some(&gold));
        Ok(Some(Answer { right, truncated, given: Given::Text { found, gold, text: answer.text } }))
    }

    fn prompt(&mut self, problem: &Problem, examples: &[Problem]) -> anyhow::Result<(Vec<u32>, Opening)> {
        if let Some(conversation) = &mut self.conversation {
            conversation.reset();
            for example in examples {
                conversation.say("user", &prompts::problem(example));
                conversation.say("assistant", &example.solution);
            }
            conversation.say("user", &prompts::problem(problem));
            return Ok((conversation.prompt(self.tokenizer)?.tokens, Opening::Text));
        }
        let solved = |example| prompts::solved(&prompts::problem(example), &format!(" {}", example.solution));
        let mut text: String = examples.iter().map(solved).collect();
        text.push_str(&prompts::problem(problem));
        let tokens = self.tokenizer.begin().into_iter().chain(self.tokenizer.encode(&text, Special::Plain)?);
        Ok((tokens.collect(), Opening::Continuation))
    }
}
