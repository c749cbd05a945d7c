//! A section of the file as values, of which there are not too many, and of whose keys none is
//! there twice.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::limits::{TEXT_BYTES_MAX, VALUES_MAX};

/// A JSON value; numbers are not looked at.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Number,
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
    Map(Vec<(Cow<'a, str>, Value<'a>)>),
}

impl<'a> Value<'a> {
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => {
                entries.iter().find(|(own, _)| own == key).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn list(&self) -> Option<&[Value<'a>]> {
        match self {
            Self::List(values) => Some(values),
            _ => None,
        }
    }
}

/// What a section may still hold.
pub struct Room {
    values: usize,
    text_bytes: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { values: VALUES_MAX, text_bytes: TEXT_BYTES_MAX }
    }
}

impl Room {
    fn take<E: Error>(&mut self, text_bytes: usize) -> Result<(), E> {
        let left = (self.values.checked_sub(1), self.text_bytes.checked_sub(text_bytes));
        let (Some(values), Some(text_bytes)) = left else {
            return Err(E::custom(format_args!(
                "a section of more than {VALUES_MAX} values or {TEXT_BYTES_MAX} bytes of text"
            )));
        };
        *self = Self { values, text_bytes };
        Ok(())
    }
}

/// Reads a value within some room.
pub struct Limited<'r>(pub &'r mut Room);

impl<'a> DeserializeSeed<'a> for Limited<'_> {
    type Value = Value<'a>;

    fn deserialize<D: Deserializer<'a>>(self, from: D) -> Result<Value<'a>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Limited<'_> {
    type Value = Value<'a>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value<'a>, E> {
        self.0.take(0).map(|()| Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value<'a>, E> {
        self.0.take(0).map(|()| Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Value<'a>, E> {
        self.0.take(0).map(|()| Value::Number)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Value<'a>, E> {
        self.0.take(0).map(|()| Value::Number)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Value<'a>, E> {
        self.0.take(0).map(|()| Value::Number)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value<'a>, E> {
        self.0.take(text.len()).map(|()| Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<Value<'a>, E> {
        self.0.take(text.len()).map(|()| Value::Text(Cow::Borrowed(text)))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut from: A) -> Result<Value<'a>, A::Error> {
        self.0.take(0)?;
        let mut values = Vec::new();
        while let Some(value) = from.next_element_seed(Limited(self.0))? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'a>>(self, mut from: A) -> Result<Value<'a>, A::Error> {
        self.0.take(0)?;
        let mut entries: Vec<(Cow<'a, str>, Value<'a>)> = Vec::new();
        while let Some(key) = from.next_key_seed(Limited(self.0))? {
            let Value::Text(key) = key else {
                return Err(A::Error::custom("a key that is no text"));
            };
            let value = from.next_value_seed(Limited(self.0))?;
            entries.push((key, value));
        }
        // Readers differ in which of two they take.
        let mut keys: Vec<&str> = entries.iter().map(|(key, _)| &**key).collect();
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(A::Error::custom("a key that is there twice"));
        }
        Ok(Value::Map(entries))
    }
}
