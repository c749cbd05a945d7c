//! A context and its continuations as tokens, parted where the tokenizer parts them.

use anyhow::Context;

/// Tokens of a context, and of each continuation after it. Both are encoded together, since a token
/// may begin with the space between them. The continuation's tokens are those after as many as the
/// context has alone. Spaces at the context's end go to the continuation.
///
/// # Errors
/// Those of `tokens_of`, or a continuation that vanishes in the context's last token.
pub fn encode(
    tokens_of: impl Fn(&str) -> anyhow::Result<Vec<u32>>,
    context: &str,
    continuations: &[&str],
) -> anyhow::Result<(Vec<u32>, Vec<Vec<u32>>)> {
    let kept = context.trim_end();
    let given = tokens_of(kept)?;
    let behind = |continuation: &&str| {
        let whole = tokens_of(&format!("{context}{continuation}"))?;
        let asked = whole.get(given.len()..).filter(|asked| !asked.is_empty());
        Ok(asked
            .with_context(|| format!("{continuation:?} has no token of its own after the context"))?
            .to_vec())
    };
    let asked = continuations.iter().map(behind).collect::<anyhow::Result<_>>()?;
    Ok((given, asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A letter is a token, and so are these words, the longest first.
    fn tokens_of(mut text: &str) -> anyhow::Result<Vec<u32>> {
        const WORDS: [&str; 4] = [" no", " yes", "Answer:", ":no"];
        let mut tokens = Vec::new();
        while let Some(letter) = text.chars().next() {
            let word = WORDS.iter().position(|word| text.starts_with(word));
            tokens.push(word.map_or(letter as u32, |word| 1000 + word as u32));
            text = &text[word.map_or(letter.len_utf8(), |word| WORDS[word].len())..];
        }
        Ok(tokens)
    }

    #[test]
    fn the_space_belongs_to_the_continuation() {
        let expected = (vec![1002], vec![vec![1000], vec![1001], vec![' ' as u32, 'n' as u32]]);
        assert_eq!(encode(tokens_of, "Answer:", &[" no", " yes", " n"]).unwrap(), expected);
        // Also where it is in the context.
        let (given, asked) = encode(tokens_of, "Answer: ", &["no", "yes"]).unwrap();
        assert_eq!((given, asked), (vec![1002], vec![vec![1000], vec![1001]]));
    }

    #[test]
    fn a_token_across_the_boundary_is_the_context_s() {
        // "a:" and "no" join to "a", ":no": nothing is left after the context's two tokens.
        let error = encode(tokens_of, "a:", &["no"]).unwrap_err().to_string();
        assert!(error.contains("\"no\" has no token"), "{error}");
        let (given, asked) = encode(tokens_of, "a:", &["no yes"]).unwrap();
        assert_eq!((given.len(), asked), (2, vec![vec![1001]]));
    }
}
