//! The side file: a safetensors file whose metadata holds the header as JSON under
//! `hardtack_calibration`, and whose tensors are
//!
//! ```text
//! domain.D.loss                      F64 [1]
//! domain.D.embedding, .head          F64 [options]
//! domain.D.layer.L.attention         F64 [options]
//! domain.D.layer.L.common            F64 [options]           dense blocks and shared experts
//! domain.D.layer.L.experts.cost      F64 [experts, options]
//! domain.D.layer.L.experts.tokens    U64 [experts]
//! domain.D.layer.L.experts.mass      F64 [experts]
//! ```
//!
//! The state of a calibration that was stopped has the same tensors, and `gradient` F32 `[tokens,
//! hidden]` with `layers_left` U64 `[1]`. Numbers are binary, so they come back to the bit.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};

use super::costs::{Header, Tables};
use super::names::{Values, tensors};
use crate::calibrate::error::CalibrateError;
use crate::files::replace;

/// Key of the header in the file's metadata.
const HEADER: &str = "hardtack_calibration";
/// Largest header that is read: a thousand layers and as many texts take less.
const HEADER_BYTES_MAX: usize = 16 << 20;
/// Most rows of costs, over all texts, that are read.
const ROWS_MAX: usize = 1 << 24;

/// A calibration between two layers.
pub struct State {
    /// The tables so far.
    pub tables: Tables,
    /// Gradient at the input of the last layer that was done `[tokens, hidden]`.
    pub gradient: Vec<f32>,
    /// Layers that are still to be done.
    pub layers_left: usize,
}

/// Writes tables to a file, which appears complete or not at all.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, tables: &Tables) -> Result<(), CalibrateError> {
    write_parts(path, tables, Vec::new())
}

/// Reads tables and checks every name, type, shape and number.
///
/// # Errors
/// The file cannot be read, or is not what `write` writes.
pub fn read(path: &Path) -> Result<Tables, CalibrateError> {
    let bytes =
        fs::read(path).map_err(|source| CalibrateError::Read { path: path.to_owned(), source })?;
    let reader = Reader::new(path, &bytes)?;
    let tables = reader.tables(0)?;
    Ok(tables)
}

/// Writes the state of a calibration over the one before, or not at all.
pub fn write_state(path: &Path, state: &State, hidden: usize) -> Result<(), CalibrateError> {
    let gradient = state.gradient.iter().flat_map(|value| value.to_le_bytes()).collect();
    let shape = vec![state.gradient.len() / hidden, hidden];
    let left = (state.layers_left as u64).to_le_bytes().to_vec();
    let parts = vec![
        ("gradient".to_owned(), Dtype::F32, shape, gradient),
        ("layers_left".to_owned(), Dtype::U64, vec![1], left),
    ];
    write_parts(path, &state.tables, parts)
}

/// The state of a calibration with this very header; none where there is no file, or where it is
/// of another one.
pub fn read_state(
    path: &Path,
    header: &Header,
    hidden: usize,
) -> Result<Option<State>, CalibrateError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(CalibrateError::Read { path: path.to_owned(), source }),
    };
    let reader = Reader::new(path, &bytes)?;
    if reader.header()? != *header {
        return Ok(None);
    }
    let tables = reader.tables(2)?;
    let tokens: u64 = header.domains.iter().map(|domain| domain.tokens).sum();
    let gradient = reader.take("gradient", Dtype::F32, &[tokens as usize, hidden])?;
    let gradient =
        gradient.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
    let left = reader.take("layers_left", Dtype::U64, &[1])?;
    let layers_left =
        left.as_chunks::<8>().0.iter().map(|value| u64::from_le_bytes(*value)).sum::<u64>()
            as usize;
    if layers_left > header.layers.len() {
        let expected = format!("at most {}", header.layers.len());
        return Err(reader.wrong("layers_left", expected, layers_left.to_string()));
    }
    Ok(Some(State { tables, gradient, layers_left }))
}

type Part = (String, Dtype, Vec<usize>, Vec<u8>);

fn write_parts(path: &Path, tables: &Tables, mut parts: Vec<Part>) -> Result<(), CalibrateError> {
    let header =
        serde_json::to_string(&tables.header).expect("plain strings and numbers always serialize");
    let mut tables = tables.clone();
    for (name, shape, values) in tensors(&mut tables) {
        parts.push(match values {
            Values::Floats(values) => (
                name,
                Dtype::F64,
                shape,
                values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            ),
            Values::Counts(values) => (
                name,
                Dtype::U64,
                shape,
                values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            ),
        });
    }
    let views = parts.iter().map(|(name, kind, shape, bytes)| {
        (name, TensorView::new(*kind, shape.clone(), bytes).expect("shapes of their own values"))
    });
    let metadata = HashMap::from([(HEADER.to_owned(), header)]);
    let bytes = serialize(views, Some(metadata)).expect("shapes of their own values");
    replace(path, &bytes).map_err(|source| CalibrateError::Write { path: path.to_owned(), source })
}

struct Reader<'a> {
    path: &'a Path,
    header: String,
    tensors: SafeTensors<'a>,
}

impl<'a> Reader<'a> {
    fn new(path: &'a Path, bytes: &'a [u8]) -> Result<Self, CalibrateError> {
        let wrong = |field: &str, expected: &str, found: String| CalibrateError::File {
            path: path.to_owned(),
            field: field.to_owned(),
            expected: expected.to_owned(),
            found,
        };
        let file = "a safetensors file";
        let parsed = SafeTensors::deserialize(bytes)
            .map_err(|error| wrong("contents", file, error.to_string()))?;
        let (_, about) = SafeTensors::read_metadata(bytes)
            .map_err(|error| wrong("header", file, error.to_string()))?;
        let header = about.metadata().as_ref().and_then(|metadata| metadata.get(HEADER));
        let header = header
            .ok_or_else(|| wrong("metadata", &format!("the key {HEADER}"), "none".to_owned()))?;
        if header.len() > HEADER_BYTES_MAX {
            let expected = format!("at most {HEADER_BYTES_MAX} bytes");
            return Err(wrong(HEADER, &expected, header.len().to_string()));
        }
        Ok(Self { path, header: header.clone(), tensors: parsed })
    }

    fn wrong(&self, field: &str, expected: String, found: String) -> CalibrateError {
        CalibrateError::File {
            path: self.path.to_owned(),
            field: field.to_owned(),
            expected,
            found,
        }
    }

    fn header(&self) -> Result<Header, CalibrateError> {
        let header: Header = serde_json::from_str(&self.header).map_err(|error| {
            self.wrong(HEADER, "the header of a calibration".to_owned(), error.to_string())
        })?;
        let rows = header
            .layers
            .iter()
            .map(|layer| layer.experts as usize + 2)
            .fold(2, usize::saturating_add);
        let all = rows.saturating_mul(header.domains.len()).saturating_mul(header.options.len());
        if all > ROWS_MAX {
            return Err(self.wrong(HEADER, format!("at most {ROWS_MAX} costs"), all.to_string()));
        }
        Ok(header)
    }

    /// The tables; `others` tensors of the file are none of theirs.
    fn tables(&self, others: usize) -> Result<Tables, CalibrateError> {
        let mut tables = self.header()?.zeros();
        let wanted = tensors(&mut tables);
        let expected = wanted.len() + others;
        if self.tensors.len() != expected {
            return Err(self.wrong(
                "contents",
                format!("{expected} tensors"),
                self.tensors.len().to_string(),
            ));
        }
        for (name, shape, values) in wanted {
            match values {
                Values::Floats(values) => {
                    let stored = self.take(&name, Dtype::F64, &shape)?;
                    for (value, stored) in values.into_iter().zip(stored.as_chunks::<8>().0) {
                        *value = f64::from_le_bytes(*stored);
                        if !(value.is_finite() && *value >= 0.0) {
                            let expected = "numbers that are finite and not negative".to_owned();
                            return Err(self.wrong(&name, expected, value.to_string()));
                        }
                    }
                }
                Values::Counts(values) => {
                    let stored = self.take(&name, Dtype::U64, &shape)?;
                    for (value, stored) in values.into_iter().zip(stored.as_chunks::<8>().0) {
                        *value = u64::from_le_bytes(*stored);
                    }
                }
            }
        }
        Ok(tables)
    }

    fn take(&self, name: &str, kind: Dtype, shape: &[usize]) -> Result<&'a [u8], CalibrateError> {
        let expected = format!("{kind:?} {shape:?}");
        let Ok(tensor) = self.tensors.tensor(name) else {
            return Err(self.wrong(name, expected, "nothing".to_owned()));
        };
        if tensor.dtype() != kind || tensor.shape() != shape {
            return Err(self.wrong(
                name,
                expected,
                format!("{:?} {:?}", tensor.dtype(), tensor.shape()),
            ));
        }
        Ok(tensor.data())
    }
}
