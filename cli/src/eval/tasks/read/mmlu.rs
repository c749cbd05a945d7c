//! MMLU: a CSV file for each subject with the columns question, four choices, and the right one's
//! index or letter; the first row names them. The subject is the file's name up to `_test`, `_dev`
//! or `_val`.

use anyhow::{Context, bail, ensure};
use csv::{ReaderBuilder, StringRecord};

use super::source::Source;
use crate::eval::tasks::item::{Choice, Question};
use crate::eval::tasks::prompts;

/// Columns of a row.
const COLUMNS: usize = 6;

/// Reads all items.
pub fn read(source: &Source) -> anyhow::Result<Vec<Question>> {
    let stem = source.path.file_stem().unwrap_or_default().to_string_lossy();
    let subject =
        ["_test", "_dev", "_val"].iter().find_map(|end| stem.strip_suffix(end)).unwrap_or(&stem);
    let preamble = prompts::about(subject);
    // Rows of another length are refused below, with their number.
    let mut reader = ReaderBuilder::new().flexible(true).from_reader(source.text.as_bytes());
    let parse = |(number, row): (usize, Result<StringRecord, csv::Error>)| {
        let (choices, gold) = parse(&row?).with_context(|| format!("item {number}"))?;
        Ok(Question { place: source.place(number), preamble: preamble.clone(), choices, gold })
    };
    (1..).zip(reader.records()).map(parse).collect()
}

fn parse(row: &StringRecord) -> anyhow::Result<(Vec<Choice>, usize)> {
    let cells: Vec<&str> = row.iter().collect();
    let Ok([question, a, b, c, d, answer]) = <[&str; COLUMNS]>::try_from(cells) else {
        bail!("expected {COLUMNS} columns, found {}", row.len());
    };
    ensure!(!question.trim().is_empty(), "the question is empty");
    let gold = ["0", "1", "2", "3"].iter().position(|index| *index == answer);
    let gold = gold.or_else(|| ["A", "B", "C", "D"].iter().position(|letter| *letter == answer));
    let gold = gold
        .with_context(|| format!("expected an answer from 0 to 3 or A to D, found {answer:?}"))?;
    Ok((prompts::lettered(question, &[a, b, c, d].map(str::to_owned)), gold))
}
