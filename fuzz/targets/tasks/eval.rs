//! The program's tasks, as far as they read files.

#[path = "tasks.rs"]
pub mod tasks;
