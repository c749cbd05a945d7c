//! HellaSwag as a text of six lines for each task: the context, the index of the right ending from
//! 0, and four endings. llama.cpp's `--hellaswag` reads the same layout.

use anyhow::{Context, ensure};

use super::source::Source;
use crate::eval::tasks::item::Question;
use crate::eval::tasks::prompts;

/// Lines of a task.
const LINES: usize = 6;
/// Endings of a task.
const ENDINGS: usize = 4;

/// Reads all items.
pub fn read(source: &Source) -> anyhow::Result<Vec<Question>> {
    let lines: Vec<&str> = source.text.lines().collect();
    let count = lines.len();
    ensure!(
        count.is_multiple_of(LINES),
        "expected {LINES} lines for each item, found {count} lines in all"
    );
    let parse = |(number, lines): (usize, &[&str])| {
        parse(source, number, lines).with_context(|| format!("item {number}"))
    };
    (1..).zip(lines.chunks(LINES)).map(parse).collect()
}

fn parse(source: &Source, number: usize, lines: &[&str]) -> anyhow::Result<Question> {
    let gold = lines[1].parse().ok().filter(|&gold| gold < ENDINGS);
    let gold = gold.with_context(|| {
        format!("expected an index from 0 to 3 in its second line, found {:?}", lines[1])
    })?;
    ensure!(lines.iter().all(|line| !line.trim().is_empty()), "one of its lines is empty");
    let endings: Vec<String> = lines[2..].iter().map(|&line| line.to_owned()).collect();
    let choices = prompts::continued(lines[0], &endings);
    Ok(Question { place: source.place(number), preamble: String::new(), choices, gold })
}
