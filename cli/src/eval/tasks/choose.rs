//! A model at questions with choices: every choice's log-likelihood, each context run once.

use anyhow::{Context, ensure};
use hardtack::text::Tokenizer;

use super::answer::Answer;
use super::encode::encode;
use super::item::Question;
use super::prompts;
use super::score::Scorer;

/// A model that chooses.
pub struct Chooser<'a> {
    pub tokenizer: &'a Tokenizer,
    pub scorer: Scorer,
}

impl Chooser<'_> {
    /// Answers a question after the text `before`.
    ///
    /// # Errors
    /// A text that the model has no tokens for.
    pub fn answer(&mut self, question: &Question, before: &str) -> anyhow::Result<Answer> {
        let mut log_likelihoods = Vec::with_capacity(question.choices.len());
        let mut truncated = false;
        // Choices that share a context are next to each other.
        for choices in question.choices.chunk_by(|one, other| one.context == other.context) {
            let continuations: Vec<&str> =
                choices.iter().map(|choice| choice.continuation.as_str()).collect();
            let tokens_of = |text: &str| Ok(self.tokenizer.encode(text)?);
            let (given, asked) =
                encode(tokens_of, &format!("{before}{}", choices[0].context), &continuations)
                    .with_context(|| question.place.clone())?;
            let context: Vec<u32> = self.tokenizer.begin().into_iter().chain(given).collect();
            ensure!(!context.is_empty(), "{}: the context has no tokens", question.place);
            let scores =
                self.scorer.score(&context, &asked).with_context(|| question.place.clone())?;
            log_likelihoods.extend(scores.nats);
            truncated |= scores.truncated;
        }
        let bytes: Vec<usize> = question.choices.iter().map(|choice| choice.bytes).collect();
        Ok(Answer::chosen(log_likelihoods, &bytes, question.gold, truncated))
    }
}

/// What precedes a question: its preamble, and the first `count` of the solved examples that have
/// the same.
///
/// # Errors
/// There are fewer.
pub fn before(question: &Question, examples: &[Question], count: usize) -> anyhow::Result<String> {
    let mut text = question.preamble.clone();
    let mut found = 0;
    for example in
        examples.iter().filter(|example| example.preamble == question.preamble).take(count)
    {
        let right = &example.choices[example.gold];
        text.push_str(&prompts::solved(&right.context, &right.continuation));
        found += 1;
    }
    ensure!(
        found == count,
        "{}: expected {count} solved examples for it, found {found}",
        question.place
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(preamble: &str, number: usize) -> Question {
        let options = ["no", "yes"].map(str::to_owned);
        let choices = prompts::asked(&format!("Is {number} odd?"), &options);
        Question {
            place: format!("item {number}"),
            preamble: preamble.to_owned(),
            choices,
            gold: number % 2,
        }
    }

    #[test]
    fn examples_are_those_of_the_same_subject() {
        let examples = [
            question("P\n\n", 1),
            question("Q\n\n", 2),
            question("P\n\n", 3),
            question("P\n\n", 4),
        ];
        let text = before(&question("P\n\n", 9), &examples, 2).unwrap();
        assert_eq!(
            text,
            "P\n\nQuestion: Is 1 odd?\nAnswer: yes\n\nQuestion: Is 3 odd?\nAnswer: yes\n\n"
        );
        assert_eq!(before(&question("Q\n\n", 9), &examples, 0).unwrap(), "Q\n\n");
        let error = before(&question("Q\n\n", 9), &examples, 2).unwrap_err().to_string();
        assert!(error.contains("item 9") && error.contains("found 1"), "{error}");
    }
}
