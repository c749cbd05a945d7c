//! `hardtack completions` and `hardtack man`: the command line described for shells and for `man`.

use anyhow::{Context, ensure};
use clap::CommandFactory;

use crate::args::{Arguments, CompletionsArguments, ManArguments};
use crate::output::show_raw;

/// Writes the completions of a shell.
pub fn completions(arguments: &CompletionsArguments) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "hardtack", &mut script);
    write(script)
}

/// Writes the page of the program or of one command, `hardtack-run(1)` for instance.
pub fn manual(arguments: &ManArguments) -> anyhow::Result<()> {
    let mut command = Arguments::command();
    command.build();
    let mut name = vec!["hardtack"];
    for word in &arguments.command {
        let known = || {
            let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
            names.join(", ")
        };
        let found = command.find_subcommand(word).cloned();
        command = found.with_context(|| {
            format!("no command {:?} of {}; known: {}", word, name.join(" "), known())
        })?;
        name.push(word);
    }
    let page_of = name.join("-");
    let mut page = Vec::new();
    clap_mangen::Man::new(command).title(page_of).render(&mut page)?;
    write(page)
}

fn write(text: Vec<u8>) -> anyhow::Result<()> {
    let text = String::from_utf8(text).context("a page in UTF-8")?;
    ensure!(!text.is_empty(), "an empty page");
    Ok(show_raw(&text)?)
}
