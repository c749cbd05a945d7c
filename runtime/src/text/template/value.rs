//! Python's values, as far as templates meet them. All but namespaces, cyclers and joiners are
//! immutable, as in the sandbox that `transformers` renders in.

use std::cell::Cell;
use std::rc::Rc;

use crate::text::template::chars::{self, Ch};
use crate::text::template::fault::{Held, Outcome, failed};

/// Bytes that are kept of the name of what there is not.
pub(super) const MISSING_NAME_BYTES_MAX: usize = 200;

/// A value; cheap to clone.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Undefined(Rc<Missing>),
    None,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(Text),
    List(List),
    Tuple(List),
    Dict(Dict),
    /// `keys()`, `values()` or `items()` of a dictionary.
    View(View, Dict),
    Range(Range),
    /// A generator: what it has yielded is gone.
    Iterator(Rc<Iteration>),
    /// A namespace, a cycler or a joiner, by its number.
    Object(usize),
    Macro(usize),
    Loop(u64),
    Function(Function),
    /// A method of a value, not called yet.
    Method(Rc<(Value, &'static str)>),
}

/// Why there is no value.
#[derive(Debug)]
pub(super) enum Missing {
    Name(Box<str>),
    Attribute {
        of: &'static str,
        name: Box<str>,
    },
    /// Said in full.
    Reason(Box<str>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Keys,
    Values,
    Items,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Range,
    Dict,
    Namespace,
    Cycler,
    Joiner,
    RaiseException,
    StrftimeNow,
    Lipsum,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub start: i64,
    pub stop: i64,
    pub step: i64,
}

impl Range {
    pub fn len(&self) -> usize {
        let (distance, step) = match self.step > 0 {
            true => (i128::from(self.stop) - i128::from(self.start), i128::from(self.step)),
            false => (i128::from(self.start) - i128::from(self.stop), -i128::from(self.step)),
        };
        if distance <= 0 {
            0
        } else {
            usize::try_from((distance + step - 1) / step.max(1)).unwrap_or(usize::MAX)
        }
    }

    pub fn get(&self, index: usize) -> Value {
        Value::Integer(i128::from(self.start) + index as i128 * i128::from(self.step))
    }
}

#[derive(Clone, Debug)]
pub(super) struct Text(Rc<Characters>);

#[derive(Debug)]
struct Characters {
    characters: Box<[Ch]>,
    /// What it is added to is escaped.
    is_markup: bool,
    _held: Held,
}

impl Text {
    pub fn new(characters: Box<[Ch]>, is_markup: bool, held: Held) -> Self {
        Self(Rc::new(Characters { characters, is_markup, _held: held }))
    }

    pub fn is_markup(&self) -> bool {
        self.0.is_markup
    }

    pub fn is(&self, other: &str) -> bool {
        chars::is(self, other)
    }
}

impl std::ops::Deref for Text {
    type Target = [Ch];

    fn deref(&self) -> &[Ch] {
        &self.0.characters
    }
}

#[derive(Clone, Debug)]
pub(super) struct List(Rc<Items>);

#[derive(Debug)]
struct Items {
    items: Vec<Value>,
    nesting: u16,
    /// What `groupby` makes: a tuple whose two items have names.
    is_group: bool,
    _held: Held,
}

impl List {
    pub fn new(items: Vec<Value>, nesting: u16, held: Held) -> Self {
        Self(Rc::new(Items { items, nesting, is_group: false, _held: held }))
    }

    /// A tuple of a group's key and its items.
    pub fn group(items: [Value; 2], nesting: u16, held: Held) -> Self {
        Self(Rc::new(Items { items: items.into(), nesting, is_group: true, _held: held }))
    }

    pub fn is_group(&self) -> bool {
        self.0.is_group
    }

    pub fn same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl std::ops::Deref for List {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        &self.0.items
    }
}

#[derive(Clone, Debug)]
pub(super) struct Dict(Rc<Pairs>);

#[derive(Debug)]
struct Pairs {
    pairs: Vec<(Value, Value)>,
    nesting: u16,
    _held: Held,
}

impl Dict {
    pub fn new(pairs: Vec<(Value, Value)>, nesting: u16, held: Held) -> Self {
        Self(Rc::new(Pairs { pairs, nesting, _held: held }))
    }

    pub fn named(&self, name: &str) -> Option<&Value> {
        let found = self.iter().find(|(key, _)| matches!(key, Value::Text(key) if key.is(name)));
        found.map(|(_, value)| value)
    }

    pub fn same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl std::ops::Deref for Dict {
    type Target = [(Value, Value)];

    fn deref(&self) -> &[(Value, Value)] {
        &self.0.pairs
    }
}

/// Items that are handed out once.
#[derive(Debug)]
pub(super) struct Iteration {
    pub items: List,
    pub position: Cell<usize>,
}

impl Iteration {
    pub fn next(&self) -> Option<Value> {
        let item = self.items.get(self.position.get())?.clone();
        self.position.set(self.position.get() + 1);
        Some(item)
    }

    /// What is left; nothing is left afterwards.
    pub fn rest(&self) -> &[Value] {
        let start = self.position.replace(self.items.len());
        &self.items[start.min(self.items.len())..]
    }
}

impl Value {
    /// A generator over items.
    pub fn iterator(items: List) -> Self {
        Self::Iterator(Rc::new(Iteration { items, position: Cell::new(0) }))
    }

    pub fn missing_name(name: &str) -> Self {
        Self::Undefined(Rc::new(Missing::Name(beginning(name))))
    }

    pub fn missing(reason: impl AsRef<str>) -> Self {
        Self::Undefined(Rc::new(Missing::Reason(beginning(reason.as_ref()))))
    }

    pub fn missing_attribute(&self, name: impl AsRef<str>) -> Self {
        let (of, name) = (self.type_name(), beginning(name.as_ref()));
        Self::Undefined(Rc::new(Missing::Attribute { of, name }))
    }

    pub fn is_undefined(&self) -> bool {
        matches!(self, Self::Undefined(_))
    }

    /// Python's name of the type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "Undefined",
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Integer(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "str",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::View(View::Keys, _) => "dict_keys",
            Self::View(View::Values, _) => "dict_values",
            Self::View(View::Items, _) => "dict_items",
            Self::Range(_) => "range",
            Self::Iterator(_) => "generator",
            Self::Object(_) => "Namespace",
            Self::Macro(_) => "Macro",
            Self::Loop(_) => "LoopContext",
            Self::Function(_) => "function",
            Self::Method(_) => "method",
        }
    }

    pub fn nesting(&self) -> u16 {
        match self {
            Self::List(list) | Self::Tuple(list) => list.0.nesting,
            Self::Dict(dict) => dict.0.nesting,
            Self::View(_, dict) => dict.0.nesting + 1,
            Self::Iterator(iteration) => iteration.items.0.nesting + 1,
            Self::Method(method) => method.0.nesting() + 1,
            _ => 0,
        }
    }

    /// Python's `bool(value)`.
    pub fn is_true(&self) -> bool {
        match self {
            Self::Undefined(_) | Self::None => false,
            Self::Bool(value) => *value,
            Self::Integer(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(list) | Self::Tuple(list) => !list.is_empty(),
            Self::Dict(dict) | Self::View(_, dict) => !dict.is_empty(),
            Self::Range(range) => range.len() > 0,
            _ => true,
        }
    }

    /// A whole number; `True` is one of these too.
    pub fn as_integer(&self) -> Option<i128> {
        match self {
            Self::Bool(value) => Some(i128::from(*value)),
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(number) => Some(*number),
            other => other.as_integer().map(|number| number as f64),
        }
    }

    /// A text argument.
    pub fn text(&self, of: &str) -> Outcome<&Text> {
        match self {
            Self::Text(text) => Ok(text),
            other => failed(format_args!("{of}: expected a str, found {}", other.described())),
        }
    }

    /// A whole number as argument.
    pub fn integer(&self, of: &str) -> Outcome<i128> {
        match self.as_integer() {
            Some(number) => Ok(number),
            None => failed(format_args!("{of}: expected an int, found {}", self.described())),
        }
    }

    /// Fails on what is undefined, as every operation but printing, looping and asking for truth
    /// does.
    pub fn defined(&self) -> Outcome<&Self> {
        match self {
            Self::Undefined(missing) => failed(missing.reason()),
            other => Ok(other),
        }
    }

    /// The type's name, or why there is no value.
    pub fn described(&self) -> String {
        match self {
            Self::Undefined(missing) => missing.reason(),
            other => other.type_name().to_owned(),
        }
    }
}

/// As much of a name as is kept.
fn beginning(name: &str) -> Box<str> {
    name[..name.floor_char_boundary(MISSING_NAME_BYTES_MAX)].into()
}

impl Missing {
    pub fn reason(&self) -> String {
        match self {
            Self::Name(name) => format!("'{name}' is undefined"),
            Self::Attribute { of, name } => format!("'{of} object' has no attribute '{name}'"),
            Self::Reason(reason) => reason.to_string(),
        }
    }
}
