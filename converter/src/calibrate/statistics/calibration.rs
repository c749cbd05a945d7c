//! A whole calibration: forward through all layers, the loss, then backward layer by layer; saved
//! after each layer.

use std::path::{Path, PathBuf};

use hardtack_format::Encoding;

use super::boundaries::Boundaries;
use super::inputs::{Consumer, NoConsumer};
use super::rows::Rows;
use super::run::Run;
use super::settings::{Progress, Settings};
use crate::calibrate::error::CalibrateError;
use crate::calibrate::model::Model;
use crate::calibrate::tables::{Header, State, Tables, read, read_state, write, write_state};
use crate::calibrate::text::{Domain, windows};
use crate::files::beside;

/// Takes all statistics of a checkpoint on some texts. What goes into each expert is handed to
/// `consumer` on the way.
///
/// With an output, the tables are written there, and everything is saved after each layer: a
/// calibration of the same checkpoint, tokens and settings goes on from the last layer that was
/// saved, and yields the same tables to the bit. The consumer does not see again the layers that
/// were done before.
///
/// # Errors
/// The checkpoint, a text or a file is no use, or `stop` was set.
pub fn calibrate(
    model: &Model,
    domains: &[Domain],
    settings: &Settings<'_>,
    consumer: &mut dyn Consumer,
    progress: &mut dyn FnMut(Progress),
) -> Result<Tables, CalibrateError> {
    calibrate_as(None, model, domains, settings, consumer, progress)
}

/// The same, with the header if it is known: it takes reading the whole checkpoint.
fn calibrate_as(
    known: Option<Header>,
    model: &Model,
    domains: &[Domain],
    settings: &Settings<'_>,
    consumer: &mut dyn Consumer,
    progress: &mut dyn FnMut(Progress),
) -> Result<Tables, CalibrateError> {
    let windows = windows(domains, model.spec(), settings.domain_tokens_min)?;
    if settings.options.is_empty() || settings.options.contains(&Encoding::Plain) {
        let found =
            settings.options.iter().map(|option| option.name()).collect::<Vec<_>>().join(", ");
        return Err(CalibrateError::Settings {
            expected: "encodings of matrices as options".to_owned(),
            found,
        });
    }
    let header = known.map_or_else(|| header(model, domains, settings), Ok)?;
    let total = (2 * model.spec().layers.len() as u64 + 1) * windows.len() as u64;
    Run::new(model, settings, windows, total, progress)?.all(header, consumer)
}

/// The tables in the settings' output if they are of this checkpoint, these texts and these
/// options; else a calibration, which writes them there.
///
/// # Errors
/// Those of [`calibrate`].
pub fn calibrate_once(
    model: &Model,
    domains: &[Domain],
    settings: &Settings<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Tables, CalibrateError> {
    let mut known = None;
    if let Some(path) = settings.output.filter(|path| path.exists())
        && let Ok(tables) = read(path)
    {
        let header = header(model, domains, settings)?;
        if tables.header == header {
            return Ok(tables);
        }
        known = Some(header);
    }
    calibrate_as(known, model, domains, settings, &mut NoConsumer, progress)
}

fn header(
    model: &Model,
    domains: &[Domain],
    settings: &Settings<'_>,
) -> Result<Header, CalibrateError> {
    let source = model.source_hash(settings.stop)?;
    Ok(Header::new(model.spec(), source, domains, &settings.options, settings.seed))
}

impl Run<'_> {
    fn all(
        &mut self,
        header: Header,
        consumer: &mut dyn Consumer,
    ) -> Result<Tables, CalibrateError> {
        let layers = self.model.spec().layers.len();
        let state_path = self.settings.output.map(state_path);
        let saved = match &state_path {
            Some(path) => read_state(path, &header, self.hidden)?,
            None => None,
        };
        let depth = saved.as_ref().map_or(layers, |state| state.layers_left);
        let bytes_max = self.settings.boundary_bytes_max;
        let mut boundaries =
            Boundaries::new(depth, self.tokens() * self.hidden, bytes_max, self.settings.scratch)?;
        let mut state = match saved {
            Some(state) => {
                // What was done before: the head, and both directions of the layers that are not
                // needed again.
                self.done = self.windows.len() as u64 * (2 * (layers - depth) as u64 + 1);
                // The gradient is at this layer's output, so its input is the last boundary
                // there is.
                self.forward(depth, depth.saturating_sub(1), &mut boundaries)?;
                state
            }
            None => {
                let stream = self.forward(depth, depth, &mut boundaries)?;
                let mut tables = header.zeros();
                let gradient = self.head(stream, &mut tables)?;
                let state = State { tables, gradient, layers_left: layers };
                self.save(state_path.as_deref(), &state)?;
                state
            }
        };
        while state.layers_left > 0 {
            state = self.backward(&boundaries, state, consumer)?;
            self.save(state_path.as_deref(), &state)?;
        }
        self.embedding(&Rows::new(&state.gradient, self.hidden), &mut state.tables)?;
        if let Some(output) = self.settings.output {
            write(output, &state.tables)?;
        }
        if let Some(path) = state_path {
            // The tables are written; a state that is left only costs its bytes.
            let _ = std::fs::remove_file(path);
        }
        Ok(state.tables)
    }

    fn save(&self, path: Option<&Path>, state: &State) -> Result<(), CalibrateError> {
        path.map_or(Ok(()), |path| write_state(path, state, self.hidden))
    }
}

/// The file with the state of a calibration whose tables go to `output`.
pub fn state_path(output: &Path) -> PathBuf {
    beside(output, "state")
}
