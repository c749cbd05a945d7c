//! What reading a `tokenizer.json` takes beside the estimate of it, and the ids of texts: `probe
//! FILE < TEXTS`, a JSON string a line in, a list of ids a line out. For holding both to the
//! library in Python.

use std::io::BufRead;

/// Most memory that this process has had, in bytes, on Linux.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) << 10
}

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let path = std::env::args().nth(1).ok_or("expected a file")?;
    let json = std::fs::read(&path)?;
    let survey = hardtack_tokenizer::survey(&json)?;
    let before = peak();
    let mut tokenizer = hardtack_tokenizer::load(&json, survey.model)?;
    let (taken, estimate) = (peak() - before, survey.memory_bytes());
    eprintln!(
        "{path}: {:?}, {} tokens, {} merges, {} pairs, {} bytes of pieces, {} added, {} classes, \
         {} bytes: estimated {estimate}, taken {taken}, {:.2} times",
        survey.model,
        survey.tokens,
        survey.merges,
        survey.pairs,
        survey.piece_bytes,
        survey.added,
        survey.classes,
        survey.bytes,
        estimate as f64 / taken as f64,
    );
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None)?;
    for line in std::io::stdin().lock().lines() {
        let text: String = serde_json::from_str(&line?)?;
        println!("{:?}", tokenizer.encode_fast(text, false)?.get_ids());
    }
    Ok(())
}
