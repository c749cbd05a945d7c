//! `hardtack eval tasks`: accuracy on the field's tasks, with prompts, scores and metrics as
//! lm-evaluation-harness has them ([`prompts`] has the table), and against another model on the
//! same items.

mod answer;
mod choose;
mod encode;
mod item;
mod items_file;
mod number;
mod prompts;
mod read;
mod report;
mod score;
mod solve;
mod task;

use std::path::PathBuf;

use anyhow::{bail, ensure};
use hardtack::Engine;

use super::envelope;
use super::held_out::ensure_held_out;
use crate::args::TasksArguments;
use crate::output::show;
use crate::{interrupt, model, progress};
use answer::Answer;
use choose::Chooser;
use item::Items;
use items_file::ItemsFile;
use report::{Report, Tally, TaskReport};
use score::Scorer;
use solve::Solver;
use task::Task;
pub use task::TaskFile;

/// Solved examples where `--shots-from` is given and `--shots` is not.
const SHOTS: usize = 5;
/// The same for GSM8K.
const SHOTS_GSM8K: usize = 8;

/// A task with its items and solved examples.
struct Set<'a> {
    file: &'a TaskFile,
    items: Items,
    examples: Items,
    shots: usize,
}

/// Answers the item of an index; `None` if Ctrl-C came before the answer's end.
type Examinee<'a> = Box<dyn FnMut(usize) -> anyhow::Result<Option<Answer>> + 'a>;

/// Measures and reports.
pub fn tasks(arguments: &TasksArguments) -> anyhow::Result<()> {
    interrupt::catch()?;
    let open = |blob: &PathBuf| {
        let engine =
            model::open(blob, &arguments.engine, &model::session_options(&arguments.session))?;
        model::tokenizer(&engine)?;
        Ok(engine)
    };
    let models: Vec<Engine> = [&arguments.blob]
        .into_iter()
        .chain(&arguments.against)
        .map(open)
        .collect::<anyhow::Result<_>>()?;
    let sets: Vec<Set<'_>> = arguments
        .tasks
        .iter()
        .map(|file| Set::read(file, &models, arguments))
        .collect::<anyhow::Result<_>>()?;
    for file in &arguments.shots_from {
        let asked = arguments.tasks.iter().any(|asked| asked.task == file.task);
        ensure!(
            asked,
            "{}: solved examples of {}, which is no --task",
            file.path.display(),
            file.task.name()
        );
    }
    let solves = sets.iter().any(|set| set.file.task == Task::Gsm8k);
    ensure!(
        solves || !arguments.chat,
        "--chat is for gsm8k: choices are scored as continuations of a text"
    );
    let mut items_file = arguments.items.as_deref().map(ItemsFile::create).transpose()?;

    let mut report = Report { tasks: Vec::new() };
    for set in &sets {
        // What was measured before is not lost to a Ctrl-C before this one's first answer.
        let Some(measured) = set.measure(&models, arguments, items_file.as_mut())? else { break };
        if !arguments.json {
            show(&measured.text())?;
        }
        report.tasks.push(measured);
    }
    ensure!(!report.tasks.is_empty(), "interrupted before the first answer");
    let partial = report.tasks.len() < sets.len() || report.tasks.iter().any(TaskReport::partial);
    if arguments.json {
        envelope::print("tasks", &arguments.blob, arguments.against.as_deref(), partial, &report)?;
    }
    Ok(())
}

impl<'a> Set<'a> {
    /// Reads everything, and refuses what a model was calibrated on and examples that are under
    /// test.
    fn read(
        file: &'a TaskFile,
        models: &[Engine],
        arguments: &TasksArguments,
    ) -> anyhow::Result<Self> {
        let (mut items, sources) = read::read(file)?;
        for source in &sources {
            for contents in source.contents() {
                ensure_held_out(&source.path, contents, models)?;
            }
        }
        items.spread(arguments.limit);
        let Some(from) = arguments.shots_from.iter().find(|from| from.task == file.task) else {
            return Ok(Self { file, examples: Items::none_like(&items), items, shots: 0 });
        };
        let default = if file.task == Task::Gsm8k { SHOTS_GSM8K } else { SHOTS };
        let shots = arguments.shots.unwrap_or(default);
        let (examples, example_sources) = read::read(from)?;
        let same = example_sources
            .iter()
            .find(|source| sources.iter().any(|tested| tested.text == source.text));
        if let Some(source) = same {
            bail!(
                "{}: this file is under test and cannot give solved examples too",
                source.path.display()
            );
        }
        let set = Self { file, items, examples, shots };
        set.check_examples()?;
        Ok(set)
    }

    /// Every item has as many examples as asked for.
    fn check_examples(&self) -> anyhow::Result<()> {
        match (&self.items, &self.examples) {
            (Items::Questions(questions), Items::Questions(examples)) => questions
                .iter()
                .try_for_each(|question| choose::before(question, examples, self.shots).map(drop)),
            (_, examples) => {
                let found = examples.count();
                ensure!(
                    found >= self.shots,
                    "expected {} solved examples, found {found}",
                    self.shots
                );
                Ok(())
            }
        }
    }

    /// Lets every model answer every item, one item after another, until Ctrl-C; `None` if it came
    /// before the first.
    fn measure(
        &self,
        models: &[Engine],
        arguments: &TasksArguments,
        mut items_file: Option<&mut ItemsFile>,
    ) -> anyhow::Result<Option<TaskReport>> {
        let task = self.file.task;
        let mut examinees: Vec<Examinee<'_>> = models
            .iter()
            .map(|engine| self.examinee(engine, arguments))
            .collect::<anyhow::Result<_>>()?;
        let mut tallies: Vec<Tally> = models.iter().map(|_| Tally::default()).collect();
        let things = format!("items of {}", task.name());
        let done = progress::for_each(self.items.count(), &things, |index| {
            let mut answers = Vec::with_capacity(examinees.len());
            for examinee in &mut examinees {
                let Some(answer) = examinee(index)? else { return Ok(None) };
                answers.push(answer);
            }
            for (tally, answer) in tallies.iter_mut().zip(&answers) {
                tally.add(answer.right, answer.truncated);
            }
            if let Some(file) = &mut items_file {
                let blobs = models.iter().map(Engine::path);
                blobs.zip(&answers).try_for_each(|(blob, answer)| {
                    file.add(task, self.items.place(index), blob, answer)
                })?;
            }
            let headline = task.headline();
            Ok(Some(format!(
                "{} {:.2} %",
                task.metrics()[headline],
                tallies[0].share(headline) * 100.0
            )))
        })?;
        let report = || {
            TaskReport::new(
                task,
                &self.file.path,
                self.items.count(),
                self.shots,
                &tallies,
                &arguments.bootstrap,
            )
        };
        Ok((done > 0).then(report))
    }

    fn examinee<'b>(
        &'b self,
        engine: &'b Engine,
        arguments: &TasksArguments,
    ) -> anyhow::Result<Examinee<'b>> {
        let tokenizer = model::tokenizer(engine)?;
        Ok(match (&self.items, &self.examples) {
            (Items::Questions(questions), Items::Questions(examples)) => {
                let session = engine.session(&model::session_options(&arguments.session))?;
                let mut chooser = Chooser { tokenizer, scorer: Scorer::new(session) };
                Box::new(move |index| {
                    let before = choose::before(&questions[index], examples, self.shots)?;
                    chooser.answer(&questions[index], &before).map(Some)
                })
            }
            (Items::Problems(problems), Items::Problems(examples)) => {
                let mut solver = Solver::new(engine, tokenizer, arguments)?;
                Box::new(move |index| solver.answer(&problems[index], &examples[..self.shots]))
            }
            _ => unreachable!("examples are read as the task's own items are"),
        })
    }
}
