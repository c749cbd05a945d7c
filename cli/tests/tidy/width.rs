//! How wide a line may be: 100 columns of code, comments, scripts and prose.

use crate::ratchet::{Broken, hold, room};
use crate::tree::files;

const COLUMNS_MAX: usize = 100;

/// Whether a line is too wide and could be broken.
fn too_wide(path: &str, line: &str, fenced: bool) -> bool {
    if line.chars().count() <= COLUMNS_MAX || line.contains("://") {
        return false;
    }
    if path.ends_with(".md") {
        let exempt = fenced || line.starts_with(['|', '#']);
        return !exempt && without_targets(line).chars().count() > COLUMNS_MAX;
    }
    !is_one_literal(line)
}

/// A line of prose without the targets of its links.
fn without_targets(line: &str) -> String {
    let mut rest = line;
    let mut kept = String::new();
    while let Some((before, after)) = rest.split_once("](") {
        kept.push_str(before);
        kept.push(']');
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    kept + rest
}

/// Whether a line of code is one string, from its first sign to its last but for a comma or a
/// bracket.
fn is_one_literal(line: &str) -> bool {
    let text = line.trim().trim_end_matches([',', ';', ')']);
    let text = text.strip_prefix('b').unwrap_or(text);
    let text = text.strip_prefix('r').unwrap_or(text).trim_matches('#');
    text.len() > 1 && text.starts_with('"') && text.ends_with('"')
}

#[test]
fn lines_fit_a_hundred_columns() {
    let mut broken = Broken::new();
    for (path, text) in files(&[".rs", ".cu", ".cuh", ".sh", ".md"]) {
        let mut fenced = false;
        for (number, line) in (1..).zip(text.lines()) {
            fenced ^= line.trim_start().starts_with("```");
            if too_wide(&path, line, fenced) {
                let columns = line.chars().count();
                broken.push((room(&path), format!("{path}:{number}: {columns} columns")));
            }
        }
    }
    hold("width", &broken);
}

#[test]
fn what_cannot_be_broken_may_be_wide() {
    let long = "word ".repeat(25);
    assert!(too_wide("a.rs", &format!("// {long}"), false));
    assert!(too_wide("a.rs", &format!("let a = \"{long}\";"), false));
    assert!(!too_wide("a.rs", &format!("    \"{long}\","), false));
    assert!(!too_wide("a.rs", &format!("// {long} https://example.org"), false));
    assert!(too_wide("a.md", &long, false));
    assert!(!too_wide("a.md", &long, true));
    assert!(!too_wide("a.md", &format!("| {long} |"), false));
    assert!(!too_wide("a.md", &format!("[word]({})", long.replace(' ', "_")), false));
    assert!(too_wide("a.md", &format!("[word](target) {long}"), false));
}
