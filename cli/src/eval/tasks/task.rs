//! The tasks: their names, the files they are recognised by, and the metric the field quotes of
//! each.

use std::path::{Path, PathBuf};

/// A task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    ArcEasy,
    ArcChallenge,
    OpenBookQa,
    Piqa,
    WinoGrande,
    BoolQ,
    MathQa,
    HellaSwag,
    Mmlu,
    Gsm8k,
}

/// Each task with its name, which is lm-evaluation-harness's.
const NAMES: [(Task, &str); 10] = [
    (Task::ArcEasy, "arc_easy"),
    (Task::ArcChallenge, "arc_challenge"),
    (Task::OpenBookQa, "openbookqa"),
    (Task::Piqa, "piqa"),
    (Task::WinoGrande, "winogrande"),
    (Task::BoolQ, "boolq"),
    (Task::MathQa, "mathqa"),
    (Task::HellaSwag, "hellaswag"),
    (Task::Mmlu, "mmlu"),
    (Task::Gsm8k, "gsm8k"),
];

impl Task {
    /// The task of this name; `-` is as good as `_`, and letters may be of either case.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = plain(name);
        NAMES.iter().find(|(_, own)| *own == name).map(|(task, _)| *task)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(task, _)| *task == self).expect("every task is listed").1
    }

    /// The names of its two metrics. For choices: the likeliest, as it is and for each byte. For
    /// GSM8K: the answer after `####`, and the last number of any kind.
    pub fn metrics(self) -> [&'static str; 2] {
        match self {
            Self::Gsm8k => ["strict_match", "flexible_extract"],
            _ => ["acc", "acc_norm"],
        }
    }

    /// Which of the two the field quotes.
    pub fn headline(self) -> usize {
        match self {
            Self::ArcChallenge | Self::OpenBookQa | Self::HellaSwag => 1,
            _ => 0,
        }
    }

    /// The task that a path's last telling part names: `ARC-Easy.test.json`, or `gsm8k/test.jsonl`.
    fn of_path(path: &Path) -> Option<Self> {
        path.iter().rev().find_map(|part| {
            let part = plain(&part.to_string_lossy());
            let mut named = NAMES.iter().filter(|(_, name)| part.contains(name));
            match (named.next(), named.next()) {
                (Some((task, _)), None) => Some(*task),
                _ => None,
            }
        })
    }
}

fn plain(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

/// A task and where its items are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskFile {
    pub task: Task,
    pub path: PathBuf,
}

impl TaskFile {
    /// Reads `NAME=FILE`, or `FILE` where the path names the task.
    ///
    /// # Errors
    /// An unknown name, or a path that names no task; both list the names.
    pub fn parse(text: &str) -> Result<Self, String> {
        let names = || NAMES.map(|(_, name)| name).join(", ");
        if let Some((name, path)) = text.split_once('=')
            && !name.contains(['/', '\\'])
        {
            let task = Task::from_name(name)
                .ok_or_else(|| format!("no task {name}: expected one of {}", names()))?;
            return Ok(Self { task, path: path.into() });
        }
        let path = PathBuf::from(text);
        match Task::of_path(&path) {
            Some(task) => Ok(Self { task, path }),
            None => {
                Err(format!("the path names no task: write NAME={text} with one of {}", names()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_flag_or_the_path() {
        let task = |text: &str| TaskFile::parse(text).map(|file| file.task);
        assert_eq!(task("multiple-choice/ARC-Easy.test.json"), Ok(Task::ArcEasy));
        assert_eq!(task("multiple-choice/openbookqa.test.json"), Ok(Task::OpenBookQa));
        assert_eq!(task("gsm8k/test.jsonl"), Ok(Task::Gsm8k));
        assert_eq!(task("mmlu/test"), Ok(Task::Mmlu));
        assert_eq!(task("mmlu/hellaswag_val_full.txt.bz2"), Ok(Task::HellaSwag));
        assert_eq!(task("ARC-Challenge=questions.json"), Ok(Task::ArcChallenge));
        assert_eq!(TaskFile::parse("piqa=boolq.json").unwrap().path, Path::new("boolq.json"));
        assert_eq!(task("piqa/a=b.json"), Ok(Task::Piqa));
        assert!(task("arc=questions.json").unwrap_err().contains("arc_challenge"));
        assert!(task("questions.json").unwrap_err().contains("NAME=questions.json"));
        // Two names are none.
        assert!(task("piqa-boolq.json").is_err());
    }
}
