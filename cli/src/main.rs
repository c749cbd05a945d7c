//! The `hardtack` program: flags become typed arguments, one module does the work, and errors become exit codes.

mod args;
mod bake;
mod bench;
mod chat;
mod conversation;
mod eval;
mod inspect;
mod interrupt;
mod model;
mod output;
mod progress;
mod run;
mod saved;
mod size;
mod speak;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};

/// Exit code of a run that Ctrl-C ended, as shells give it.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Bake(arguments) => bake::bake(&arguments),
        Command::Chat(arguments) => chat::chat(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Inspect(arguments) => inspect::inspect(&arguments),
        Command::Eval(arguments) => eval::eval(&arguments),
        Command::Bench(arguments) => bench::bench(&arguments),
    };
    match result {
        Ok(()) if interrupt::requested() => ExitCode::from(INTERRUPTED),
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has gone: nothing is left to be said to them.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(format_args!("hardtack: {}", output::one_line(&error)));
            ExitCode::FAILURE
        }
    }
}
