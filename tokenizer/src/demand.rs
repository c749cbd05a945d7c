//! What a `tokenizer.json` demands, in numbers.

/// How tokens are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelKind {
    /// By merging pairs.
    Bpe,
    /// By the likeliest way of cutting.
    Unigram,
    /// By the longest piece of a word.
    WordPiece,
    /// By whole words.
    WordLevel,
}

/// What a file asks for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Survey {
    /// Its model.
    pub model: ModelKind,
    /// Entries of the vocabulary.
    pub tokens: usize,
    /// Merges.
    pub merges: usize,
    /// Those of them that are written as pairs.
    pub pairs: usize,
    /// Bytes of all pieces of a vocabulary that is a list.
    pub piece_bytes: usize,
    /// Tokens besides the model's.
    pub added: usize,
    /// How many times as long, in bytes, a text is at its worst after normalizing and
    /// pre-tokenizing.
    pub growth: f64,
    /// Character classes of all regular expressions, by which their compiled size is judged.
    pub classes: usize,
    /// Bytes of the file.
    pub bytes: usize,
    pub(crate) steps: usize,
}
