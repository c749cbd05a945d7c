//! The `hardtack` program: flags become typed arguments, one module does the work, and errors
//! become exit codes.

mod args;
mod bake;
mod bench;
mod chat;
mod eval;
mod input;
mod inspect;
mod interrupt;
mod lines;
mod model;
#[cfg(unix)]
mod os;
mod output;
mod pages;
mod progress;
mod provenance;
mod run;
mod size;
mod terminal;

use std::process::ExitCode;

use clap::{ColorChoice, CommandFactory, FromArgMatches};

use args::{Arguments, Command};

fn main() -> ExitCode {
    interrupt::prepare();
    let Arguments { command, quiet, color } = read_arguments();
    if quiet {
        output::be_quiet();
    }
    output::set_color(color);
    let result = match command {
        Command::Bake(arguments) => bake::bake(&arguments),
        Command::Chat(arguments) => chat::chat(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Inspect(arguments) => inspect::inspect(&arguments),
        Command::Eval(arguments) => eval::eval(&arguments),
        Command::Bench(arguments) => bench::bench(&arguments),
        Command::Completions(arguments) => pages::completions(&arguments),
        Command::Man(arguments) => pages::manual(&arguments),
    };
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has gone: nothing is left to be said to them.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::warn(format_args!("hardtack: {}", output::one_line(&error)));
            ExitCode::FAILURE
        }
    };
    terminal::restore();
    // Work that was ended early may have an error to tell, but its end was asked for.
    interrupt::exit_code().map_or(code, ExitCode::from)
}

/// Reads the command line; one that cannot be read ends the program with code 2. Its own complaints
/// follow `--color` too.
fn read_arguments() -> Arguments {
    let words: Vec<_> = std::env::args_os().collect();
    let given = |choice: &str| {
        let apart = words.windows(2).any(|pair| pair[0] == "--color" && pair[1] == choice);
        apart || words.iter().any(|word| word.to_str() == Some(&format!("--color={choice}")))
    };
    let color = match () {
        () if given("never") => ColorChoice::Never,
        () if given("always") => ColorChoice::Always,
        () => ColorChoice::Auto,
    };
    let matches = Arguments::command().color(color).get_matches_from(&words);
    Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}
