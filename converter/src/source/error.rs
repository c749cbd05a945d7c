//! What can be wrong with a checkpoint; every message is one line that names the file and the place
//! in it.

use std::io;

/// Why a checkpoint could not be opened or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The operating system refused.
    #[error("{file}: {source}")]
    Io {
        /// The file being opened or read.
        file: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The path holds something else than a checkpoint.
    #[error("{file}: not a model: expected {expected}, found {found}")]
    NotAModel {
        /// The path given.
        file: String,
        /// What a model has there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The path holds something else than a checkpoint, and is known by name.
    #[error("{file} is {found}: {advice}")]
    Recognized {
        /// The path.
        file: String,
        /// What it is, with its article.
        found: String,
        /// What to do next.
        advice: String,
    },
    /// The checkpoint is quantized in a way that cannot be undone here.
    #[error(
        "{file}: {setting} is {found:?}, which is not supported; supported: {known}; bake the model it was made from"
    )]
    Quantization {
        /// The file with the setting.
        file: String,
        /// The setting.
        setting: String,
        /// Its value.
        found: String,
        /// What would have done.
        known: String,
    },
    /// A quantized weight lacks a tensor that belongs to it.
    #[error("{file}: tensor {tensor}: expected a tensor {part} beside it, found none")]
    LoneCodes {
        /// The file with the codes.
        file: String,
        /// The codes.
        tensor: String,
        /// What is absent.
        part: String,
    },
    /// A file that another file names does not exist.
    #[error("{file}: missing, but {named_by} names it{others}; fetch what is missing")]
    MissingFile {
        /// The absent file.
        file: String,
        /// Others that are absent too, as the message goes on; empty if it is the only one.
        others: String,
        /// The file that names it.
        named_by: String,
    },
    /// A shard does not hold a tensor that the index puts in it.
    #[error("{file}: tensor {tensor}: missing, but {named_by} puts it in this file")]
    MissingTensor {
        /// The shard.
        file: String,
        /// The absent tensor.
        tensor: String,
        /// The index.
        named_by: String,
    },
    /// A tensor was looked up by a name that the checkpoint does not have.
    #[error("{file}: tensor {tensor}: not in this checkpoint")]
    UnknownTensor {
        /// The checkpoint.
        file: String,
        /// The name wanted.
        tensor: String,
    },
    /// A JSON file or header does not parse.
    #[error("{file}: invalid JSON: {detail}")]
    Json {
        /// The file.
        file: String,
        /// What the parser said, with line and column.
        detail: String,
    },
    /// The file is too short for what it claims to hold.
    #[error(
        "{file}: {what}: file ends at byte {found}, expected {expected}: at least {} bytes are missing, as after a \
         download that did not end; get the file again",
        expected.saturating_sub(*found)
    )]
    Ends {
        /// The file.
        file: String,
        /// The item that does not fit, such as `tensor model.norm.weight`.
        what: String,
        /// The file length the item needs.
        expected: u64,
        /// The file length.
        found: u64,
    },
    /// Something read from the file breaks the format or one of our limits.
    #[error("{file}: {what} at byte {offset}: expected {expected}, found {found}")]
    Unexpected {
        /// The file.
        file: String,
        /// The item, such as `tensor model.norm.weight: shape`.
        what: String,
        /// Where the item, or the header that describes it, begins.
        offset: u64,
        /// What the format allows.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// A tensor has an element kind that this reader cannot turn into numbers.
    #[error("{file}: tensor {tensor}: {kind} is not supported{hint}")]
    NotSupported {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// The name of the kind in its format.
        kind: &'static str,
        /// What would be supported, or none.
        hint: &'static str,
    },
    /// Tensors have element types that this reader does not know.
    #[error(
        "{file}: {found} of {tensors} tensors are of types that cannot be read: {types}; {advice}"
    )]
    UnreadableTypes {
        /// The file, or the checkpoint.
        file: String,
        /// Every such type, with the number of its tensors and the first one's name.
        types: String,
        /// Tensors of these types.
        found: usize,
        /// Tensors looked at.
        tensors: usize,
        /// What to do.
        advice: &'static str,
    },
    /// A part of a split model is not there.
    #[error(
        "{file}: missing: it is part {number} of {count} of the model that {given} belongs to; put all parts into one \
         folder, under their own names"
    )]
    MissingPart {
        /// The absent file.
        file: String,
        /// Which part it is, counted from 1.
        number: u32,
        /// Parts there are.
        count: u32,
        /// The part that was given.
        given: String,
    },
    /// The parts of a split model do not belong together.
    #[error(
        "{file}: {what}: expected {expected}, found {found}; all parts must come from one split and keep their names \
         (or merge them: llama-gguf-split --merge)"
    )]
    Split {
        /// The part.
        file: String,
        /// What differs.
        what: String,
        /// What the other parts want.
        expected: String,
        /// What it has.
        found: String,
    },
    /// A file was cut into pieces by bytes, and this is one of them.
    #[error(
        "{file}: a piece of a GGUF file, by its ending {ending}: join all pieces in their order into {whole} (as `cat` \
         does), and give that"
    )]
    Piece {
        /// The piece.
        file: String,
        /// What its name has after the whole file's.
        ending: String,
        /// The name of the whole.
        whole: String,
    },
    /// A weight is NaN or infinite.
    #[error(
        "{file}: tensor {tensor}: element {index} of row {row}: expected a finite number, found {value}"
    )]
    NotFinite {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// Its row, counted through all but the last dimension.
        row: usize,
        /// The position in the whole tensor, in row-major order.
        index: usize,
        /// NaN, inf or -inf.
        value: f32,
    },
    /// Rows were wanted that the tensor does not have.
    #[error("{file}: tensor {tensor}: rows {first} and {count} on: expected at most {rows} rows")]
    Rows {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// The first row wanted.
        first: usize,
        /// The number of rows wanted.
        count: usize,
        /// The rows there are.
        rows: usize,
    },
    /// A GGUF file lacks a metadata key.
    #[error("{file}: key {key}: missing")]
    MissingKey {
        /// The file.
        file: String,
        /// The key.
        key: String,
    },
    /// A GGUF metadata key holds another kind of value, or one out of range.
    #[error("{file}: key {key}: expected {expected}, found {found}")]
    KeyKind {
        /// The file.
        file: String,
        /// The key.
        key: String,
        /// The kind wanted.
        expected: &'static str,
        /// The kind in the file, and the value where that is what is wrong.
        found: String,
    },
}

/// Turns "that key is missing" into `None`, for keys that a model may leave out.
pub fn optional<T>(value: Result<T, SourceError>) -> Result<Option<T>, SourceError> {
    match value {
        Ok(value) => Ok(Some(value)),
        Err(SourceError::MissingKey { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A hostile name may not fill the screen either.
const LINE_CHARACTERS_MAX: usize = 2000;

/// Escapes control characters: a name from a hostile file may not break our line or colour a
/// terminal.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for (place, character) in text.chars().enumerate() {
        if place == LINE_CHARACTERS_MAX {
            line.push('…');
            break;
        }
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}
