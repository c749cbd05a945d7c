//! Costs of cached chunks: the same two passes as for weights, layer by layer, with the gradient at
//! each attention's output.

use super::boundaries::Boundaries;
use super::routers::no_options;
use super::rows::Rows;
use super::run::Run;
use super::settings::{DTYPE, Progress, Settings};
use crate::calibrate::error::CalibrateError;
use crate::calibrate::graph::rms_norm;
use crate::calibrate::kv::{Chunk, chunks};
use crate::calibrate::model::Model;
use crate::calibrate::text::{Domain, windows};

/// The chunks of all windows of some texts, for every layer of a model, `[layer][chunk]`.
///
/// # Errors
/// The model or a text is no use, or `stop` was set.
pub fn kv_chunks(
    model: &Model,
    texts: &[Domain],
    settings: &Settings<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Vec<Chunk>>, CalibrateError> {
    let windows = windows(texts, model.spec(), settings.domain_tokens_min)?;
    let layers = model.spec().layers.len();
    let total = (2 * layers as u64 + 1) * windows.len() as u64;
    let settings = &Settings { options: Vec::new(), output: None, ..*settings };
    let mut run = Run::new(model, settings, windows, total, progress)?;
    let length = run.tokens() * run.hidden;
    let mut boundaries =
        Boundaries::new(layers, length, settings.boundary_bytes_max, settings.scratch)?;
    let stream = run.forward(layers, layers, &mut boundaries)?;
    let mut gradient = run.head(stream, &mut no_options(texts))?;
    let mut all = vec![Vec::new(); layers];
    for index in (0..layers).rev() {
        let spec = &model.spec().layers[index];
        let weights = model.layer(index, DTYPE)?;
        let input = boundaries.get(index)?;
        let (_, middle) = run.feed_forward_half(index, &weights, &input, gradient)?;
        for window in &run.windows {
            run.check_stop()?;
            let stream = Rows::new(&input, run.hidden).window(window)?;
            let normed = rms_norm(&stream, &weights.attention_norm, run.pass.epsilon)?;
            let upstream =
                (Rows::new(&middle, run.hidden).window(window)? * run.pass.residual_scale)?;
            all[index].extend(chunks(
                &spec.attention,
                &weights.attention,
                &normed,
                &upstream,
                &run.pass,
            )?);
        }
        gradient = run.attention_half(index, &weights, &input, middle)?;
    }
    Ok(all)
}
