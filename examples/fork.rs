//! One prefix for many questions: it is read once, and each question goes on in a fork of it.

use hardtack::text::{Opening, Stops, TextStream};
use hardtack::{Engine, GenerateOptions, SamplerOptions, SessionOptions};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(blob), Some(prefix)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: fork BLOB PREFIX QUESTION...");
    };

    let engine = Engine::open(blob)?;
    let tokenizer = engine.tokenizer()?;
    let mut session = engine.session(&SessionOptions::new().context(512))?;
    session.read(&tokenizer.prompt(&prefix)?)?;

    let mut sampler = engine.sampler(SamplerOptions::new())?;
    for question in arguments {
        let mut fork = session.fork()?;
        let options = GenerateOptions::new().tokens_max(32).ends(tokenizer.ends().iter().copied());
        let tokens = tokenizer.encode(&question)?;
        let mut text =
            TextStream::new(tokenizer.vocabulary(), Opening::Continuation, Stops::default());
        print!("{prefix}{question}");
        for token in fork.generator(&tokens, &mut sampler, options)? {
            print!("{}", text.push(token?.id).text);
        }
        println!("{}", text.finish().text);
    }
    Ok(())
}
