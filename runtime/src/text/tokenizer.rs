//! Text to token ids, and ids to bytes.

use std::sync::{Mutex, PoisonError};

use hardtack_format::vocabulary::{TokenKind, Vocabulary};
use tokenizers::models::ModelWrapper;

use crate::memory::expect_room;
use crate::text::TextError;
use crate::text::contain::contain;
use crate::text::pieces::encode_in_pieces;

/// Longest tokenizer section.
pub const SECTION_BYTES_MAX: usize = 128 << 20;
/// Longest text for one `encode`.
pub const TEXT_BYTES_MAX: usize = 16 << 20;
/// Longest text after normalizing and pre-tokenizing, at its worst: every byte of it takes 17 while
/// the library works.
const NORMALIZED_BYTES_MAX: usize = 256 << 20;

/// Whether names of control tokens and markers in a text mean those tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Special {
    Parse,
    Plain,
}

/// A blob's tokenizer.
///
/// ```
/// use hardtack::Engine;
///
/// # fn main() -> Result<(), hardtack::Error> {
/// let engine = Engine::open("tests/data/tiny.tack")?;
/// let tokenizer = engine.tokenizer()?;
/// let tokens = tokenizer.prompt("café")?;
/// let bytes: Vec<u8> = tokens.iter().flat_map(|&id| tokenizer.bytes(id)).copied().collect();
/// assert_eq!(bytes, "café".as_bytes());
/// # Ok(()) }
/// ```
///
/// Encoding allocates and may take long; everything else is a look into a
/// table.
///
/// The library that encodes has panics in its code for odd files. They are contained, print
/// nothing, and become errors; a program that is built with `panic = "abort"` ends there all the
/// same.
pub struct Tokenizer {
    /// Under a lock because the choice of `Special` is a setting of the library's tokenizer.
    /// A second copy of it would double tens of megabytes.
    library: Mutex<tokenizers::Tokenizer>,
    vocabulary: Vocabulary<Box<[u8]>>,
    /// Longest text for one `encode`, by what normalizers can make of it.
    text_bytes_max: usize,
}

impl Tokenizer {
    /// Reads the sections `tokenizer` (a Hugging Face `tokenizer.json`) and `vocabulary`.
    ///
    /// # Errors
    /// A section that is none, or a tokenizer that asks for more than any published one: see
    /// [`hardtack_tokenizer::limits`].
    pub fn from_sections(tokenizer_json: &[u8], vocabulary: &[u8]) -> Result<Self, TextError> {
        limit("tokenizer section", tokenizer_json, SECTION_BYTES_MAX)?;
        let vocabulary = Vocabulary::read(Box::from(vocabulary))?;
        let survey = hardtack_tokenizer::survey(tokenizer_json)
            .map_err(|error| TextError::Tokenizer(error.to_string()))?;
        let text_bytes_max =
            TEXT_BYTES_MAX.min((NORMALIZED_BYTES_MAX as f64 / survey.growth) as usize);
        // The library allocates bit by bit, and ends the program where a bit is refused.
        let bytes = survey.memory_bytes();
        expect_room(bytes).map_err(|_| TextError::Memory { bytes })?;
        let mut library = contained(|| hardtack_tokenizer::load(tokenizer_json, survey.model))
            .map_err(TextError::Tokenizer)?;
        // Begin and end tokens are ours to add, and a text is never cut or padded in silence.
        library.with_padding(None);
        library
            .with_truncation(None)
            .map_err(|error| TextError::Tokenizer(one_line(&error.to_string())))?;
        library.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
        if let ModelWrapper::BPE(model) = library.get_model()
            && model.dropout.is_some()
        {
            return Err(TextError::Tokenizer(
                "its dropout would give other tokens every time".into(),
            ));
        }
        contained(|| guard(&mut library, &vocabulary)).map_err(TextError::Tokenizer)?;
        Ok(Self { library: Mutex::new(library), vocabulary, text_bytes_max })
    }

    /// The ids of a text, without begin or end token. Names of control tokens in it are plain text,
    /// so that whatever a person or a document wrote cannot forge a turn. Conversations are made
    /// into tokens by [`Prompter`](crate::chat::Prompter), and texts to continue by
    /// [`Tokenizer::prompt`].
    ///
    /// # Errors
    /// The text is too long, or the library fails on it, or returns an id that the vocabulary
    /// does not have.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        self.ids(text, Special::Plain)
    }

    /// As [`Tokenizer::encode`], but names of control tokens in the text mean those tokens: the
    /// letters `<|im_end|>` end a turn.
    ///
    /// # Risk
    /// Only for a text of which the program itself has written every character. Where a person or a
    /// document has a word in it, they can end their turn and begin another one, as the system or
    /// as the model. A rendered chat template is such a text.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_trusted(&self, text: &str) -> Result<Vec<u32>, TextError> {
        self.ids(text, Special::Parse)
    }

    fn ids(&self, text: &str, special: Special) -> Result<Vec<u32>, TextError> {
        limit("text", text.as_bytes(), self.text_bytes_max)?;
        let encoding = {
            // The library holds no invariant that a panic in it could break: it is only read while
            // encoding.
            let mut library = self.library.lock().unwrap_or_else(PoisonError::into_inner);
            library.set_encode_special_tokens(special == Special::Plain);
            contained(|| library.encode_fast(text, false)).map_err(TextError::Encode)?
        };
        let ids = encoding.get_ids().to_vec();
        let count = self.vocabulary.count();
        for &id in &ids {
            if id >= count {
                return Err(TextError::UnknownToken { id, count });
            }
            if special == Special::Plain && self.vocabulary.kind(id).steers() {
                return Err(TextError::ControlInPlainText(id));
            }
        }
        Ok(ids)
    }

    /// The ids of a text that a model is to continue: plain text, after the begin token where the
    /// model wants one. A long text is encoded in pieces, so that little memory does.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn prompt(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let mut tokens: Vec<u32> = self.begin().into_iter().collect();
        let plain = |text: &str| self.encode(text);
        tokens.extend(encode_in_pieces(text, usize::MAX, plain)?.unwrap_or_default());
        Ok(tokens)
    }

    /// The bytes of one token, for control tokens their name; empty for an id outside the
    /// vocabulary.
    pub fn bytes(&self, id: u32) -> &[u8] {
        self.vocabulary.bytes(id)
    }

    /// The tokens that end generation.
    pub fn ends(&self) -> &[u32] {
        &self.vocabulary.rules().ends
    }

    /// Whether a token ends generation.
    pub fn is_end(&self, id: u32) -> bool {
        self.vocabulary.is_end(id)
    }

    /// The token that a prompt must begin with, where the model wants one.
    /// A rendered template may have written it already.
    pub fn begin(&self) -> Option<u32> {
        let rules = self.vocabulary.rules();
        rules.begin.filter(|_| rules.add_begin)
    }

    /// The table of all tokens.
    pub fn vocabulary(&self) -> &Vocabulary<Box<[u8]>> {
        &self.vocabulary
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Tokenizer")
            .field("tokens", &self.vocabulary.count())
            .finish_non_exhaustive()
    }
}

/// Makes every added token that steers one that plain text spells out. The file calls some of
/// them no special tokens (Qwen3's `<think>`, DeepSeek's `<｜User｜>`), because their text is
/// shown.
fn guard<B: AsRef<[u8]>>(
    library: &mut tokenizers::Tokenizer,
    vocabulary: &Vocabulary<B>,
) -> tokenizers::Result<()> {
    if !(0..vocabulary.count()).any(|id| vocabulary.kind(id) == TokenKind::Marker) {
        return Ok(());
    }
    let added = library.get_added_tokens_decoder().into_iter();
    let typed = added.filter(|(id, token)| !token.special && vocabulary.kind(*id).steers());
    let guarded: Vec<_> = typed.map(|(_, token)| token.special(true)).collect();
    library.add_special_tokens(guarded).map(drop)
}

fn limit(what: &'static str, bytes: &[u8], limit: usize) -> Result<(), TextError> {
    if bytes.len() <= limit {
        Ok(())
    } else {
        Err(TextError::Size { what, found: bytes.len(), limit })
    }
}

/// Runs the library, whose code for odd files has panics in it.
fn contained<T>(run: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    match contain(run) {
        Ok(result) => result.map_err(|error| one_line(&error.to_string())),
        Err(panic) => Err(format!("the tokenizer library panicked: {}", one_line(&panic))),
    }
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
