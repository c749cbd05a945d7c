//! The number a text answers with, as lm-evaluation-harness finds it for GSM8K.

use std::sync::LazyLock;

use regex::Regex;

static BEHIND_MARK: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"#### (-?[0-9.,]+)").expect("a valid pattern"));
static ANY: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"-?[$0-9.,]{2,}|-?[0-9]+").expect("a valid pattern"));

/// The first number after `####`.
pub fn strict(text: &str) -> Option<String> {
    BEHIND_MARK.captures(text).map(|captures| plain(&captures[1]))
}

/// The last number of any kind.
pub fn flexible(text: &str) -> Option<String> {
    ANY.find_iter(text).last().map(|found| plain(found.as_str()))
}

/// The right answer of a solution.
pub fn gold(solution: &str) -> String {
    plain(solution.rsplit("#### ").next().unwrap_or_default().trim())
}

/// Without thousands' commas, dollars and a full stop at the end.
fn plain(number: &str) -> String {
    let number = number.replace([',', '$'], "");
    number.strip_suffix('.').unwrap_or(&number).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_answers() {
        let text = "She makes 9 * 2 = $<<9*2=18>>18.\n#### 1,018\nQuestion: 7";
        assert_eq!(strict(text).as_deref(), Some("1018"));
        assert_eq!(flexible(text).as_deref(), Some("7"));
        assert_eq!(flexible("It costs $70,000.00.").as_deref(), Some("70000.00"));
        assert_eq!(flexible("So it is -5 now.").as_deref(), Some("-5"));
        assert_eq!(flexible("The answer is $18.").as_deref(), Some("18"));
        assert_eq!(strict("#### -3.").as_deref(), Some("-3"));
        assert_eq!((strict("18"), strict("####18"), flexible("none")), (None, None, None));
        assert_eq!(gold("9 * 2 = 18\n#### 2,125"), "2125");
    }
}
