//! The tokenizer library, as far as a bake needs it.

#[cfg(feature = "calibrate")]
use hardtack_format::vocabulary::Vocabulary;
use tokenizers::Tokenizer;

use crate::vocabulary::error::VocabularyError;

/// The library must take the file now, where a person can act, not on somebody's device.
pub(super) fn check_loads(bytes: &[u8]) -> Result<(), VocabularyError> {
    load(bytes).map(|_| ()).map_err(|error| VocabularyError::Library(error.replace('\n', " ")))
}

/// Reads a tokenizer that wants no more than the runtime provides.
pub(crate) fn load(json: &[u8]) -> Result<Tokenizer, String> {
    let survey = hardtack_tokenizer::survey(json).map_err(|error| error.to_string())?;
    hardtack_tokenizer::load(json, survey.model).map_err(|error| error.to_string())
}

/// Lets a tokenizer read text as text only: names of tokens that steer are spelled out, also of
/// those that the file calls no special tokens.
#[cfg(feature = "calibrate")]
pub(crate) fn read_plain_text<B: AsRef<[u8]>>(
    tokenizer: &mut Tokenizer,
    table: &Vocabulary<B>,
) -> tokenizers::Result<()> {
    let added = tokenizer.get_added_tokens_decoder().into_iter();
    let steering = added.filter(|(id, token)| !token.special && table.kind(*id).steers());
    let steering: Vec<_> = steering.map(|(_, token)| token.special(true)).collect();
    if !steering.is_empty() {
        tokenizer.add_special_tokens(steering)?;
    }
    tokenizer.set_encode_special_tokens(true);
    Ok(())
}
