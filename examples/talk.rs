//! A conversation in ten lines: ask, print the answer as it comes, keep everything in a file.

use std::io::Write;

use hardtack::{ChatOptions, Delta, Engine};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(blob), Some(file)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: talk BLOB FILE < QUESTIONS");
    };

    let engine = Engine::open(blob)?;
    let mut chat = engine.chat(ChatOptions::new().system("Be brief.").file(file))?;
    for question in std::io::stdin().lines() {
        for delta in chat.ask(question?)? {
            match delta? {
                Delta::Thinking(text) => eprint!("{text}"),
                delta => print!("{}", delta.text()),
            }
            std::io::stdout().flush()?;
        }
        println!();
    }
    Ok(chat.close()?)
}
