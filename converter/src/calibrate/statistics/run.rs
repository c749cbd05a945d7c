//! One pass over the windows of some texts: what its forward and backward halves share.

use std::sync::atomic::Ordering;

use super::settings::{DTYPE, Phase, Progress, Settings};
use crate::calibrate::error::CalibrateError;
use crate::calibrate::graph::Pass;
use crate::calibrate::model::Model;
use crate::calibrate::text::Window;

/// A pass under way.
pub struct Run<'a> {
    pub model: &'a Model,
    pub settings: &'a Settings<'a>,
    pub pass: Pass,
    pub hidden: usize,
    pub windows: Vec<Window<'a>>,
    pub done: u64,
    pub total: u64,
    pub progress: &'a mut dyn FnMut(Progress),
}

impl<'a> Run<'a> {
    pub fn new(
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
    /// Tokens of all windows.
    pub fn tokens(&self) -> usize {
        self.windows.iter().map(|window| window.tokens.len()).sum()
    }

    pub fn check_stop(&self) -> Result<(), CalibrateError> {
        if self.settings.stop.load(Ordering::Relaxed) {
            Err(CalibrateError::Interrupted)
        } else {
            Ok(())
        }
    }

    pub fn step(&mut self, phase: Phase, windows: u64) {
        self.done += windows;
        (self.progress)(Progress { phase, done: self.done, total: self.total });
    }
}
