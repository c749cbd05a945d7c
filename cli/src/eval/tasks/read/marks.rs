//! A text taken apart at marks that are in it once each, in order.

use anyhow::{Context, ensure};

/// The pieces between these marks, from the end of the first mark, which the text begins with, to
/// the text's end.
///
/// # Errors
/// A mark that is not there, or more than once after the one before it.
pub fn between<'a>(text: &'a str, marks: &[String]) -> anyhow::Result<Vec<&'a str>> {
    let [first, others @ ..] = marks else { return Ok(Vec::new()) };
    let missing = |mark: &str| format!("expected {mark:?} in {:?}", shortened(text));
    let mut rest = text.strip_prefix(first.as_str()).with_context(|| missing(first))?;
    let mut pieces = Vec::with_capacity(marks.len());
    for mark in others {
        let (piece, behind) = rest.split_once(mark.as_str()).with_context(|| missing(mark))?;
        ensure!(
            !behind.contains(mark.as_str()),
            "expected {mark:?} once, found it again in {:?}",
            shortened(behind)
        );
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    Ok(pieces)
}

/// Enough of a text to find it by.
fn shortened(text: &str) -> String {
    const LETTERS: usize = 60;
    match text.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str, marks: &[&str]) -> Result<Vec<String>, String> {
        let marks: Vec<String> = marks.iter().map(|&mark| mark.to_owned()).collect();
        let pieces = between(text, &marks).map_err(|error| error.to_string())?;
        Ok(pieces.into_iter().map(str::to_owned).collect())
    }

    #[test]
    fn pieces_between_marks() {
        assert_eq!(pieces("1:a 2:b", &["1:", " 2:"]), Ok(vec!["a".into(), "b".into()]));
        assert_eq!(pieces("1: 2:", &["1:", " 2:"]), Ok(vec![String::new(), String::new()]));
        assert!(pieces("a 2:b", &["1:", " 2:"]).unwrap_err().contains("expected \"1:\""));
        assert!(pieces("1:a", &["1:", " 2:"]).unwrap_err().contains("expected \" 2:\""));
        assert!(pieces("1:a 2:b 2:c", &["1:", " 2:"]).unwrap_err().contains("once"));
    }
}
