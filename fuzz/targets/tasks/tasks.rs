//! The rooms of `cli/src/eval/tasks` that read files.
#![allow(dead_code, reason = "the program uses the rest")]

#[path = "../../../cli/src/eval/tasks/item.rs"]
pub mod item;
#[path = "../../../cli/src/eval/tasks/prompts.rs"]
pub mod prompts;
#[path = "../../../cli/src/eval/tasks/read/mod.rs"]
pub mod read;
#[path = "../../../cli/src/eval/tasks/task.rs"]
pub mod task;
