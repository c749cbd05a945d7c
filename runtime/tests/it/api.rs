//! What holds for every public type: it can be shown, moved to another thread, and shared where it
//! belongs to no session.

use std::fmt::Debug;

use hardtack::chat::{Prompt, Prompter, Resumed, Text, Turn};
use hardtack::memory::{Bound, Room};
use hardtack::sample::*;
use hardtack::text::*;
use hardtack::*;

fn shared<T: Send + Sync + Debug>() {}
fn moved<T: Send + Debug>() {}

#[test]
fn public_types_are_sent_shared_and_shown() {
    shared::<(Engine, Options, DeviceChoice, Load, SystemMemory, Plan, plan::fixed::Fixed)>();
    shared::<(Cancel, Error, Ended, Report, Token, Restored, Bound, Room)>();
    shared::<(SessionOptions, KvPrecision, KvSize, RingBits, RingOptions, RingSize, Ladder)>();
    shared::<(SamplerOptions, Candidate, Candidates, LogProbability, LogProbabilities<'_>)>();
    shared::<(RepetitionPenalty, TopK, Temperature, TopP, MinP)>();
    shared::<(GenerateOptions, EmbedOptions, Pooling)>();
    shared::<(ChatOptions, WriteOptions, Delta, Prompter, Prompt, Turn, Resumed)>();
    shared::<(Tokenizer, TextError, TemplateError, Stops, Opening)>();
    shared::<(ChatTemplate, Message, Rendered, Span, Author, Clock, RenderLimits)>();
    moved::<(Session, Chat, Writer, Embedder, Sampler)>();
    moved::<(Generator<'_>, Answer<'_>, Text<'_>)>();
    moved::<TextStream<'_, Box<[u8]>>>();
}

/// What a caller may pass is refused by an error, never by a panic.
#[test]
fn wrong_arguments_are_errors() {
    let engine = Engine::open("tests/data/tiny.tack").unwrap();
    assert!(engine.sampler(SamplerOptions::new().top_k(Some(0))).is_err());
    let mut session = engine.session(&SessionOptions::new().context(8)).unwrap();
    let mut sampler = engine.sampler(SamplerOptions::new()).unwrap();
    // Nothing was fed: there are no logits, neither for a choice nor for a probability.
    assert!(session.choose(&mut sampler).is_err());
    assert!(session.log_probabilities().is_err());
    assert!(session.generator(&[], &mut sampler, GenerateOptions::new()).is_err());
    assert!(session.generator(&[1; 9], &mut sampler, GenerateOptions::new()).is_err());
    assert!(session.generator(&[u32::MAX], &mut sampler, GenerateOptions::new()).is_err());
    assert!(session.feed_hidden(&[], |_, _| ()).is_err());
    // A sampler of another vocabulary is no danger.
    let mut other = Sampler::new(SamplerOptions::new().repetition_penalty(2.0), 4).unwrap();
    session.read(&[1, 2]).unwrap();
    assert!(session.choose(&mut other).is_ok());
    assert_eq!(session.truncate(100), 2);
    assert!(session.tokens_since(100).is_none());
    let mut embedder = engine.embedder(EmbedOptions::new()).unwrap();
    assert!(embedder.embed(&[]).is_err() && embedder.embed(&[u32::MAX]).is_err());
    // Temperatures that nobody should ask for still choose a token.
    for filter in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let mut sampler = Sampler::chain(2).unwrap().then(Temperature(filter)).draw(1);
        assert!(sampler.sample(&[], &[1.0, 2.0]).unwrap() < 2);
    }
    let mut sampler = Sampler::chain(2).unwrap().then(TopK(0)).draw(1);
    assert!(matches!(sampler.sample(&[], &[1.0, 2.0]), Err(Error::NoToken)));
}

/// A generator ends for each of its reasons, and says so.
#[test]
fn a_generator_ends_and_says_why() {
    let engine = Engine::open("tests/data/tiny.tack").unwrap();
    let tokenizer = engine.tokenizer().unwrap();
    let mut sampler = engine.sampler(SamplerOptions::new()).unwrap();
    let ends = || GenerateOptions::new().ends(tokenizer.ends().iter().copied());
    let mut ended = |prompt: &[u32], context, options: GenerateOptions| {
        let options_of_session = SessionOptions::new().context(context).batch(2);
        let mut session = engine.session(&options_of_session).unwrap();
        let mut generator = session.generator(prompt, &mut sampler, options).unwrap();
        let tokens: Vec<u32> = generator.by_ref().map(|token| token.unwrap().id).collect();
        (generator.report().ended, tokens.len())
    };
    assert_eq!(ended(&[65], 64, ends()), (Ended::Finished, 8));
    assert_eq!(ended(&[65], 64, ends().tokens_max(3)), (Ended::Length, 3));
    // The token after the last one that fits is chosen, but not fed.
    assert_eq!(ended(&[65; 5], 8, ends()), (Ended::ContextFull, 4));
    let cancel = Cancel::new();
    cancel.cancel();
    assert_eq!(ended(&[65], 64, ends().cancel(cancel)), (Ended::Cancelled, 0));
}

/// All sessions of an engine keep its limit together, and a fork asks like a session.
#[test]
fn sessions_share_the_limit() {
    let path = "tests/data/tiny.tack";
    let asked = SessionOptions::new().context(4096);
    let one = Engine::open(path).unwrap().plan(&asked).unwrap();
    let session_bytes = one.kv_bytes + one.scratch_bytes;
    let memory_max = one.total_bytes() + session_bytes;
    let engine = Engine::open_with(path, &Options::new().memory_max(memory_max)).unwrap();
    let mut first = engine.session(&asked).unwrap();
    let second = first.fork().unwrap();
    let refused = first.fork().unwrap_err();
    let text = refused.to_string();
    assert!(matches!(refused, Error::Memory { .. }), "{text}");
    assert!(text.contains(&format!("other sessions {}", 2 * session_bytes)), "{text}");
    drop(second);
    first.fork().unwrap();
}
