//! Where a model runs: the choice.

use crate::plan::SessionOptions;

/// What a model runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum DeviceChoice {
    /// The processor.
    #[default]
    Cpu,
    /// The first NVIDIA GPU that the driver names. Without one the model is not opened.
    Cuda,
    /// The first NVIDIA GPU if one opens and the model fits it with such a session, else the
    /// processor; [`crate::Engine::passed_over`] says why.
    Auto(SessionOptions),
}
