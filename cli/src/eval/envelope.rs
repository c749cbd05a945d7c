//! The JSON of every evaluation: the same four fields first, then the figures.
//!
//! | field | |
//! |---|---|
//! | `evaluation` | `ppl`, `kld`, `stream` or `tasks` |
//! | `blob` | the model that is judged |
//! | `against` | the model it is compared with, or null |
//! | `partial` | true where Ctrl-C ended it early: the figures are those of what was measured until then |
//!
//! A mean that is compared is an object `{mean, standard_error, interval: [low, high],
//! excludes_zero}` with the 95 % interval of a paired bootstrap; `interval` and `excludes_zero` are
//! null where there are too few numbers. Differences are those of `blob` less `against`. Fields are
//! added, never renamed.

use std::path::Path;

use serde::Serialize;

use crate::output::show_json;

#[derive(Serialize)]
struct Envelope<'a, T> {
    evaluation: &'static str,
    blob: String,
    against: Option<String>,
    partial: bool,
    #[serde(flatten)]
    figures: &'a T,
}

/// Prints the figures of an evaluation in their envelope.
pub fn print<T: Serialize>(
    evaluation: &'static str,
    blob: &Path,
    against: Option<&Path>,
    partial: bool,
    figures: &T,
) -> anyhow::Result<()> {
    let name = |path: &Path| path.display().to_string();
    let envelope =
        Envelope { evaluation, blob: name(blob), against: against.map(name), partial, figures };
    Ok(show_json(&envelope)?)
}
