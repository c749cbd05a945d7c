//! The vocabulary section: a table that turns token ids into bytes with no library and no
//! allocation.
//!
//! All numbers are little-endian `u32` unless said otherwise. `NONE` is `0xFFFF_FFFF`.
//!
//! | field | bytes | rule |
//! |---|---|---|
//! | magic | 4 | `TVOC` |
//! | version | 4 | 1 |
//! | count | 4 | tokens, 1 to `COUNT_MAX` |
//! | flags | 4 | bit 0 add the begin token, bit 1 add the end token, bit 2 strip one leading space; the rest zero |
//! | begin | 4 | id of the begin token, or `NONE`; below count |
//! | end | 4 | id of the end token (`eos_token` of a chat template), or `NONE`; below count |
//! | ends count | 4 | at most `ENDS_MAX` |
//! | blob bytes | 4 | length of the blob, at most `BLOB_BYTES_MAX` |
//! | ends | 4 each | ids that end generation, strictly ascending, below count |
//! | offsets | 4 x (count + 1) | first 0, never falling, last = blob bytes, no step above `TOKEN_BYTES_MAX` |
//! | kinds | 1 x count | a `TokenKind` each |
//! | blob | blob bytes | the tokens' bytes, one after another; nothing follows |
//!
//! | kind | byte | may come from plain text | shown when generated |
//! |---|---|---|---|
//! | normal | 0 | yes | yes |
//! | control | 1 | no | no |
//! | user-defined | 2 | yes | yes |
//! | unused | 3 | no | no |
//! | byte | 4 | yes | yes |
//! | unknown | 5 | yes | yes |
//! | marker | 6 | no | yes |

mod error;
mod header;
mod layout;
mod table;
#[cfg(test)]
mod tests;
mod token;
mod write;

pub use error::VocabularyTableError;
pub use layout::{BLOB_BYTES_MAX, COUNT_MAX, ENDS_MAX, MAGIC, TOKEN_BYTES_MAX, VERSION};
pub use table::Vocabulary;
pub use token::{TextRules, TokenKind};
pub use write::write;
