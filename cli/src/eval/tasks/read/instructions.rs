//! The layout of LLM-Adapters (arXiv 2304.01933): a JSON array of objects whose `instruction` holds
//! question and options as a text, and whose `answer` names the right one.
//!
//! | task | instruction (`¶` an empty line) |
//! |---|---|
//! | arc_easy, arc_challenge, openbookqa | `Please choose the correct answer to the question: ...¶Answer1: ... Answer2: ...¶Answer format: answer1/answer2` |
//! | piqa | `Please choose the correct solution to the question: ...¶Solution1: ...¶Solution2: ...¶Answer format: solution1/solution2` |
//! | winogrande | `Please choose the correct answer to fill in the blank to complete the given sentence: ...¶Option1: ... Option2: ... Answer format: option1/option2` |
//! | boolq | `Please answer the following question with true or false, question: ...¶Answer format: true/false` |
//! | mathqa | `... The options: A ) ... , B ) ...` or `... The options: ['A ) ...', 'B ) ...']` |

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use super::marks::between;
use super::source::Source;
use crate::eval::tasks::item::{Choice, Question};
use crate::eval::tasks::prompts;
use crate::eval::tasks::task::Task;

#[derive(Deserialize)]
struct Record {
    instruction: String,
    answer: String,
}

/// Most options of a question.
const OPTIONS_MAX: usize = 26;

/// Reads all items.
pub fn read(task: Task, source: &Source) -> anyhow::Result<Vec<Question>> {
    let records: Vec<Record> = serde_json::from_str(&source.text)
        .context("expected a JSON array of objects with the strings `instruction` and `answer`")?;
    let read = |(number, record): (usize, &Record)| {
        let (choices, gold) = parse(task, record).with_context(|| format!("item {number}"))?;
        Ok(Question { place: source.place(number), preamble: String::new(), choices, gold })
    };
    (1..).zip(&records).map(read).collect()
}

fn parse(
    task: Task,
    Record { instruction, answer }: &Record,
) -> anyhow::Result<(Vec<Choice>, usize)> {
    match task {
        Task::ArcEasy | Task::ArcChallenge | Task::OpenBookQa => {
            let labels = labels(instruction, "\n\nAnswer format: ", "answer")?;
            let mut marks = vec!["Please choose the correct answer to the question: ".to_owned()];
            marks.push("\n\nAnswer1: ".to_owned());
            marks.extend((2..=labels.len()).map(|number| format!(" Answer{number}: ")));
            marks.push("\n\nAnswer format: ".to_owned());
            let (question, options) = question_and_options(instruction, &marks)?;
            let choices = match task {
                Task::OpenBookQa => prompts::continued(&question, &options),
                _ => prompts::asked(&question, &options),
            };
            Ok((choices, gold(answer, &labels)?))
        }
        Task::Piqa => {
            let marks = [
                "Please choose the correct solution to the question: ",
                "\n\nSolution1: ",
                "\n\nSolution2: ",
                "\n\nAnswer format: ",
            ];
            let (question, options) = question_and_options(instruction, &marks.map(str::to_owned))?;
            Ok((prompts::asked(&question, &options), gold(answer, &["solution1", "solution2"])?))
        }
        Task::WinoGrande => {
            let marks = [
                "Please choose the correct answer to fill in the blank to complete the given sentence: ",
                "\n\nOption1: ",
                " Option2: ",
                " Answer format: ",
            ];
            let (sentence, options) = question_and_options(instruction, &marks.map(str::to_owned))?;
            let blanks = sentence.matches('_').count();
            ensure!(blanks == 1, "expected one blank _ in the sentence, found {blanks}");
            let (before, after) = sentence.split_once('_').expect("there is one");
            ensure!(!after.trim().is_empty(), "nothing comes after the blank");
            Ok((
                prompts::filled_in(before, after, &options),
                gold(answer, &["option1", "option2"])?,
            ))
        }
        Task::BoolQ => {
            let marks = [
                "Please answer the following question with true or false, question: ",
                "\n\nAnswer format: true/false",
            ];
            let question = between(instruction, &marks.map(str::to_owned))?[0];
            ensure!(!question.trim().is_empty(), "the question is empty");
            Ok((prompts::yes_or_no(question), gold(answer, &["false", "true"])?))
        }
        Task::MathQa => {
            let (problem, options) =
                instruction.split_once(" The options: ").context("expected \" The options: \"")?;
            ensure!(!problem.trim().is_empty(), "the problem is empty");
            let options = lettered_options(options)?;
            ensure!(options.iter().all(|option| !option.is_empty()), "an option is empty");
            Ok((prompts::asked(problem, &options), gold(answer, &["A", "B", "C", "D", "E"])?))
        }
        Task::HellaSwag | Task::Mmlu | Task::Gsm8k => bail!("{} has another layout", task.name()),
    }
}

/// The labels after `mark` at the text's end, such as `answer1/answer2`: numbered from 1, at least
/// two.
fn labels<'a>(text: &'a str, mark: &str, word: &str) -> anyhow::Result<Vec<&'a str>> {
    let (_, behind) = text.rsplit_once(mark).with_context(|| format!("expected {mark:?}"))?;
    let labels: Vec<&str> = behind.split('/').collect();
    let numbered = (1..).zip(&labels).all(|(number, label)| *label == format!("{word}{number}"));
    let count = labels.len();
    ensure!(
        numbered && (2..=OPTIONS_MAX).contains(&count),
        "expected {word}1/{word}2/..., found {behind:?}"
    );
    Ok(labels)
}

/// What follows the first mark, and what follows each of the others but the last.
fn question_and_options(text: &str, marks: &[String]) -> anyhow::Result<(String, Vec<String>)> {
    let mut pieces: Vec<String> = between(text, marks)?.into_iter().map(str::to_owned).collect();
    pieces.pop();
    let question = pieces.remove(0);
    ensure!(!question.trim().is_empty(), "the question is empty");
    ensure!(pieces.iter().all(|option| !option.trim().is_empty()), "an option is empty");
    Ok((question, pieces))
}

fn gold(answer: &str, labels: &[&str]) -> anyhow::Result<usize> {
    let place = labels.iter().position(|label| *label == answer);
    place.with_context(|| {
        format!("expected the answer to be one of {}, found {answer:?}", labels.join(", "))
    })
}

/// MathQA's options A to E in either of their two forms. The file has every letter a to e in them
/// as a capital (`mEtErs`), whatever it was; the data set itself has small letters only.
fn lettered_options(text: &str) -> anyhow::Result<Vec<String>> {
    let listed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let options = match listed {
        Some(inner) => {
            let inner =
                inner.strip_suffix('\'').context("expected the list to end with a quote")?;
            let marks = ["'A ) ", "', 'B ) ", "', 'C ) ", "', 'D ) ", "', 'E ) "];
            between(inner, &marks.map(str::to_owned))?
        }
        None => {
            between(text, &["A ) ", " , B ) ", " , C ) ", " , D ) ", " , E ) "].map(str::to_owned))?
        }
    };
    Ok(options.into_iter().map(|option| option.trim().to_lowercase()).collect())
}
