//! `hardtack eval`: judges a model.

mod bootstrap;
mod divergence;
mod envelope;
mod finite;
mod held_out;
mod likelihood;
mod logits;
mod mean;
mod needle;
mod perplexity;
mod stream;
mod tasks;
pub mod text;
mod windows;

use crate::args::{EvalArguments, Evaluation};
pub use tasks::TaskFile;

/// Runs the evaluation that the flags name.
pub fn eval(arguments: &EvalArguments) -> anyhow::Result<()> {
    match &arguments.what {
        Evaluation::Ppl(arguments) => perplexity::perplexity(arguments),
        Evaluation::Kld(arguments) => divergence::kld(arguments),
        Evaluation::Stream(arguments) => stream::stream(arguments),
        Evaluation::Needle(arguments) => needle::needle(arguments),
        Evaluation::Tasks(arguments) => tasks::tasks(arguments),
        Evaluation::Logits(arguments) => logits::logits(arguments),
    }
}
