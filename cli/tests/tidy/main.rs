//! Holds the house rules: how long and how wide a file is, where `unsafe` may be, who imports whom,
//! which words are used.

mod api;
mod circles;
mod documents;
mod modules;
mod ratchet;
mod rooms;
mod size;
mod tokens;
mod tree;
mod width;
mod words;

use tree::{files, report};

/// Longest source file, in lines.
const LINES_MAX: usize = 500;

/// Folders whose files may contain `unsafe`.
const UNSAFE_ROOMS: [&str; 6] = [
    "cli/src/os.rs",
    "kernels-avx/src/",
    "kernels-cuda/src/driver/",
    "kernels-neon/src/",
    "runtime/src/cpu/pool/",
    "runtime/src/os/",
];

#[test]
fn unsafe_stays_in_its_rooms() {
    let mut broken = Vec::new();
    for (path, text) in files(&[".rs"]) {
        if UNSAFE_ROOMS.iter().any(|room| path.starts_with(room))
            || path.starts_with("cli/tests/tidy/")
        {
            continue;
        }
        // A counting allocator is the one test that cannot be written without.
        if path == "runtime/tests/allocations.rs" {
            continue;
        }
        for (number, line) in (1..).zip(text.lines()) {
            let code = line.split("//").next().unwrap();
            let words = code.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
            if words.into_iter().any(|word| word == "unsafe") {
                broken.push(format!("{path}:{number}: unsafe outside its rooms"));
            }
        }
    }
    report(&broken);
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut broken = Vec::new();
    let mut long = Vec::new();
    for (path, text) in files(&[".rs", ".cu", ".cuh", ".cpp", ".h"]) {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            long.push((
                ratchet::room(&path),
                format!("{path}: {lines} lines, the most is {LINES_MAX}"),
            ));
        }
        if !text.starts_with(if path.ends_with(".rs") { "//!" } else { "// " }) {
            broken.push(format!("{path}: the first line does not say what the file is"));
        }
    }
    report(&broken);
    ratchet::hold("length", &long);
}

#[test]
fn the_repository_speaks_of_the_project_alone() {
    // Put together here so that this file does not find itself.
    let absolute = ["/wo", "rk/"].concat();
    let words =
        [absolute, ["/ho", "me/"].concat(), ["crates", ".io"].concat(), ["pypi", ".org"].concat()];
    let mut broken = Vec::new();
    for (path, text) in files(&[".rs", ".md", ".toml", ".py", ".sh", ".cu", ".cuh", ".cpp", ".h"]) {
        for (number, line) in (1..).zip(text.lines()) {
            for word in words.iter().filter(|word| line.contains(word.as_str())) {
                broken.push(format!("{path}:{number}: {word}"));
            }
        }
    }
    report(&broken);
}
