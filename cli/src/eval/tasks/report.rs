//! The figures of each task, for people and for programs.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use super::task::Task;
use crate::args::BootstrapArguments;
use crate::eval::bootstrap::Estimate;
use crate::eval::mean::Mean;

/// All tasks.
#[derive(Serialize)]
pub struct Report {
    pub tasks: Vec<TaskReport>,
}

/// One task.
#[derive(Serialize)]
pub struct TaskReport {
    task: &'static str,
    file: String,
    /// Items that were measured.
    items: usize,
    /// Items that were asked for: more, if Ctrl-C ended it.
    items_wanted: usize,
    /// Solved examples before each.
    shots: usize,
    /// Items whose prompt did not fit and lost its beginning.
    truncated: usize,
    /// The metric that the field quotes.
    headline: &'static str,
    metrics: Vec<Metric>,
}

/// A share of right answers, from 0 to 1.
#[derive(Serialize)]
struct Metric {
    name: &'static str,
    value: f64,
    standard_error: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<Against>,
}

/// The same of the other model, on the same items.
#[derive(Serialize)]
struct Against {
    value: f64,
    standard_error: f64,
    difference: Estimate,
}

/// What a model got right, item after item: 1 or 0 for each of the two metrics.
#[derive(Default)]
pub struct Tally {
    pub right: [Vec<f64>; 2],
    pub truncated: usize,
}

impl Tally {
    /// Adds an item.
    pub fn add(&mut self, right: [bool; 2], truncated: bool) {
        for (column, right) in self.right.iter_mut().zip(right) {
            column.push(f64::from(u8::from(right)));
        }
        self.truncated += usize::from(truncated);
    }

    /// The share of items that are right by a metric.
    pub fn share(&self, metric: usize) -> f64 {
        mean(&self.right[metric]).mean()
    }
}

fn mean(values: &[f64]) -> Mean {
    let mut mean = Mean::default();
    values.iter().for_each(|&value| mean.add(value));
    mean
}

impl TaskReport {
    /// Of the judged model's tally, and of the other's if there is one.
    pub fn new(
        task: Task,
        path: &Path,
        items_wanted: usize,
        shots: usize,
        tallies: &[Tally],
        bootstrap: &BootstrapArguments,
    ) -> Self {
        let metric = |index: usize| {
            let own = &tallies[0].right[index];
            let against = tallies.get(1).map(|other| {
                let other = &other.right[index];
                let differences: Vec<f64> =
                    own.iter().zip(other).map(|(own, other)| own - other).collect();
                let (mean, difference) = (mean(other), Estimate::of(&differences, bootstrap));
                Against { value: mean.mean(), standard_error: mean.standard_error(), difference }
            });
            let mean = mean(own);
            let name = task.metrics()[index];
            Metric { name, value: mean.mean(), standard_error: mean.standard_error(), against }
        };
        Self {
            task: task.name(),
            file: path.display().to_string(),
            items: tallies[0].right[0].len(),
            items_wanted,
            shots,
            truncated: tallies.iter().map(|tally| tally.truncated).max().unwrap_or(0),
            headline: task.metrics()[task.headline()],
            metrics: vec![metric(0), metric(1)],
        }
    }

    /// Whether Ctrl-C ended it.
    pub fn partial(&self) -> bool {
        self.items < self.items_wanted
    }

    /// A line about the task, and one for each metric; `*` marks the one that the field quotes.
    pub fn text(&self) -> String {
        let mut text = format!("{}: {} items", self.task, self.items);
        if self.partial() {
            write!(text, " of {}, interrupted", self.items_wanted)
                .expect("writing to a string never fails");
        }
        text.push_str(&match self.shots {
            0 => String::new(),
            1 => ", 1 shot".to_owned(),
            shots => format!(", {shots} shots"),
        });
        if self.truncated > 0 {
            write!(text, ", {} cut to fit the context", self.truncated)
                .expect("writing to a string never fails");
        }
        text.push('\n');
        for metric in &self.metrics {
            let mark = if metric.name == self.headline { '*' } else { ' ' };
            text.push_str(&format!("{mark} {:<16} {}\n", metric.name, metric.text()));
        }
        text
    }
}

impl Metric {
    fn text(&self) -> String {
        let mut text =
            format!("{:6.2} +- {:.2} %", self.value * 100.0, self.standard_error * 100.0);
        if let Some(Against { value, standard_error, difference }) = &self.against {
            text.push_str(&format!(
                "; against {:.2} +- {:.2} %: {:+.2} (95 %: {}): {}",
                value * 100.0,
                standard_error * 100.0,
                difference.mean * 100.0,
                difference.show_interval(100.0, 2),
                difference.verdict()
            ));
        }
        text
    }
}
