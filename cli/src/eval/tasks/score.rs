//! Log-likelihoods of continuations of one context, which is run once.

use anyhow::ensure;
use hardtack::Session;

use crate::eval::finite::ensure_finite;
use crate::eval::likelihood::log_likelihood;

/// A session that keeps what the next context has in common with the last: the words of a question
/// between its choices, solved examples between questions.
pub struct Scorer {
    session: Session,
    /// The tokens that the session holds.
    held: Vec<u32>,
}

/// What was found after a context.
pub struct Scores {
    /// Log-likelihood of each continuation in nats.
    pub nats: Vec<f64>,
    /// Whether the context's beginning was left out because not all of it fits.
    pub truncated: bool,
}

impl Scorer {
    /// A scorer with an empty session.
    pub fn new(session: Session) -> Self {
        Self { session, held: Vec::new() }
    }

    /// Scores continuations, each of at least one token, after a context of at least one. Where
    /// not everything fits, the context keeps its end.
    ///
    /// # Errors
    /// A continuation is longer than all that fits, or has a token the model does not have.
    pub fn score(&mut self, context: &[u32], continuations: &[Vec<u32>]) -> anyhow::Result<Scores> {
        let longest = continuations.iter().map(Vec::len).max().unwrap_or(1);
        let capacity = self.session.capacity();
        ensure!(
            longest <= capacity,
            "a continuation has {longest} tokens, {capacity} fit the context"
        );
        // A continuation's last token is asked for and never fed.
        let room = capacity + 1 - longest;
        let truncated = context.len() > room;
        let context = &context[context.len().saturating_sub(room)..];

        let common =
            self.held.iter().zip(context).take_while(|(held, wanted)| held == wanted).count();
        // The last token is fed in any case, for its logits.
        let kept = common.min(context.len() - 1);
        let kept = self.session.truncate(kept);
        self.held.truncate(kept);
        let logits = self.session.feed(&context[kept..])?;
        let mut nats: Vec<f64> =
            continuations.iter().map(|tokens| log_likelihood(logits, tokens[0])).collect();
        self.held.extend_from_slice(&context[kept..]);
        for (nats, tokens) in
            nats.iter_mut().zip(continuations).filter(|(_, tokens)| tokens.len() > 1)
        {
            let (fed, asked) = (&tokens[..tokens.len() - 1], &tokens[1..]);
            self.back_to(context)?;
            self.session
                .feed_each(fed, |index, logits| *nats += log_likelihood(logits, asked[index]))?;
        }
        self.back_to(context)?;
        nats.iter().try_for_each(|&nats| ensure_finite("a log-likelihood", nats))?;
        Ok(Scores { nats, truncated })
    }

    /// Goes back to where just the context had been fed; a ring may have to be fed the end of it
    /// again.
    fn back_to(&mut self, context: &[u32]) -> anyhow::Result<()> {
        let kept = self.session.truncate(context.len());
        if kept < context.len() {
            self.session.feed(&context[kept..])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use hardtack::format::Encoding;
    use hardtack::{Engine, KvPrecision, Options, SessionOptions};
    use hardtack_converter::{BakeOptions, Choices, Precision, bake};

    use super::*;

    /// A continuation's log-likelihood with everything run anew, token by token.
    fn alone(engine: &Engine, context: &[u32], continuation: &[u32]) -> f64 {
        let mut session = engine.session(&options(64)).unwrap();
        let tokens = [context, continuation].concat();
        let mut nats = 0.0;
        for (index, &token) in tokens[..tokens.len() - 1].iter().enumerate() {
            let logits = session.feed(&[token]).unwrap();
            if index + 1 >= context.len() {
                nats += log_likelihood(logits, tokens[index + 1]);
            }
        }
        nats
    }

    fn options(context: usize) -> SessionOptions {
        SessionOptions::new().context(context).batch(4).kv(KvPrecision::F32)
    }

    #[test]
    fn what_is_kept_changes_no_score() {
        let Some(fixture) = hardtack_testing::fixture("llama") else { return };
        let folder = tempfile::tempdir().unwrap();
        let blob = folder.path().join("llama.tack");
        let precision = Precision::Uniform(Encoding::F32);
        let stop = AtomicBool::new(false);
        let bake_options = BakeOptions {
            choices: Choices::default(),
            precision,
            head: None,
            calibration: &[],
            memory_max: None,
            stop: &stop,
        };
        bake(&fixture, &blob, &bake_options, &mut |_| ()).unwrap();
        let engine = Engine::open_with(&blob, &Options::default()).unwrap();

        let continuations = [vec![7], vec![8, 9], vec![7, 10, 11, 12, 13], vec![14]];
        let mut scorer = Scorer::new(engine.session(&options(64)).unwrap());
        // Longer, with a common beginning, the same again, shorter, and another.
        for context in [&[1, 2, 3][..], &[1, 2, 3, 4, 5, 6], &[1, 2, 3, 4, 5, 6], &[1, 2], &[9, 2]]
        {
            let found = scorer.score(context, &continuations).unwrap();
            assert!(!found.truncated);
            for (nats, continuation) in found.nats.iter().zip(&continuations) {
                assert_eq!(
                    *nats,
                    alone(&engine, context, continuation),
                    "{context:?} {continuation:?}"
                );
            }
        }

        // Eight tokens fit: four of the context before the four of the longest continuation that
        // are fed.
        let mut scorer = Scorer::new(engine.session(&options(8)).unwrap());
        let found = scorer.score(&[1, 2, 3, 4, 5, 6], &continuations).unwrap();
        assert!(found.truncated);
        assert_eq!(found.nats[2], alone(&engine, &[3, 4, 5, 6], &continuations[2]));
        assert!(!scorer.score(&[1, 2, 3, 4], &continuations).unwrap().truncated);
        let error = scorer.score(&[1], &[vec![1; 9]]).err().unwrap().to_string();
        assert!(error.contains("9 tokens, 8 fit"), "{error}");
    }
}
