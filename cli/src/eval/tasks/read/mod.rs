//! Files of tasks into items: one file of this folder for each layout.

mod gsm8k;
mod hellaswag;
mod instructions;
mod marks;
mod mmlu;
mod source;
#[cfg(test)]
mod tests;

use anyhow::{Context, ensure};

use super::item::Items;
use super::task::{Task, TaskFile};
pub use source::Source;

/// Reads all items of a task, and what they were read from.
///
/// # Errors
/// A file that cannot be read, is too long, or has an item that is not of the task's layout: file
/// and item are named.
pub fn read(file: &TaskFile) -> anyhow::Result<(Items, Vec<Source>)> {
    let sources = match file.task {
        Task::Mmlu => source::of_folder(&file.path)?,
        _ => vec![source::of_file(&file.path)?],
    };
    let mut items = match file.task {
        Task::Gsm8k => Items::Problems(Vec::new()),
        _ => Items::Questions(Vec::new()),
    };
    for source in &sources {
        let path = source.path.display();
        match &mut items {
            Items::Problems(problems) => {
                problems.extend(gsm8k::read(source).with_context(|| format!("{path}"))?)
            }
            Items::Questions(questions) => {
                let read = match file.task {
                    Task::HellaSwag => hellaswag::read(source),
                    Task::Mmlu => mmlu::read(source),
                    task => instructions::read(task, source),
                };
                questions.extend(read.with_context(|| format!("{path}"))?);
            }
        }
    }
    ensure!(items.count() > 0, "{}: no items", file.path.display());
    Ok((items, sources))
}
