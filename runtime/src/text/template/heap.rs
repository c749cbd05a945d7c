//! What a rendering may spend, and the values that have an identity. Steps and characters looked at
//! are counted and never given back; memory is counted while values live.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::text::template::chars::{self, Ch};
use crate::text::template::input::RenderLimits;
use crate::text::template::value::{Dict, List, MISSING_NAME_BYTES_MAX, Text, Value};

pub(super) use crate::text::template::fault::{Cause, Fault, Held, Outcome, failed};

/// Characters that may be looked at or made, for each step and for each byte of text that may be
/// rendered.
const CHARACTERS_PER_STEP: u64 = 64;
const CHARACTERS_PER_OUTPUT_BYTE: u64 = 64;
/// What a step counts for in the time between two looks at whether somebody wants to stop.
const STEP_CHARACTERS: u64 = 64;
/// About a millisecond.
const CHARACTERS_PER_LOOK: u64 = 1 << 20;
/// Lists within lists. Printing, comparing and dropping a value recurse as deep.
const NESTING_MAX: u16 = 64;

/// A value that can change, so that templates share it by its number.
pub(super) enum Object {
    Namespace(Vec<(Text, Value)>),
    Cycler { items: List, position: usize },
    Joiner { separator: Text, used: bool },
}

/// Counts what a rendering takes and makes its values.
pub(super) struct Heap<'r> {
    steps_left: Cell<u64>,
    characters_left: Cell<u64>,
    /// Until somebody is asked whether to stop.
    characters_to_look: Cell<u64>,
    total: Rc<Cell<usize>>,
    bytes_max: usize,
    interrupted: Option<&'r dyn Fn() -> bool>,
    pub objects: RefCell<Vec<Object>>,
}

impl<'r> Heap<'r> {
    pub fn new(limits: &RenderLimits, interrupted: Option<&'r dyn Fn() -> bool>) -> Self {
        Self {
            steps_left: Cell::new(limits.steps),
            characters_left: Cell::new(
                limits.steps.saturating_mul(CHARACTERS_PER_STEP).saturating_add(
                    (limits.output_bytes as u64).saturating_mul(CHARACTERS_PER_OUTPUT_BYTE),
                ),
            ),
            characters_to_look: Cell::new(CHARACTERS_PER_LOOK),
            total: Rc::new(Cell::new(0)),
            bytes_max: limits.memory_bytes(),
            interrupted,
            objects: RefCell::new(Vec::new()),
        }
    }

    /// Pays for one step.
    pub fn step(&self) -> Outcome<()> {
        pay(&self.steps_left, 1)?;
        self.look(STEP_CHARACTERS)
    }

    /// Pays for characters that are looked at or made, or for items of lists.
    pub fn work(&self, characters: usize) -> Outcome<()> {
        pay(&self.characters_left, characters as u64)?;
        self.look(characters as u64)
    }

    /// Pays for looking at a value once, but for what is in its items.
    pub fn look_at(&self, value: &Value) -> Outcome<()> {
        self.work(match value {
            Value::Text(text) => text.len(),
            Value::List(items) | Value::Tuple(items) => items.len(),
            Value::Dict(pairs) | Value::View(_, pairs) => pairs.len(),
            _ => 1,
        })
    }

    fn look(&self, characters: u64) -> Outcome<()> {
        match self.characters_to_look.get().checked_sub(characters) {
            Some(left) => self.characters_to_look.set(left),
            None => {
                self.characters_to_look.set(CHARACTERS_PER_LOOK);
                if self.interrupted.is_some_and(|interrupted| interrupted()) {
                    return Err(Box::new(Cause::Interrupted));
                }
            }
        }
        Ok(())
    }

    /// Takes memory, before it is asked for.
    pub fn hold(&self, bytes: usize) -> Outcome<Held> {
        let mut held = Held { bytes: 0, total: Rc::clone(&self.total) };
        self.grow(&mut held, bytes)?;
        Ok(held)
    }

    pub fn grow(&self, held: &mut Held, bytes: usize) -> Outcome<()> {
        let total = self.total.get().saturating_add(bytes);
        if total > self.bytes_max {
            return Err(Box::new(Cause::Memory));
        }
        self.total.set(total);
        held.bytes += bytes;
        Ok(())
    }

    /// Whether a text of n characters may be made, asked before it is.
    pub fn room(&self, characters: usize) -> Outcome<()> {
        self.work(characters)?;
        let bytes = characters.saturating_mul(size_of::<Ch>());
        if self.total.get().saturating_add(bytes) > self.bytes_max {
            Err(Box::new(Cause::Memory))
        } else {
            Ok(())
        }
    }

    pub fn text(&self, characters: &[Ch]) -> Outcome<Text> {
        self.work(characters.len())?;
        let held = self.hold(size_of_val(characters) + size_of::<Value>() * 2)?;
        Ok(Text::new(characters.into(), false, held))
    }

    /// A text that escapes those it is added to.
    pub fn markup(&self, characters: &[Ch]) -> Outcome<Value> {
        self.work(characters.len())?;
        let held = self.hold(size_of_val(characters) + size_of::<Value>() * 2)?;
        Ok(Value::Text(Text::new(characters.into(), true, held)))
    }

    pub fn own_text(&self, text: &str) -> Outcome<Text> {
        self.text(&chars::own(text).collect::<Vec<_>>())
    }

    pub fn value(&self, characters: &[Ch]) -> Outcome<Value> {
        self.text(characters).map(Value::Text)
    }

    pub fn own(&self, text: &str) -> Outcome<Value> {
        self.own_text(text).map(Value::Text)
    }

    pub fn items(&self, items: Vec<Value>) -> Outcome<List> {
        let nesting = nesting(items.iter())?;
        self.work(items.len() * 2)?;
        let apart: usize = items.iter().map(bytes_apart).sum();
        let held = self.hold((items.len() + 2) * size_of::<Value>() + apart)?;
        Ok(List::new(items, nesting, held))
    }

    /// What `groupby` makes of a key and its items.
    pub fn group(&self, key: Value, items: Value) -> Outcome<Value> {
        let items = [key, items];
        let nesting = nesting(items.iter())?;
        Ok(Value::Tuple(List::group(items, nesting, self.hold(size_of::<Value>() * 4)?)))
    }

    pub fn list(&self, items: Vec<Value>) -> Outcome<Value> {
        self.items(items).map(Value::List)
    }

    pub fn tuple(&self, items: Vec<Value>) -> Outcome<Value> {
        self.items(items).map(Value::Tuple)
    }

    /// A dictionary of pairs whose keys differ.
    pub fn dict(&self, pairs: Vec<(Value, Value)>) -> Outcome<Value> {
        let nesting = nesting(pairs.iter().flat_map(|(key, value)| [key, value]))?;
        self.work(pairs.len() * 4)?;
        let apart: usize = pairs.iter().map(|(_, value)| bytes_apart(value)).sum();
        let held = self.hold((pairs.len() + 1) * size_of::<[Value; 2]>() + apart)?;
        Ok(Value::Dict(Dict::new(pairs, nesting, held)))
    }

    /// A list of texts.
    pub fn texts<'t>(&self, texts: impl IntoIterator<Item = &'t [Ch]>) -> Outcome<Value> {
        let items = texts.into_iter().map(|text| self.value(text)).collect::<Outcome<Vec<_>>>()?;
        self.list(items)
    }

    /// Adds an object and returns what stands for it. Objects live as long as the rendering.
    pub fn object(&self, object: Object) -> Outcome<Value> {
        self.keep(size_of::<Object>() + size_of::<Value>() * 4)?;
        if let Object::Namespace(fields) = &object {
            fields.iter().try_for_each(|(_, value)| self.keep_field(value))?;
        }
        let mut objects = self.objects.borrow_mut();
        objects.push(object);
        Ok(Value::Object(objects.len() - 1))
    }

    /// Takes memory for a namespace's field.
    pub fn keep_field(&self, value: &Value) -> Outcome<()> {
        self.keep(size_of::<(Text, Value)>() * 2 + bytes_apart(value))
    }

    /// Takes memory that is not given back before the rendering ends.
    pub fn keep(&self, bytes: usize) -> Outcome<()> {
        self.hold(bytes).map(std::mem::forget)
    }
}

/// Bytes of a value that lie elsewhere and that nothing else counts: why there is none, or what a
/// method belongs to.
fn bytes_apart(value: &Value) -> usize {
    match value {
        Value::Undefined(_) => 64 + MISSING_NAME_BYTES_MAX,
        Value::Method(_) => 96,
        _ => 0,
    }
}

fn pay(left: &Cell<u64>, price: u64) -> Outcome<()> {
    match left.get().checked_sub(price) {
        Some(rest) => {
            left.set(rest);
            Ok(())
        }
        None => Err(Box::new(Cause::Steps)),
    }
}

/// A text under way, paid for as it grows.
pub(super) struct Draft<'h, 'r> {
    pub heap: &'h Heap<'r>,
    characters: Vec<Ch>,
    held: Held,
    /// Namespaces that are being written: one may hold itself.
    pub namespaces: usize,
}

impl<'h, 'r> Draft<'h, 'r> {
    pub fn new(heap: &'h Heap<'r>) -> Outcome<Self> {
        Ok(Self { heap, characters: Vec::new(), held: heap.hold(0)?, namespaces: 0 })
    }

    pub fn push(&mut self, text: &[Ch]) -> Outcome<()> {
        self.heap.work(text.len() + 1)?;
        self.heap.grow(&mut self.held, size_of_val(text))?;
        self.characters.extend_from_slice(text);
        Ok(())
    }

    pub fn one(&mut self, ch: Ch) -> Outcome<()> {
        self.push(&[ch])
    }

    /// Appends the template's own words.
    pub fn own(&mut self, text: &str) -> Outcome<()> {
        text.chars().try_for_each(|character| self.one(Ch::own(character)))
    }

    /// Appends what stands for a character, by the same author.
    pub fn instead(&mut self, ch: Ch, text: &str) -> Outcome<()> {
        text.chars().try_for_each(|character| self.one(ch.replaced(character)))
    }

    pub fn many(&mut self, ch: Ch, count: usize) -> Outcome<()> {
        self.heap.work(count)?;
        self.heap.grow(&mut self.held, count.saturating_mul(size_of::<Ch>()))?;
        self.characters.extend(std::iter::repeat_n(ch, count));
        Ok(())
    }

    pub fn characters(&self) -> &[Ch] {
        &self.characters
    }

    pub fn value(self) -> Outcome<Value> {
        self.heap.value(&self.characters)
    }
}

/// How deep a value of these parts is.
fn nesting<'v>(parts: impl Iterator<Item = &'v Value>) -> Outcome<u16> {
    let deepest = parts.map(Value::nesting).max().unwrap_or(0);
    if deepest < NESTING_MAX {
        Ok(deepest + 1)
    } else {
        failed("lists or dictionaries are nested too deep")
    }
}
