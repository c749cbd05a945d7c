//! The library in ten lines: open a blob, continue a text, print it as it comes.

use std::io::Write;

use hardtack::text::Opening;
use hardtack::{Engine, SessionOptions, WriteOptions, Writer};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(blob), Some(prompt)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: continue BLOB PROMPT");
    };

    let engine = Engine::open(blob)?;
    let session = SessionOptions::new().context(512);
    let mut writer =
        Writer::new(&engine, &WriteOptions::new().session(session).tokens_max(Some(64)))?;
    for text in writer.write(&engine.tokenizer()?.prompt(&prompt)?, Opening::Continuation)? {
        print!("{}", text?);
        std::io::stdout().flush()?;
    }
    println!();
    Ok(())
}
