//! GSM8K: a JSON object a line with `question` and `answer`, whose last line is `####` and the
//! number.

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::source::Source;
use crate::eval::tasks::item::Problem;

#[derive(Deserialize)]
struct Record {
    question: String,
    answer: String,
}

/// Reads all items.
pub fn read(source: &Source) -> anyhow::Result<Vec<Problem>> {
    let lines = source.text.lines().filter(|line| !line.trim().is_empty());
    let parse =
        |(number, line)| parse(source, number, line).with_context(|| format!("item {number}"));
    (1..).zip(lines).map(parse).collect()
}

fn parse(source: &Source, number: usize, line: &str) -> anyhow::Result<Problem> {
    let Record { question, answer } = serde_json::from_str(line)
        .context("expected an object with the strings `question` and `answer`")?;
    ensure!(!question.trim().is_empty(), "the question is empty");
    let last = answer.rsplit_once("#### ").map_or("", |(_, number)| number.trim());
    let digits = last
        .trim_start_matches('-')
        .chars()
        .all(|letter| letter.is_ascii_digit() || ",.".contains(letter));
    ensure!(!last.is_empty() && digits, "expected the answer to end with \"#### \" and a number");
    Ok(Problem { place: source.place(number), question, solution: answer })
}
