//! A token's bytes from the piece that a tokenizer file writes for it.

use hardtack_format::vocabulary::TokenKind;

/// How a tokenizer writes bytes as characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// GPT-2: every byte has a printable character of its own.
    ByteLevel,
    /// SentencePiece: UTF-8, a space is `▁`, a byte without a token is `<0xAB>`.
    SentencePiece,
}

/// SentencePiece's sign for a space.
pub const SPACE_SIGN: &str = "\u{2581}";

/// The bytes that a token stands for.
pub fn token_bytes(piece: &str, kind: TokenKind, alphabet: Alphabet) -> Vec<u8> {
    match (alphabet, kind) {
        (_, TokenKind::Unused) => Vec::new(),
        (_, TokenKind::Control | TokenKind::Marker | TokenKind::Unknown) => {
            piece.as_bytes().to_vec()
        }
        // An added token is written as it is, also where its characters have a place in the
        // alphabet.
        (Alphabet::ByteLevel, TokenKind::UserDefined) => piece.as_bytes().to_vec(),
        (Alphabet::ByteLevel, _) => {
            let mapped: Option<Vec<u8>> = piece.chars().map(byte_of_char).collect();
            mapped.unwrap_or_else(|| piece.as_bytes().to_vec())
        }
        (Alphabet::SentencePiece, TokenKind::Byte) => match byte_of_piece(piece) {
            Some(byte) => vec![byte],
            None => piece.as_bytes().to_vec(),
        },
        (Alphabet::SentencePiece, _) => piece.replace(SPACE_SIGN, " ").into_bytes(),
    }
}

/// The byte of a piece `<0xAB>`.
pub fn byte_of_piece(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    let two_digits = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if two_digits { u8::from_str_radix(digits, 16).ok() } else { None }
}

/// GPT-2's `bytes_to_unicode` backwards: printable Latin-1 characters are themselves, and the other
/// 68 bytes, in order, are the characters from U+0100 on.
pub fn byte_of_char(character: char) -> Option<u8> {
    let code = u32::from(character);
    match code {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => u8::try_from(code).ok(),
        0x100..=0x120 => u8::try_from(code - 0x100).ok(),
        0x121..=0x142 => u8::try_from(code - 0x121 + 0x7F).ok(),
        0x143 => Some(0xAD),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_exactly_one_character() {
        let mut seen = [0; 256];
        for character in (0..0x200).filter_map(char::from_u32) {
            if let Some(byte) = byte_of_char(character) {
                seen[usize::from(byte)] += 1;
            }
        }
        assert!(seen.iter().all(|&count| count == 1));
        assert_eq!(byte_of_char('Ġ'), Some(b' '));
        assert_eq!(byte_of_char('Ċ'), Some(b'\n'));
        assert_eq!(byte_of_char('ł'), Some(0xA0));
    }

    #[test]
    fn reads_byte_pieces_only_in_their_exact_form() {
        assert_eq!(byte_of_piece("<0x0A>"), Some(10));
        for other in ["<0xA>", "<0x+A>", "<0x0A", "0x0A", "<0x0AB>", "<0xGG>"] {
            assert_eq!(byte_of_piece(other), None, "{other}");
        }
    }

    #[test]
    fn spaces_come_back_from_their_sign() {
        assert_eq!(token_bytes("▁the", TokenKind::Normal, Alphabet::SentencePiece), b" the");
        assert_eq!(token_bytes("Ġthe", TokenKind::Normal, Alphabet::ByteLevel), b" the");
        assert_eq!(token_bytes("Ġ", TokenKind::UserDefined, Alphabet::ByteLevel), "Ġ".as_bytes());
    }
}
