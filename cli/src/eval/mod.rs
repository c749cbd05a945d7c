//! `hardtack eval`: judges a model.

mod divergence;
mod likelihood;
mod logits;
mod mean;
mod perplexity;
mod windows;

use crate::args::{EvalArguments, Evaluation};

/// Runs the evaluation that the flags name.
pub fn eval(arguments: &EvalArguments) -> anyhow::Result<()> {
    match &arguments.what {
        Evaluation::Ppl(arguments) => perplexity::perplexity(arguments),
        Evaluation::Kld(arguments) => divergence::kld(arguments),
        Evaluation::Logits(arguments) => logits::logits(arguments),
    }
}
