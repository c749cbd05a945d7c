//! Words that `docs/lexicon.md` refuses, looked for in documents and comments.

use crate::ratchet::{Broken, hold, room};
use crate::tree::{files, root};

/// A row of the lexicon's last table: its first cell, the phrases it refuses, and longer ones that
/// are in order all the same.
struct Refused {
    row: &'static str,
    phrases: &'static [&'static str],
    allowed: &'static [&'static str],
}

const REFUSED: [Refused; 11] = [
    Refused {
        row: "half float(s)",
        phrases: &["half float", "half floats", "half-float", "half-floats"],
        allowed: &[],
    },
    Refused {
        row: "ask (for bytes), asked",
        phrases: &[
            "ask memory",
            "asks memory",
            "asked ahead",
            "asked of memory",
            "asked for ahead",
        ],
        allowed: &[],
    },
    Refused {
        row: "behind (in time or order)",
        phrases: &["behind"],
        allowed: &["behind the feature", "behind a feature", "behind its feature"],
    },
    Refused {
        row: "gives, gives back (of a function)",
        phrases: &["gives", "give back", "gives back", "giving back"],
        allowed: &[],
    },
    Refused { row: "so many", phrases: &["so many"], allowed: &[] },
    Refused { row: "at last", phrases: &["at last"], allowed: &[] },
    Refused { row: "of no meaning", phrases: &["of no meaning"], allowed: &[] },
    Refused {
        row: "is told, tells",
        phrases: &["is told", "are told", "be told", "was told", "tells", "told"],
        allowed: &[],
    },
    Refused {
        row: "stands (for *is*, *lies*)",
        phrases: &["stands", "stand"],
        allowed: &["stands for", "stand for"],
    },
    Refused { row: "meets, met", phrases: &["meets", "met"], allowed: &[] },
    Refused {
        row: "nothing (for an absent value)",
        phrases: &["or nothing", "nothing where", "nothing if"],
        allowed: &[],
    },
];

/// Files that quote the words.
const QUOTING: [&str; 2] = ["docs/lexicon.md", "cli/tests/tidy/words.rs"];

/// A text as words in small letters with one space around each.
fn normal(text: &str) -> String {
    let word = |letter: char| letter.is_alphanumeric() || letter == '-' || letter == '_';
    let words = text.split(|letter| !word(letter)).filter(|word| !word.is_empty());
    words.fold(String::from(" "), |text, word| text + &word.to_lowercase() + " ")
}

/// How often a phrase stands alone in a text.
fn occurrences(text: &str, phrase: &str) -> usize {
    // Two places may share the space between them.
    let sought = format!(" {phrase} ");
    (0..text.len())
        .filter(|&at| text.is_char_boundary(at) && text[at..].starts_with(&sought))
        .count()
}

/// The rows that a line breaks.
fn broken_rows(line: &str) -> Vec<&'static str> {
    let text = normal(line);
    let breaks = |row: &&Refused| {
        // The longest phrase at a place is counted with the shorter ones in it: whether there is
        // any is all that matters.
        let found: usize = row.phrases.iter().map(|phrase| occurrences(&text, phrase)).sum();
        let allowed: usize = row.allowed.iter().map(|phrase| occurrences(&text, phrase)).sum();
        found > allowed
    };
    REFUSED.iter().filter(breaks).map(|row| row.row).collect()
}

/// The comment of a line of code, or the whole line of a document.
fn prose<'a>(path: &str, line: &'a str) -> Option<&'a str> {
    if path.ends_with(".md") {
        return Some(line);
    }
    let sign = if path.ends_with(".sh") || path.ends_with(".py") { "#" } else { "//" };
    let (before, comment) = line.split_once(sign)?;
    // Within a string there is an odd number of quotes before it.
    before.matches('"').count().is_multiple_of(2).then_some(comment)
}

#[test]
fn refused_words_are_not_used() {
    let mut broken = Broken::new();
    for (path, text) in files(&[".md", ".rs", ".cu", ".cuh", ".h", ".sh", ".py"]) {
        if QUOTING.contains(&path.as_str()) || path.starts_with("docs/lab/") {
            continue;
        }
        for (number, line) in (1..).zip(text.lines()) {
            for row in prose(&path, line).map(broken_rows).unwrap_or_default() {
                broken.push((room(&path), format!("{path}:{number}: {row}")));
            }
        }
    }
    hold("words", &broken);
}

#[test]
fn the_table_is_the_lexicons() {
    let lexicon = std::fs::read_to_string(root().join("docs/lexicon.md")).unwrap();
    let (_, table) = lexicon.split_once("| not | but |").expect("the table of refused words");
    let rows = table.lines().skip(2).map_while(|line| line.strip_prefix("| "));
    let rows: Vec<&str> = rows.map(|row| row.split(" | ").next().unwrap()).collect();
    assert_eq!(rows, REFUSED.map(|row| row.row));
}

#[test]
fn refused_words_are_found() {
    assert_eq!(
        broken_rows("Gives the length, so many bytes."),
        ["gives, gives back (of a function)", "so many"]
    );
    assert_eq!(broken_rows("metric, task, understand, whatever"), [""; 0]);
    assert_eq!(broken_rows("Behind the feature `text`."), [""; 0]);
    assert_eq!(
        broken_rows("Behind the feature `text`, behind it all."),
        ["behind (in time or order)"]
    );
    assert_eq!(prose("a.rs", "let a = \"http://b\";"), None);
    assert_eq!(prose("a.rs", "let a = \"b\"; // told"), Some(" told"));
    assert_eq!(prose("a.py", "a = 1  # told"), Some(" told"));
    assert_eq!(prose("a.md", "told"), Some("told"));
}
