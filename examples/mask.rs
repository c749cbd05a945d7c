//! A mask over the logits: the model answers with one of a few words and nothing else.

use hardtack::sample::Candidates;
use hardtack::{Engine, GenerateOptions, LogitsFilter, SamplerOptions, SessionOptions};

/// Allows the tokens that continue one of the words. A grammar does the same with more states.
struct OneOf {
    words: Vec<Vec<u8>>,
    /// Bytes of every token.
    bytes: Vec<Vec<u8>>,
    said: Vec<u8>,
}

impl LogitsFilter for OneOf {
    fn filter(&mut self, _history: &[u32], candidates: &mut Candidates) {
        candidates.retain(|candidate| {
            let more = &self.bytes[candidate.token as usize];
            let continues = |word: &[u8]| {
                word.strip_prefix(&*self.said).is_some_and(|rest| rest.starts_with(more))
            };
            !more.is_empty() && self.words.iter().any(|word| continues(word))
        });
    }

    fn begin(&mut self, _prompt: &[u32]) {
        self.said.clear();
    }

    fn accept(&mut self, token: u32) {
        self.said.extend_from_slice(&self.bytes[token as usize]);
    }
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(blob), Some(prompt)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: mask BLOB PROMPT WORD...");
    };
    let words: Vec<Vec<u8>> = arguments.map(String::into_bytes).collect();

    let engine = Engine::open(blob)?;
    let tokenizer = engine.tokenizer()?;
    let count = tokenizer.vocabulary().count();
    let bytes = (0..count).map(|token| tokenizer.bytes(token).to_vec()).collect();
    let mask = OneOf { words: words.clone(), bytes, said: Vec::new() };
    let mut sampler = engine.sampler(SamplerOptions::new())?.first(mask);
    let mut session = engine.session(&SessionOptions::new().context(512))?;

    let mut said = Vec::new();
    let prompt = tokenizer.prompt(&prompt)?;
    for token in session.generator(&prompt, &mut sampler, GenerateOptions::new())? {
        said.extend_from_slice(tokenizer.bytes(token?.id));
        if words.contains(&said) {
            break;
        }
    }
    println!("{}", String::from_utf8_lossy(&said));
    Ok(())
}
