//! Whether a model still knows a fact from far back in a text: needles at several depths, asked for
//! at its end.

use anyhow::{Context, ensure};
use hardtack::Session;
use hardtack::text::Tokenizer;
use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;

use super::envelope;
use super::finite::ensure_finite;
use super::likelihood::{largest, log_likelihood};
use super::mean::Mean;
use super::stream::text_tokens;
use crate::args::NeedleArguments;
use crate::output::show;
use crate::{interrupt, model, progress};

/// Who has a number, one for each depth.
const NAMES: [&str; 12] = [
    "Anna", "Boris", "Clara", "David", "Emma", "Felix", "Grace", "Henry", "Irene", "Jacob",
    "Karen", "Louis",
];
/// A ring of chunks of this many tokens goes back within the open one.
const CHUNK: usize = 64;

#[derive(Serialize)]
struct Report {
    /// Tokens of each text, before the questions.
    tokens: usize,
    kv_bytes: u64,
    trials: usize,
    depths: Vec<Depth>,
}

#[derive(Serialize)]
struct Depth {
    /// Tokens between the fact and the question.
    tokens: usize,
    /// Share of the facts that are answered to the last digit.
    answered: f64,
    standard_error: f64,
    /// Nats for the answer.
    nats: f64,
}

/// A fact and the question for it, in tokens.
struct Needle {
    fact: Vec<u32>,
    question: Vec<u32>,
    answer: Vec<u32>,
}

impl Needle {
    fn new(name: &str, number: u32, tokenizer: &Tokenizer) -> anyhow::Result<Self> {
        let encode = |text: &str| tokenizer.encode(text);
        let question = format!("\nThe secret number of {name} is");
        let fact = encode(&format!("{question} {number}. Remember it.\n"))?;
        let whole = encode(&format!("{question} {number}"))?;
        let question = encode(&question)?;
        let answer = whole
            .strip_prefix(&question[..])
            .context("a tokenizer that joins words with numbers")?
            .to_vec();
        Ok(Self { fact, question, answer })
    }
}

/// Measures and reports.
pub fn needle(arguments: &NeedleArguments) -> anyhow::Result<()> {
    interrupt::catch()?;
    let depths = &arguments.depths;
    ensure!(
        !depths.is_empty() && depths.len() <= NAMES.len(),
        "expected 1 to {} depths, found {}",
        NAMES.len(),
        depths.len()
    );
    ensure!(arguments.trials > 0, "no trial");
    let options = model::session_options(&arguments.session);
    let engine = model::open(&arguments.blob, &arguments.engine, &options)?;
    let tokenizer = model::tokenizer(&engine)?;
    let mut session = engine.session(&options)?;
    let mut random = Pcg64Mcg::seed_from_u64(arguments.seed);
    let deepest = depths.iter().copied().max().unwrap_or(0);
    // One token into a chunk, so that questions fit after it and the ring can go back to the
    // text's end.
    let tokens = (deepest + arguments.before).next_multiple_of(CHUNK) + 1;
    let room = |bytes| {
        model::ensure_room(&engine, &options, &arguments.engine, bytes, "the text's tokens")
    };
    let text =
        text_tokens(&engine, &arguments.text, arguments.trials.saturating_mul(tokens), room)?;
    let mut found = vec![(Mean::default(), Mean::default()); depths.len()];
    let trials = progress::for_each(arguments.trials, "texts", |trial| {
        let needles: Vec<Needle> = (0..depths.len())
            .map(|index| {
                let name = NAMES[(index + trial) % NAMES.len()];
                Needle::new(name, 1000 + (random.next_u64() % 9000) as u32, tokenizer)
            })
            .collect::<anyhow::Result<_>>()?;
        let first = trial * tokens;
        let mut haystack: Vec<u32> =
            (first..first + tokens).map(|at| text[at % text.len()]).collect();
        for (needle, &depth) in needles.iter().zip(depths) {
            let end = tokens - depth.min(tokens);
            ensure!(
                needle.fact.len() <= end,
                "a depth of {depth} tokens leaves no room for the fact"
            );
            haystack[end - needle.fact.len()..end].copy_from_slice(&needle.fact);
        }
        session.truncate(0);
        session.feed(&haystack)?;
        for (needle, (answered, nats)) in needles.iter().zip(&mut found) {
            let (right, cost) = ask(&mut session, needle)?;
            ensure_finite("the cost of an answer", cost)?;
            answered.add(f64::from(u8::from(right)));
            nats.add(cost);
            ensure!(
                session.truncate(tokens) == tokens,
                "a question and its answer are longer than a chunk of the ring"
            );
        }
        let right: f64 = found.iter().map(|(answered, _)| answered.sum()).sum();
        Ok(Some(format!("{right} of {} answered", (trial + 1) * depths.len())))
    })?;
    let depths = depths.iter().zip(&found).map(|(&tokens, (answered, nats))| Depth {
        tokens,
        answered: answered.mean(),
        standard_error: answered.standard_error(),
        nats: nats.mean(),
    });
    let report = Report { tokens, kv_bytes: session.kv_bytes(), trials, depths: depths.collect() };
    if arguments.json {
        return envelope::print(
            "needle",
            &arguments.blob,
            None,
            trials < arguments.trials,
            &report,
        );
    }
    Ok(show(&report.text())?)
}

/// Whether every token of the answer is the likeliest after the question, and what the answer costs
/// in nats.
fn ask(session: &mut Session, needle: &Needle) -> anyhow::Result<(bool, f64)> {
    let fed = [&needle.question[..], &needle.answer[..needle.answer.len() - 1]].concat();
    let (mut right, mut cost) = (true, 0.0);
    session.feed_each(&fed, |index, logits| {
        if let Some(&next) =
            (index + 1).checked_sub(needle.question.len()).and_then(|at| needle.answer.get(at))
        {
            right &= largest(logits).0 == next as usize;
            cost -= log_likelihood(logits, next);
        }
    })?;
    Ok((right, cost))
}

impl Report {
    /// For people.
    fn text(&self) -> String {
        let mut text = format!(
            "{} texts of {} tokens, keys and values in {} bytes\n",
            self.trials, self.tokens, self.kv_bytes
        );
        for depth in &self.depths {
            text += &format!(
                "{:>8} tokens back: {:>6.2} +- {:.2} % answered, {:.3} nats an answer\n",
                depth.tokens,
                depth.answered * 100.0,
                depth.standard_error * 100.0,
                depth.nats
            );
        }
        text
    }
}
