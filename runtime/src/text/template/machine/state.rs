//! What a machine keeps of macros and of loops that run.

use std::rc::Rc;

use crate::text::template::ast::{For, Macro};
use crate::text::template::value::{List, Value};

/// A macro, and the scope that its body sees.
pub(super) struct MacroValue<'r> {
    pub declared: &'r Macro,
    pub scope: usize,
}

/// A loop that runs.
pub(super) struct LoopState<'r> {
    /// What `Value::Loop` holds.
    pub number: u64,
    pub each: &'r For,
    /// The scope around the loop, for a recursive one.
    pub scope: usize,
    pub items: Rc<[Value]>,
    pub index: usize,
    /// Loops around this one that it was called from.
    pub depth0: usize,
    pub changed: Option<List>,
}
