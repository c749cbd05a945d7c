//! The statistics that bits are allocated by, one layer in memory at a time: forward through all
//! layers, the loss, then backward layer by layer, each layer's costs taken as its gradient comes
//! by.

mod backward;
mod boundaries;
mod cost;
mod forward;
mod gates;
mod head;
mod inputs;
mod judge;
mod kv;
mod memory;
pub(super) mod rows;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::DType;
use hardtack_format::Encoding;

use self::boundaries::Boundaries;
use self::rows::Rows;
use super::error::CalibrateError;
use super::graph::Pass;
use super::model::Model;
use super::tables::{Header, State, Tables, read, read_state, write, write_state};
use super::text::{Domain, Window, windows};
use crate::bake::beside;
pub use cost::{Tile, block_costs, squared_change};
pub(super) use forward::embed;
pub use gates::{GateGradient, TuneSettings, gate_gradients, tune_gates};
pub use inputs::{Accumulate, Consumer, NoConsumer, Place};
pub use judge::{Judge, Judged, Stream};
pub use kv::kv_chunks;
pub use memory::{compress_bytes, peak_bytes};

/// The numbers that calibration computes with.
const DTYPE: DType = DType::F32;

/// How statistics are taken.
#[derive(Debug)]
pub struct Settings<'a> {
    /// The encodings to be tried on every matrix.
    pub options: Vec<Encoding>,
    /// The seed that the windows were drawn with; only recorded.
    pub seed: u64,
    /// Fewest tokens of a text.
    pub domain_tokens_min: usize,
    /// Blocks' inputs stay in memory up to this many bytes; beyond, they go to a temporary file.
    pub boundary_bytes_max: u64,
    /// Folder of that temporary file.
    pub scratch: &'a Path,
    /// Where the tables go. Beside it, under the same name with `.state`, stands what is done so
    /// far.
    pub output: Option<&'a Path>,
    /// Set from elsewhere to stop.
    pub stop: &'a AtomicBool,
}

impl<'a> Settings<'a> {
    /// No encodings are tried and no tables kept; blocks' inputs may take a GiB, and a text needs
    /// two tokens.
    pub fn new(scratch: &'a Path, stop: &'a AtomicBool) -> Self {
        Self {
            options: Vec::new(),
            seed: 0,
            domain_tokens_min: 2,
            boundary_bytes_max: 1 << 30,
            scratch,
            output: None,
            stop,
        }
    }
}

/// The encodings of codes: 1, 2, 3, 4, 5, 6 and 8 bits.
pub fn default_options() -> Vec<Encoding> {
    Encoding::MATRICES.into_iter().filter(|encoding| encoding.code_bits().is_some()).collect()
}

/// How far a calibration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Windows done, counted once for every layer in each direction and once for the head.
    pub done: u64,
    /// All of them.
    pub total: u64,
}

/// A part of a calibration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Through the layers, first to last.
    Forward,
    /// The loss and its gradient.
    Head,
    /// Through the layers, last to first, with all costs.
    Backward,
}

/// Takes all statistics of a checkpoint on some texts. What goes into each expert is handed to
/// `consumer` on the way.
///
/// With an output, the tables are written there, and everything is saved after each layer: a
/// calibration of the same checkpoint, tokens and settings goes on from the last layer that was
/// saved, and gives the same tables to the bit. The consumer is not told again of layers that were
/// done before.
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

/// One calibration under way.
struct Run<'a> {
    model: &'a Model,
    settings: &'a Settings<'a>,
    pass: Pass,
    hidden: usize,
    windows: Vec<Window<'a>>,
    done: u64,
    total: u64,
    progress: &'a mut dyn FnMut(Progress),
}

impl<'a> Run<'a> {
    fn new(
        model: &'a Model,
        settings: &'a Settings<'a>,
        windows: Vec<Window<'a>>,
        total: u64,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Result<Self, CalibrateError> {
        let longest = windows.iter().map(|window| window.tokens.len()).max().unwrap_or(0);
        let pass = Pass::new(model.spec(), &model.frequencies()?, longest, DTYPE)?;
        Ok(Self {
            model,
            settings,
            pass,
            hidden: model.spec().hidden as usize,
            windows,
            done: 0,
            total,
            progress,
        })
    }
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
                // The gradient stands at this layer's output, so its input is the last boundary
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
            // The tables are written; a state that stays behind only costs its bytes.
            let _ = std::fs::remove_file(path);
        }
        Ok(state.tables)
    }

    fn save(&self, path: Option<&Path>, state: &State) -> Result<(), CalibrateError> {
        path.map_or(Ok(()), |path| write_state(path, state, self.hidden))
    }

    /// Tokens of all windows.
    fn tokens(&self) -> usize {
        self.windows.iter().map(|window| window.tokens.len()).sum()
    }

    fn check_stop(&self) -> Result<(), CalibrateError> {
        if self.settings.stop.load(Ordering::Relaxed) {
            Err(CalibrateError::Interrupted)
        } else {
            Ok(())
        }
    }

    fn step(&mut self, phase: Phase, windows: u64) {
        self.done += windows;
        (self.progress)(Progress { phase, done: self.done, total: self.total });
    }
}

/// Where the state of a calibration stands whose tables go to `output`.
pub fn state_path(output: &Path) -> PathBuf {
    beside(output, "state")
}
