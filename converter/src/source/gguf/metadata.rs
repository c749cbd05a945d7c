//! GGUF metadata: keys with typed values, looked up by the kind the caller needs.

use std::collections::HashMap;
use std::io::Read;

use super::super::SourceError;
use super::super::error::one_line;
use super::reader::Reader;

const KEY_BYTES_MAX: u64 = 1 << 16;
/// Chat templates take kilobytes, and some files carry a whole tokenizer.json.
const STRING_BYTES_MAX: u64 = 64 << 20;
/// The largest vocabularies have some 2^18 tokens and 2^19 merges.
const ARRAY_LENGTH_MAX: u64 = 1 << 24;
const ARRAY_DEPTH_MAX: usize = 4;
/// A nested array takes at least its kind and its length.
const ARRAY_HEAD_BYTES: usize = 4 + 8;
const STRING_HEAD_BYTES: usize = 8;

const KIND_STRING: u32 = 8;
const KIND_ARRAY: u32 = 9;

/// The metadata of a GGUF file.
#[derive(Debug)]
pub struct GgufMetadata {
    label: String,
    values: HashMap<String, Value>,
}

/// A scalar is a list of one element.
#[derive(Debug)]
enum Value {
    Scalar(List),
    Array(List),
}

/// Elements of one kind.
#[derive(Debug)]
enum List {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    String(Vec<String>),
    Array(Vec<List>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
}

impl GgufMetadata {
    /// The keys, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Whether the file has this key.
    pub fn contains(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// An integer of any width that fits a u32.
    pub fn get_u32(&self, key: &str) -> Result<u32, SourceError> {
        self.integer(key, "u32")
    }

    /// An integer of any width that fits a u64.
    pub fn get_u64(&self, key: &str) -> Result<u64, SourceError> {
        self.integer(key, "u64")
    }

    /// An integer of any width that fits an i64.
    pub fn get_i64(&self, key: &str) -> Result<i64, SourceError> {
        self.integer(key, "i64")
    }

    /// A finite float of either width.
    pub fn get_f32(&self, key: &str) -> Result<f32, SourceError> {
        let value = self.value(key)?;
        let number = match value {
            Value::Scalar(List::F32(numbers)) => numbers[0],
            Value::Scalar(List::F64(numbers)) => numbers[0] as f32,
            _ => return Err(self.wrong(key, "f32", value.kind())),
        };
        if !number.is_finite() {
            return Err(self.wrong(key, "a finite f32", number.to_string()));
        }
        Ok(number)
    }

    /// A flag.
    pub fn get_bool(&self, key: &str) -> Result<bool, SourceError> {
        match self.value(key)? {
            Value::Scalar(List::Bool(flags)) => Ok(flags[0]),
            other => Err(self.wrong(key, "bool", other.kind())),
        }
    }

    /// A text.
    pub fn get_str(&self, key: &str) -> Result<&str, SourceError> {
        match self.value(key)? {
            Value::Scalar(List::String(texts)) => Ok(&texts[0]),
            other => Err(self.wrong(key, "string", other.kind())),
        }
    }

    /// An array of texts.
    pub fn get_string_array(&self, key: &str) -> Result<&[String], SourceError> {
        match self.value(key)? {
            Value::Array(List::String(texts)) => Ok(texts),
            other => Err(self.wrong(key, "array of string", other.kind())),
        }
    }

    /// An array of f32, which may hold any of them.
    pub fn get_f32_array(&self, key: &str) -> Result<&[f32], SourceError> {
        match self.value(key)? {
            Value::Array(List::F32(numbers)) => Ok(numbers),
            other => Err(self.wrong(key, "array of f32", other.kind())),
        }
    }

    /// An array of integers of any width that all fit an i32.
    pub fn get_i32_array(&self, key: &str) -> Result<Vec<i32>, SourceError> {
        let expected = "array of i32";
        let value = self.value(key)?;
        let Value::Array(list) = value else {
            return Err(self.wrong(key, expected, value.kind()));
        };
        (0..list.len())
            .map(|place| match list.integer(place) {
                None => Err(self.wrong(key, expected, value.kind())),
                Some(integer) => i32::try_from(integer)
                    .map_err(|_| self.wrong(key, expected, format!("{integer} in it"))),
            })
            .collect()
    }

    /// The error for a value that the caller can not use.
    pub fn wrong(&self, key: &str, expected: &'static str, found: String) -> SourceError {
        SourceError::KeyKind { file: self.label.clone(), key: one_line(key), expected, found }
    }

    fn value(&self, key: &str) -> Result<&Value, SourceError> {
        self.values
            .get(key)
            .ok_or_else(|| SourceError::MissingKey { file: self.label.clone(), key: one_line(key) })
    }

    fn integer<T: TryFrom<i128>>(
        &self,
        key: &str,
        expected: &'static str,
    ) -> Result<T, SourceError> {
        let value = self.value(key)?;
        let integer = match value {
            Value::Scalar(list) => list.integer(0),
            Value::Array(_) => None,
        };
        let integer = integer.ok_or_else(|| self.wrong(key, expected, value.kind()))?;
        T::try_from(integer)
            .map_err(|_| self.wrong(key, expected, format!("{} {integer}", value.kind())))
    }

    /// Reads `count` keys with their values.
    pub(super) fn take<R: Read>(
        reader: &mut Reader<'_, R>,
        count: usize,
    ) -> Result<Self, SourceError> {
        let mut values = HashMap::new();
        for _ in 0..count {
            let offset = reader.offset();
            let key = reader.take_name("key", KEY_BYTES_MAX)?;
            let what = format!("key {key}");
            let kind_offset = reader.offset();
            let value = match reader.take_u32(&what)? {
                KIND_ARRAY => Value::Array(take_array(reader, &what, 1)?),
                kind => Value::Scalar(take_list(reader, &what, kind_offset, kind, 1, 1)?),
            };
            if values.insert(key, value).is_some() {
                return Err(reader.unexpected(what, offset, "each key once", "it a second time"));
            }
        }
        Ok(Self { label: reader.label().to_owned(), values })
    }
}

/// kind u32 | length u64 | elements.
fn take_array<R: Read>(
    reader: &mut Reader<'_, R>,
    what: &str,
    depth: usize,
) -> Result<List, SourceError> {
    let offset = reader.offset();
    if depth > ARRAY_DEPTH_MAX {
        let expected = format!("arrays at most {ARRAY_DEPTH_MAX} deep");
        return Err(reader.unexpected(what, offset, expected, "a deeper one"));
    }
    let kind = reader.take_u32(what)?;
    let count = reader.take_count(what, ARRAY_LENGTH_MAX)?;
    take_list(reader, what, offset, kind, count, depth)
}

/// `count` elements of the kind that the file numbers `kind`, at `kind_offset`.
fn take_list<R: Read>(
    reader: &mut Reader<'_, R>,
    what: &str,
    kind_offset: u64,
    kind: u32,
    count: usize,
    depth: usize,
) -> Result<List, SourceError> {
    Ok(match kind {
        0 => List::U8(reader.take_many(what, count, u8::from_le_bytes)?),
        1 => List::I8(reader.take_many(what, count, i8::from_le_bytes)?),
        2 => List::U16(reader.take_many(what, count, u16::from_le_bytes)?),
        3 => List::I16(reader.take_many(what, count, i16::from_le_bytes)?),
        4 => List::U32(reader.take_many(what, count, u32::from_le_bytes)?),
        5 => List::I32(reader.take_many(what, count, i32::from_le_bytes)?),
        6 => List::F32(reader.take_many(what, count, f32::from_le_bytes)?),
        7 => List::Bool(take_flags(reader, what, count)?),
        KIND_STRING => {
            let mut texts = Vec::with_capacity(fitting(reader, count, STRING_HEAD_BYTES));
            for _ in 0..count {
                texts.push(reader.take_string(what, STRING_BYTES_MAX)?);
            }
            List::String(texts)
        }
        KIND_ARRAY => {
            let mut arrays = Vec::with_capacity(fitting(reader, count, ARRAY_HEAD_BYTES));
            for _ in 0..count {
                arrays.push(take_array(reader, what, depth + 1)?);
            }
            List::Array(arrays)
        }
        10 => List::U64(reader.take_many(what, count, u64::from_le_bytes)?),
        11 => List::I64(reader.take_many(what, count, i64::from_le_bytes)?),
        12 => List::F64(reader.take_many(what, count, f64::from_le_bytes)?),
        _ => return Err(reader.unexpected(what, kind_offset, "a value kind up to 12", kind)),
    })
}

/// How many of `count` elements the rest of the file could hold: what may be reserved for them.
fn fitting<R: Read>(reader: &Reader<'_, R>, count: usize, element_bytes: usize) -> usize {
    count.min((reader.remaining() / element_bytes as u64) as usize)
}

fn take_flags<R: Read>(
    reader: &mut Reader<'_, R>,
    what: &str,
    count: usize,
) -> Result<Vec<bool>, SourceError> {
    let offset = reader.offset();
    let bytes = reader.take_many(what, count, u8::from_le_bytes)?;
    if let Some(place) = bytes.iter().position(|&byte| byte > 1) {
        let offset = offset + place as u64;
        return Err(reader.unexpected(what, offset, "a bool of 0 or 1", bytes[place]));
    }
    Ok(bytes.into_iter().map(|byte| byte == 1).collect())
}

impl Value {
    /// The kind as messages name it.
    fn kind(&self) -> String {
        match self {
            Self::Scalar(list) => list.kind().to_owned(),
            Self::Array(list) => format!("array of {}", list.kind()),
        }
    }
}

impl List {
    fn kind(&self) -> &'static str {
        match self {
            Self::U8(_) => "u8",
            Self::I8(_) => "i8",
            Self::U16(_) => "u16",
            Self::I16(_) => "i16",
            Self::U32(_) => "u32",
            Self::I32(_) => "i32",
            Self::F32(_) => "f32",
            Self::Bool(_) => "bool",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::U64(_) => "u64",
            Self::I64(_) => "i64",
            Self::F64(_) => "f64",
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::U8(list) => list.len(),
            Self::I8(list) => list.len(),
            Self::U16(list) => list.len(),
            Self::I16(list) => list.len(),
            Self::U32(list) => list.len(),
            Self::I32(list) => list.len(),
            Self::F32(list) => list.len(),
            Self::Bool(list) => list.len(),
            Self::String(list) => list.len(),
            Self::Array(list) => list.len(),
            Self::U64(list) => list.len(),
            Self::I64(list) => list.len(),
            Self::F64(list) => list.len(),
        }
    }

    /// The element at `place`, where the elements are integers.
    fn integer(&self, place: usize) -> Option<i128> {
        Some(match self {
            Self::U8(list) => (*list.get(place)?).into(),
            Self::I8(list) => (*list.get(place)?).into(),
            Self::U16(list) => (*list.get(place)?).into(),
            Self::I16(list) => (*list.get(place)?).into(),
            Self::U32(list) => (*list.get(place)?).into(),
            Self::I32(list) => (*list.get(place)?).into(),
            Self::U64(list) => (*list.get(place)?).into(),
            Self::I64(list) => (*list.get(place)?).into(),
            _ => return None,
        })
    }
}
