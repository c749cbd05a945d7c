//! Names and their values, scope within scope. A macro keeps the scope that it was defined in.

use crate::text::template::value::Value;

/// Most names of all scopes together.
const NAMES_MAX: usize = 100_000;
/// Most scopes: those that are open, and those that macros keep.
const SCOPES_MAX: usize = 100_000;

pub(super) struct Scopes<'r> {
    /// The first one is the template's input, the second its own top level.
    scopes: Vec<Scope<'r>>,
    current: usize,
    /// Names of all scopes.
    names: usize,
}

struct Scope<'r> {
    names: Vec<(&'r str, Value)>,
    parent: usize,
    /// Where to go back to when it is left.
    caller: usize,
    /// A macro was defined here, so that the scope outlives its end.
    kept: bool,
}

impl<'r> Scopes<'r> {
    pub fn new() -> Self {
        Self {
            scopes: vec![Scope { names: Vec::new(), parent: 0, caller: 0, kept: true }],
            current: 0,
            names: 0,
        }
    }

    pub fn current(&self) -> usize {
        self.current
    }

    /// Opens a scope within `parent`, which need not be the present one.
    pub fn enter(&mut self, parent: usize) {
        self.scopes.push(Scope { names: Vec::new(), parent, caller: self.current, kept: false });
        self.current = self.scopes.len() - 1;
    }

    /// Goes back to the scope that was the present one before.
    pub fn leave(&mut self) {
        let scope = &mut self.scopes[self.current];
        let caller = scope.caller;
        if !scope.kept {
            self.names -= scope.names.len();
            scope.names.clear();
        }
        // What a macro keeps may lie above; it stays, and this one with it.
        while self.scopes.len() > self.current && self.scopes.last().is_some_and(|last| !last.kept)
        {
            self.scopes.pop();
        }
        self.current = caller;
    }

    /// Keeps the present scope, and those around it, until the rendering ends.
    pub fn keep(&mut self) -> usize {
        let mut at = self.current;
        while !self.scopes[at].kept {
            self.scopes[at].kept = true;
            at = self.scopes[at].parent;
        }
        self.current
    }

    /// Sets a name in the present scope, and returns how many names it looked at.
    pub fn set(&mut self, name: &'r str, value: Value) -> usize {
        let names = &mut self.scopes[self.current].names;
        match names.iter_mut().find(|(other, _)| *other == name) {
            Some((_, place)) => *place = value,
            None => {
                names.push((name, value));
                self.names += 1;
            }
        }
        names.len()
    }

    /// Whether there are more names or scopes than there may be.
    pub fn is_full(&self) -> bool {
        self.names > NAMES_MAX || self.scopes.len() > SCOPES_MAX
    }

    /// The value of a name, and how many names were looked at.
    pub fn get(&self, name: &str) -> (Option<&Value>, usize) {
        let mut at = self.current;
        let mut looked_at = 0;
        loop {
            let scope = &self.scopes[at];
            looked_at += scope.names.len() + 1;
            if let Some((_, value)) = scope.names.iter().find(|(other, _)| *other == name) {
                return (Some(value), looked_at);
            }
            if at == 0 {
                return (None, looked_at);
            }
            at = scope.parent;
        }
    }
}
