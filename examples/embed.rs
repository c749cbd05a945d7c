//! The library in ten lines: open a blob, continue a text, print it as it comes.

use std::io::Write;
use std::ops::ControlFlow;

use hardtack::text::{Opening, Special, Stops, TextStream, Tokenizer};
use hardtack::{Engine, Options, Sampler, SamplerOptions, SessionOptions, format::SectionKind};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(blob), Some(prompt)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: embed BLOB PROMPT");
    };

    let engine = Engine::open(blob, &Options::default())?;
    let section = |kind| engine.section(kind).ok_or_else(|| anyhow::anyhow!("the blob has no tokenizer"));
    let tokenizer = Tokenizer::from_sections(section(SectionKind::Tokenizer)?, section(SectionKind::Vocabulary)?)?;
    let mut session = engine.session(&SessionOptions { context: 512, ..SessionOptions::default() })?;
    let mut sampler = Sampler::new(SamplerOptions::default(), engine.network().spec.vocabulary as usize)?;
    let mut text = TextStream::new(tokenizer.vocabulary(), Opening::Continuation, Stops::default());
    let mut tokens = 0;
    session.generate(&tokenizer.encode(&prompt, Special::Plain)?, &mut sampler, |token| {
        print!("{}", text.push(token).text);
        let _ = std::io::stdout().flush();
        tokens += 1;
        if tokenizer.is_end(token) || tokens == 64 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    println!("{}", text.finish().text);
    Ok(())
}
