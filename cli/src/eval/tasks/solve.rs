//! A model at GSM8K: it writes, greedily, and the number it comes to is looked for in its text.

use anyhow::{Context, ensure};
use hardtack::chat::{Prompter, Turn};
use hardtack::text::{Opening, Tokenizer};
use hardtack::{Ended, Engine, SamplerOptions, Writer};

use super::answer::{Answer, Given};
use super::item::Problem;
use super::{number, prompts};
use crate::args::TasksArguments;
use crate::{interrupt, model};

/// Where an answer ends: the harness's three.
const STOPS: [&str; 3] = ["Question:", "</s>", "<|im_end|>"];

/// A model that solves.
pub struct Solver<'a> {
    tokenizer: &'a Tokenizer,
    writer: Writer,
    /// Through the chat template, or as one text.
    prompter: Option<Prompter>,
    /// Tokens that a prompt may have.
    room: usize,
}

impl<'a> Solver<'a> {
    /// A solver as the flags say.
    ///
    /// # Errors
    /// No session for the flags, no room for an answer, or no chat template where one is wanted.
    pub fn new(
        engine: &Engine,
        tokenizer: &'a Tokenizer,
        arguments: &TasksArguments,
    ) -> anyhow::Result<Self> {
        let answer = arguments.max_tokens;
        let options = hardtack::WriteOptions::new()
            .session(model::session_options(&arguments.session))
            .sampling(SamplerOptions::default())
            .tokens_max(Some(answer))
            .stop(STOPS)
            .cancel(hardtack::Cancel::watching(interrupt::flag()));
        let writer = Writer::new(engine, &options)?;
        let capacity = writer.session().capacity();
        ensure!(
            (1..capacity).contains(&answer),
            "an answer of {answer} tokens does not fit a context of {capacity}"
        );
        let prompter = if arguments.chat { Some(Prompter::new(engine)?) } else { None };
        Ok(Self { tokenizer, writer, prompter, room: capacity - answer })
    }

    /// Answers a problem after solved examples; `None` if Ctrl-C came before the answer's end. A
    /// prompt that is too long keeps its end.
    ///
    /// # Errors
    /// A text that the model has no tokens for.
    pub fn answer(
        &mut self,
        problem: &Problem,
        examples: &[Problem],
    ) -> anyhow::Result<Option<Answer>> {
        let (prompt, opening) =
            self.prompt(problem, examples).with_context(|| problem.place.clone())?;
        let truncated = prompt.len() > self.room;
        let prompt = &prompt[prompt.len().saturating_sub(self.room)..];
        let mut written =
            self.writer.write(prompt, opening).with_context(|| problem.place.clone())?;
        let pieces: Result<Vec<String>, _> = written.by_ref().collect();
        let text = pieces.with_context(|| problem.place.clone())?.concat();
        if written.report().ended == Ended::Cancelled {
            return Ok(None);
        }
        let gold = number::gold(&problem.solution);
        let found = [number::strict(&text), number::flexible(&text)];
        let right = found.each_ref().map(|found| found.as_ref() == Some(&gold));
        Ok(Some(Answer { right, truncated, given: Given::Text { found, gold, text } }))
    }

    fn prompt(
        &self,
        problem: &Problem,
        examples: &[Problem],
    ) -> anyhow::Result<(Vec<u32>, Opening)> {
        if let Some(prompter) = &self.prompter {
            let example = |example| {
                [Turn::user(prompts::problem(example)), Turn::assistant(&example.solution)]
            };
            let mut turns: Vec<Turn> = examples.iter().flat_map(example).collect();
            turns.push(Turn::user(prompts::problem(problem)));
            return Ok((prompter.prompt(&turns)?.tokens, Opening::Text));
        }
        let solved = |example| {
            prompts::solved(&prompts::problem(example), &format!(" {}", example.solution))
        };
        let mut text: String = examples.iter().map(solved).collect();
        text.push_str(&prompts::problem(problem));
        Ok((self.tokenizer.prompt(&text)?, Opening::Continuation))
    }
}
