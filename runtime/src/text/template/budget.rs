//! The bytes that a template's values may take together, counted as they are made and never given back.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use minijinja::value::{Tuple, ValueKind};
use minijinja::{Error, ErrorKind, Value};

/// Lists within lists. Printing, comparing and dropping a value recurse as deep.
const DEPTH_MAX: usize = 24;
/// What one value costs beside its text: a list's entry, or a map's.
const ENTRY_BYTES: usize = 48;

/// Counts down; what is spent stays spent, which also bounds the work of copying.
#[derive(Debug)]
pub(super) struct Budget {
    bytes_left: AtomicUsize,
    /// Most bytes of one value, everything in it counted as often as it appears.
    value_bytes_max: usize,
    spent: AtomicBool,
    refusal: Mutex<Option<String>>,
}

impl Budget {
    pub fn new(output_bytes: usize, factor: usize) -> Self {
        let value_bytes_max = output_bytes.saturating_mul(4);
        Self {
            bytes_left: AtomicUsize::new(output_bytes.saturating_mul(factor)),
            value_bytes_max,
            spent: AtomicBool::new(false),
            refusal: Mutex::new(None),
        }
    }

    pub fn is_spent(&self) -> bool {
        self.spent.load(Ordering::Relaxed)
    }

    /// Keeps what `raise_exception` said.
    pub fn refuse(&self, reason: String) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    pub fn refusal(&self) -> Option<String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Pays for bytes that are about to be made.
    pub fn charge(&self, bytes: usize) -> Result<(), Error> {
        let pay = |left: usize| left.checked_sub(bytes);
        let paid = self.bytes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_ok();
        if paid && bytes <= self.value_bytes_max {
            return Ok(());
        }
        self.spent.store(true, Ordering::Relaxed);
        Err(Error::new(ErrorKind::InvalidOperation, "the template's values take too much memory"))
    }

    /// Pays for a value that an operation has made, and gives it back in a form that is fully in memory: a lazy
    /// sequence over a lazy sequence over another would be as deep as the template has steps.
    pub fn settle(&self, value: Value) -> Result<Value, Error> {
        let value = match value.kind() {
            ValueKind::Iterable => self.collect(&value)?,
            ValueKind::Seq if !is_tuple(&value) => self.collect(&value)?,
            _ => value,
        };
        let mut bytes = 0;
        self.weigh(&value, 0, &mut bytes)?;
        self.charge(bytes)?;
        Ok(value)
    }

    fn collect(&self, value: &Value) -> Result<Value, Error> {
        let mut items = Vec::new();
        for item in value.try_iter()? {
            if items.len() % 64 == 0 {
                self.charge(64 * ENTRY_BYTES)?;
            }
            items.push(item);
        }
        Ok(Value::from(items))
    }

    /// Adds up a value as it would be printed. Stops at the first byte too many, however often parts repeat.
    fn weigh(&self, value: &Value, depth: usize, bytes: &mut usize) -> Result<(), Error> {
        *bytes = bytes.saturating_add(ENTRY_BYTES + value.as_str().map_or(0, str::len));
        if *bytes > self.value_bytes_max {
            return self.charge(usize::MAX);
        }
        if depth > DEPTH_MAX {
            return Err(Error::new(ErrorKind::InvalidOperation, "lists or maps are nested too deep"));
        }
        if depth > 0 && is_namespace(value) {
            return Err(Error::new(ErrorKind::InvalidOperation, "a namespace cannot be stored in another value"));
        }
        match value.kind() {
            ValueKind::Seq => {
                for item in value.try_iter()? {
                    self.weigh(&item, depth + 1, bytes)?;
                }
            }
            ValueKind::Map => {
                for key in value.try_iter()? {
                    self.weigh(&key, depth + 1, bytes)?;
                    self.weigh(&value.get_item(&key)?, depth + 1, bytes)?;
                }
            }
            ValueKind::Iterable if depth > 0 => {
                return Err(Error::new(
                    ErrorKind::InvalidOperation,
                    "a lazy sequence cannot be stored in another value",
                ));
            }
            _ => {}
        }
        Ok(())
    }

    /// Text that is paid for while it grows.
    pub fn text(&self) -> BoundedText<'_> {
        BoundedText { text: String::new(), budget: self, failed: None }
    }
}

fn is_tuple(value: &Value) -> bool {
    value.downcast_object_ref::<Tuple>().is_some()
}

/// The engine's own type is private; a namespace within itself would be printed for ever.
pub(super) fn is_namespace(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.type_name().ends_with("Namespace"))
}

/// A string that fails instead of growing beyond the budget.
pub(super) struct BoundedText<'b> {
    text: String,
    budget: &'b Budget,
    failed: Option<Error>,
}

impl BoundedText<'_> {
    pub fn push(&mut self, text: &str) -> Result<(), Error> {
        self.budget.charge(text.len())?;
        if self.text.len() + text.len() > self.budget.value_bytes_max {
            return self.budget.charge(usize::MAX);
        }
        self.text.push_str(text);
        Ok(())
    }

    /// Appends a value as Python's Jinja prints it.
    pub fn push_value(&mut self, value: &Value) -> Result<(), Error> {
        if let Some(text) = value.as_str() {
            return self.push(text);
        }
        match value.kind() {
            ValueKind::None => self.push("None"),
            ValueKind::Bool => self.push(if value.is_true() { "True" } else { "False" }),
            _ => match fmt::write(self, format_args!("{value}")) {
                Ok(()) => Ok(()),
                Err(_) => Err(self.failed.take().unwrap_or_else(|| Error::from(fmt::Error))),
            },
        }
    }

    pub fn into_value(self) -> Value {
        Value::from(self.text)
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Write for BoundedText<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text).map_err(|error| {
            self.failed = Some(error);
            fmt::Error
        })
    }
}
