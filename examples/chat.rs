//! A chat in twelve lines: ask, and print the answer as it comes.

use std::io::{Write, stdin, stdout};

fn main() -> anyhow::Result<()> {
    let blob = std::env::args().nth(1).expect("usage: chat BLOB < QUESTIONS");
    let engine = hardtack::Engine::open(blob)?;
    let mut chat = engine.chat(hardtack::ChatOptions::new().system("Be brief."))?;
    for question in stdin().lines() {
        for piece in chat.ask(question?)? {
            print!("{}", piece?);
            stdout().flush()?;
        }
        println!();
    }
    Ok(())
}
