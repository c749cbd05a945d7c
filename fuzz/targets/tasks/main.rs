//! Any bytes as a task's file; the first byte says which task. The readers are the program's own,
//! compiled from its sources.
#![no_main]

mod eval;

use std::sync::LazyLock;

use hardtack_fuzz::TempFile;
use libfuzzer_sys::fuzz_target;

use eval::tasks::item::Items;
use eval::tasks::read::read;
use eval::tasks::task::{Task, TaskFile};

const TASKS: [Task; 10] = [
    Task::ArcEasy,
    Task::ArcChallenge,
    Task::OpenBookQa,
    Task::Piqa,
    Task::WinoGrande,
    Task::BoolQ,
    Task::MathQa,
    Task::HellaSwag,
    Task::Mmlu,
    Task::Gsm8k,
];

static PLAIN: LazyLock<TempFile> = LazyLock::new(|| TempFile::new("task.json"));
static TABLE: LazyLock<TempFile> = LazyLock::new(|| TempFile::new("task.csv"));
static IN_FOLDER: LazyLock<TempFile> = LazyLock::new(|| TempFile::new("mmlu/task.csv"));
static PACKED: LazyLock<TempFile> = LazyLock::new(|| TempFile::new("task.csv.bz2"));

fuzz_target!(|bytes: &[u8]| {
    hardtack_fuzz::keep_limit();
    let Some((&kind, bytes)) = bytes.split_first() else { return };
    let task = TASKS[usize::from(kind) % TASKS.len()];
    let file = match (task, kind / TASKS.len() as u8 % 3) {
        (Task::Mmlu, _) => &IN_FOLDER,
        (_, 0) => &PLAIN,
        (_, 1) => &TABLE,
        _ => &PACKED,
    };
    file.write(bytes);
    // MMLU is a folder of tables.
    let path =
        if task == Task::Mmlu { file.path().parent().expect("a folder") } else { file.path() };
    let items = read(&TaskFile { task, path: path.to_owned() });
    let Ok((items, sources)) = items else { return };
    assert!(items.count() > 0 && !sources.is_empty());
    if let Items::Questions(questions) = items {
        assert!(questions.iter().all(|question| question.gold < question.choices.len()));
    }
});
