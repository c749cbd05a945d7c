//! Log-likelihoods of continuations of one context, which is run once.

use anyhow::ensure;
use hardtack::Session;

use crate::eval::likelihood::log_likelihood;

/// A session that keeps what the next context has in common with the last: the words of a question between its choices,
/// solved examples between questions.
pub struct Scorer {
    session: Session,
    /// The tokens that the session holds.
    held: Vec<u32>,
}

/// What was found behind a context.
pub struct Scores {
    /// Log-likelihood of each continuation in nats.
    pub nats: Vec<f64>,
    /// Whether the context's beginning was left out because not all of it fits.
    pub truncated: bool,
}

impl Scorer {
    /// A scorer with an empty session.
    pub fn new(session: Session) -> Self {
        let held = Vec::with_capacity(session.capacity());
        Self { session, held }
    }

    /// Scores continuations, each of at least one token, behind a context of at least one. Where not everything fits, the
    /// context keeps its end.
    ///
    /// # Errors
    /// A continuation is longer than all that fits, or has a token the model does not have.
    pub fn score(&mut self, context: &[u32], continuations: &[Vec<u32>]) -> anyhow::Result<Scores> {
        let longest = continuations.iter().map(Vec::len).max().unwrap_or(1);
        let capacity = self.session.capacity();
        ensure!(longest <= capacity, "a continuation has {longest} tokens, {capacity} fit the context");
        // A continuation's last token is asked for and never fed.
        let room = capacity + 1 - longest;
        let truncated = context.len() > room;
        let context = &context[context.len().saturating_sub(room)..];

        let common = self.held.iter().zip(context).take_while(|(held, wanted)| held == wanted).count();
        // The last token is fed in any case, for its logits.
        let kept = common.min(context.len() - 1);
        self.session.truncate(kept);
        self.held.truncate(kept);
        let logits = self.session.feed(&context[kept..])?;
        let mut nats: Vec<f64> = continuations.iter().map(|tokens| log_likelihood(logits, tokens[0])).collect();
        self.held.extend_from_slice(&context[kept..]);
        for (nats, tokens) in nats.iter_mut().zip(continuations) {
            let (fed, asked) = (&tokens[..tokens.len() - 1], &tokens[1..]);
            self.session.truncate(context.len());
            self.session.feed_each(fed, |index, logits| *nats += log_likelihood(logits, asked[index]))?;
        }
        self.session.truncate(context.len());
        Ok(Scores { nats, truncated })
    }
}
