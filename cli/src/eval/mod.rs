//! `hardtack eval`: judges a model.

mod logits;
mod perplexity;

use crate::args::{EvalArguments, Evaluation};

/// Runs the evaluation that the flags name.
pub fn eval(arguments: &EvalArguments) -> anyhow::Result<()> {
    match &arguments.what {
        Evaluation::Ppl(arguments) => perplexity::perplexity(arguments),
        Evaluation::Logits(arguments) => logits::logits(arguments),
    }
}
