//! A Rust file as a list of signs: enough to follow `mod`, `use` and paths, and no parser.

use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A sign of a file. `::` is one, and a group is one too.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Word(String),
    /// `::`
    Path,
    Mark(char),
    /// What is in braces.
    Braces(Vec<Token>),
    /// What is in brackets, parentheses or invisible delimiters.
    Other(Vec<Token>),
    /// A string, with its quotes, or a number.
    Literal(String),
}

impl Token {
    pub fn word(&self) -> Option<&str> {
        match self {
            Self::Word(word) => Some(word),
            _ => None,
        }
    }

    pub fn is(&self, word: &str) -> bool {
        self.word() == Some(word)
    }
}

/// The signs of a file, without what is only there for tests.
pub fn tokens(text: &str) -> Vec<Token> {
    let stream = TokenStream::from_str(text).expect("a file that the compiler takes");
    without_tests(convert(stream))
}

fn convert(stream: TokenStream) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for tree in stream {
        let token = match tree {
            TokenTree::Ident(word) => Token::Word(word.to_string()),
            TokenTree::Literal(literal) => Token::Literal(literal.to_string()),
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                Token::Braces(convert(group.stream()))
            }
            TokenTree::Group(group) => Token::Other(convert(group.stream())),
            TokenTree::Punct(mark) if mark.as_char() == ':' => {
                if tokens.last() == Some(&Token::Mark(':')) {
                    tokens.pop();
                    Token::Path
                } else {
                    Token::Mark(':')
                }
            }
            TokenTree::Punct(mark) => Token::Mark(mark.as_char()),
        };
        tokens.push(token);
    }
    tokens
}

/// Drops each item after `#[cfg(test)]` and all other attributes but `#[path = "…"]`.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut rest = tokens.into_iter().peekable();
    while let Some(token) = rest.next() {
        match token {
            Token::Mark('#') => {
                rest.next_if_eq(&Token::Mark('!'));
                let Some(Token::Other(attribute)) = rest.next() else { continue };
                if is_for_tests(&attribute) {
                    rest.by_ref()
                        .find(|token| matches!(token, Token::Braces(_) | Token::Mark(';')));
                } else if attribute.first().is_some_and(|word| word.is("path")) {
                    kept.extend([Token::Mark('#'), Token::Other(attribute)]);
                }
            }
            Token::Braces(inner) => kept.push(Token::Braces(without_tests(inner))),
            Token::Other(inner) => kept.push(Token::Other(without_tests(inner))),
            other => kept.push(other),
        }
    }
    kept
}

/// `cfg(test)` and `cfg(all(test, …))`, but not `cfg(not(test))`.
fn is_for_tests(attribute: &[Token]) -> bool {
    let [cfg, Token::Other(condition)] = attribute else { return false };
    let inside = match &condition[..] {
        [all, Token::Other(conditions)] if all.is("all") => conditions,
        conditions => conditions,
    };
    cfg.is("cfg") && inside.iter().any(|word| word.is("test"))
}

#[test]
fn tests_are_dropped() {
    let words = |text| -> Vec<String> {
        tokens(text).iter().filter_map(|token| token.word().map(str::to_owned)).collect()
    };
    assert_eq!(words("#[cfg(test)] mod tests { use a; } fn b() {}"), ["fn", "b"]);
    assert_eq!(words("#[cfg(test)] mod tests; fn b() {}"), ["fn", "b"]);
    assert_eq!(words("#[cfg(all(test, unix))] use a; struct B;"), ["struct", "B"]);
    assert_eq!(words("#[cfg(not(test))] struct A;"), ["struct", "A"]);
    assert_eq!(tokens("a::b")[1], Token::Path);
}
