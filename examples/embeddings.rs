//! Texts as vectors: the lines of standard input, the nearest to a question first.

use hardtack::{EmbedOptions, Engine};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(blob), Some(question)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: embeddings BLOB QUESTION < LINES");
    };

    let engine = Engine::open(blob)?;
    let mut embedder = engine.embedder(EmbedOptions::new())?;
    let mut embed = |text: &str| -> Result<Vec<f32>, hardtack::Error> {
        embedder.embed(&engine.tokenizer()?.prompt(text)?)
    };
    let wanted = embed(&question)?;
    let mut lines = Vec::new();
    for line in std::io::stdin().lines() {
        let line = line?;
        // Vectors have the length 1, so that their product is the cosine.
        let cosine: f32 = embed(&line)?.iter().zip(&wanted).map(|(a, b)| a * b).sum();
        lines.push((cosine, line));
    }
    lines.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (cosine, line) in lines {
        println!("{cosine:.3} {line}");
    }
    Ok(())
}
