//! The prompt of every task, as lm-evaluation-harness writes it. All prompts are here and in the
//! table.
//!
//! | task | context | continuations | headline |
//! |---|---|---|---|
//! | arc_easy | `Question: {question}\nAnswer:` | ` {option}` | acc |
//! | arc_challenge | `Question: {question}\nAnswer:` | ` {option}` | acc_norm |
//! | openbookqa | `{question}` | ` {option}` | acc_norm |
//! | piqa | `Question: {goal}\nAnswer:` | ` {solution}` | acc |
//! | winogrande | the sentence up to its blank, and an option there | ` {rest of the sentence}` | acc |
//! | boolq | `Question: {question}\nAnswer:` (the file has no passages) | ` no`, ` yes` | acc |
//! | mathqa | `Question: {problem}\nAnswer:` | ` {option}` | acc |
//! | hellaswag | `{context}` | ` {ending}` | acc_norm |
//! | mmlu | `{question}\nA. {option}\nB. {option}\nC. {option}\nD. {option}\nAnswer:` | ` A` to ` D` | acc |
//! | gsm8k | `Question: {question}\nAnswer:` | generated | strict_match |
//!
//! Each of mmlu's prompts is preceded by `The following are multiple choice questions (with
//! answers) about {subject}.` and an empty line. A solved example is a context with its right
//! continuation, and an empty line after it.
//!
//! `acc`: the choice of the highest log-likelihood is the right one. `acc_norm`: that of the
//! highest log-likelihood for each byte of the answer, the space before it not counted (the harness
//! counts characters: the same in ASCII).

use super::item::{Choice, Problem};

/// Letters of the choices in MMLU's prompts.
const LETTERS: [char; 4] = ['A', 'B', 'C', 'D'];

/// ARC, PIQA, MathQA: a question, and an answer.
pub fn asked(question: &str, answers: &[String]) -> Vec<Choice> {
    let context = question_and_answer(question);
    answers.iter().map(|answer| choice(&context, answer)).collect()
}

/// OpenBookQA, HellaSwag: a text and how it goes on.
pub fn continued(text: &str, endings: &[String]) -> Vec<Choice> {
    endings.iter().map(|ending| choice(text, ending)).collect()
}

/// BoolQ: 0 is no, 1 is yes.
pub fn yes_or_no(question: &str) -> Vec<Choice> {
    let context = question_and_answer(question);
    ["no", "yes"].into_iter().map(|answer| choice(&context, answer)).collect()
}

/// WinoGrande by partial evaluation (arXiv 1806.02847): the choices differ in what is given, the
/// same words are scored.
pub fn filled_in(before: &str, after: &str, options: &[String]) -> Vec<Choice> {
    options.iter().map(|option| choice(&format!("{before}{option}"), after.trim())).collect()
}

/// MMLU: the letter of the right option.
pub fn lettered(question: &str, options: &[String; 4]) -> Vec<Choice> {
    let mut context = question.trim().to_owned();
    for (letter, option) in LETTERS.iter().zip(options) {
        context.push_str(&format!("\n{letter}. {option}"));
    }
    context.push_str("\nAnswer:");
    LETTERS.iter().map(|letter| choice(&context, &letter.to_string())).collect()
}

/// What precedes all of a subject's questions in MMLU.
pub fn about(subject: &str) -> String {
    let subject = subject.replace('_', " ");
    format!("The following are multiple choice questions (with answers) about {subject}.\n\n")
}

/// GSM8K's question.
pub fn problem(problem: &Problem) -> String {
    question_and_answer(&problem.question)
}

/// A solved example, given its context and its right continuation.
pub fn solved(context: &str, continuation: &str) -> String {
    format!("{context}{continuation}\n\n")
}

fn question_and_answer(question: &str) -> String {
    format!("Question: {question}\nAnswer:")
}

fn choice(context: &str, answer: &str) -> Choice {
    Choice { context: context.to_owned(), continuation: format!(" {answer}"), bytes: answer.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_behind_the_options() {
        let options = ["0", "4", "2", "6"].map(str::to_owned);
        let choices = lettered(" What is 2 + 2? ", &options);
        assert_eq!(choices[1].context, "What is 2 + 2?\nA. 0\nB. 4\nC. 2\nD. 6\nAnswer:");
        assert_eq!((choices[1].continuation.as_str(), choices[1].bytes), (" B", 1));
        assert_eq!(choices.len(), 4);
    }

    #[test]
    fn the_blank_is_filled_and_the_rest_is_scored() {
        let options = ["Ann", "Eve"].map(str::to_owned);
        let choices = filled_in("Ann owed Eve a lot, so ", " paid her. ", &options);
        assert_eq!(choices[0].context, "Ann owed Eve a lot, so Ann");
        assert_eq!(choices[1].context, "Ann owed Eve a lot, so Eve");
        assert!(choices.iter().all(|choice| choice.continuation == " paid her."));
    }

    #[test]
    fn bytes_are_counted_without_the_space() {
        let choices = continued("A caf", &["\u{e9}".to_owned()]);
        assert_eq!((choices[0].continuation.as_str(), choices[0].bytes), (" \u{e9}", 2));
    }
}
