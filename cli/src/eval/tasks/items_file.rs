//! A line of JSON for each item and model: what was answered.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use super::answer::Answer;
use super::task::Task;

/// A file of answers, complete up to the last item at any time.
pub struct ItemsFile {
    path: PathBuf,
    file: File,
}

#[derive(Serialize)]
struct Line<'a> {
    task: &'static str,
    item: &'a str,
    blob: String,
    #[serde(flatten)]
    answer: &'a Answer,
}

impl ItemsFile {
    /// Begins the file. One that is there already is not overwritten: it may be anything.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create_new(path).with_context(|| format!("{}", path.display()))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Adds a model's answer.
    pub fn add(
        &mut self,
        task: Task,
        item: &str,
        blob: &Path,
        answer: &Answer,
    ) -> anyhow::Result<()> {
        let line = Line { task: task.name(), item, blob: blob.display().to_string(), answer };
        let line = serde_json::to_string(&line)? + "\n";
        self.file.write_all(line.as_bytes()).with_context(|| format!("{}", self.path.display()))
    }
}
