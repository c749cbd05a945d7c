//! Holds the documents to the tree: what a page names is there, links lead somewhere, lines and
//! pages have their sizes, and every measurement begins with its verdict.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Most lines of the README.
const README_LINES_MAX: usize = 150;
/// Most columns of a line of prose; tables, code, headings and pictures may be wider.
const WIDTH_MAX: usize = 100;
/// Pages of the past may name files that are gone.
const PAST: [&str; 2] = ["docs/lab/", "CHANGELOG.md"];
/// Endings by which a code span is taken for a path.
const ENDINGS: [&str; 9] = [".rs", ".md", ".sh", ".py", ".cu", ".cuh", ".csv", ".svg", ".dot"];
/// Folders that no page can count on, or that are not the project's own words.
const LEFT_OUT: [&str; 4] = [".git", "target", "cache", "node_modules"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// All files below a folder, relative to it, with `/` between names.
fn files(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !LEFT_OUT.contains(&name.as_str()) {
                folders.push(path);
            } else if path.is_file() {
                let relative = path.strip_prefix(root).unwrap();
                found.insert(relative.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    found
}

/// The lines of a page outside fenced code, with their numbers from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        (!code && !fence).then_some((index + 1, line))
    })
}

/// Code spans of a line that look like paths.
fn named_paths(line: &str) -> impl Iterator<Item = &str> {
    let plain = |span: &str| span.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    line.split('`').skip(1).step_by(2).filter(move |span| {
        let path = span.contains('/') && ENDINGS.iter().any(|ending| span.ends_with(ending));
        plain(span) && (path || span.starts_with(".ci/"))
    })
}

/// Whether a path is a file's, from the root or from any folder on the way to it.
fn is_named(files: &BTreeSet<String>, path: &str) -> bool {
    let ending = format!("/{path}");
    files.contains(path) || files.iter().any(|file| file.ends_with(&ending))
}

/// Targets of a line's links that are no addresses on the network.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target).filter(|target| !target.contains("://"))
}

/// A target as a path from the root: `docs/kv.md` and `../format/SPEC.md` are `format/SPEC.md`.
fn resolve(page: &str, target: &str) -> String {
    let mut path = PathBuf::from(page);
    path.pop();
    for part in Path::new(target).components() {
        match part {
            Component::ParentDir => assert!(path.pop(), "{page}: {target} is outside"),
            part => path.push(part),
        }
    }
    path.to_string_lossy().replace('\\', "/")
}

/// The anchor that a heading gets where Markdown is shown.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// What is wrong with a page's links and the paths that it names.
fn faults(files: &BTreeSet<String>, page: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let is_past = PAST.iter().any(|past| page.starts_with(past));
    for (number, line) in prose(text) {
        for path in named_paths(line).filter(|path| !is_past && !is_named(files, path)) {
            faults.push(format!("{page}:{number}: there is no `{path}`"));
        }
        for link in links(line) {
            let (target, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if target.is_empty() { page.to_owned() } else { resolve(page, target) };
            let folder = format!("{}/", target.trim_end_matches('/'));
            if !files.contains(&target) && !files.iter().any(|file| file.starts_with(&folder)) {
                faults.push(format!("{page}:{number}: the link to {link} leads nowhere"));
            } else if !heading.is_empty() {
                let text = fs::read_to_string(root().join(&target)).unwrap();
                if !prose(&text).any(|(_, line)| line.starts_with('#') && anchor(line) == heading) {
                    faults.push(format!("{page}:{number}: {target} has no heading #{heading}"));
                }
            }
        }
    }
    faults
}

fn pages(files: &BTreeSet<String>) -> Vec<(&str, String)> {
    let pages = files.iter().filter(|file| file.ends_with(".md"));
    pages.map(|page| (page.as_str(), fs::read_to_string(root().join(page)).unwrap())).collect()
}

#[test]
fn what_a_page_names_is_there() {
    let files = files(&root());
    let pages = pages(&files);
    assert!(pages.len() > 10, "only {} pages were found", pages.len());
    let faults: Vec<_> = pages.iter().flat_map(|(page, text)| faults(&files, page, text)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn prose_is_no_wider_than_code() {
    let exempt =
        |line: &str| line.starts_with(['|', '#']) || line.trim_start().starts_with(['!', '<']);
    let files = files(&root());
    for (page, text) in pages(&files) {
        for (number, line) in prose(&text).filter(|(_, line)| !exempt(line)) {
            let width = line.chars().count();
            assert!(width <= WIDTH_MAX, "{page}:{number}: {width} columns, at most {WIDTH_MAX}");
        }
    }
}

#[test]
fn the_readme_stays_short() {
    let lines = fs::read_to_string(root().join("README.md")).unwrap().lines().count();
    assert!(lines <= README_LINES_MAX, "{lines} lines, at most {README_LINES_MAX}");
}

#[test]
fn measurements_begin_with_their_verdict() {
    let files = files(&root());
    let index = fs::read_to_string(root().join("docs/lab/README.md")).unwrap();
    for (page, text) in pages(&files) {
        let Some(name) = page.strip_prefix("docs/lab/").filter(|name| *name != "README.md") else {
            continue;
        };
        let first = text.lines().find(|line| !line.is_empty() && !line.starts_with('#'));
        assert!(first.is_some_and(|line| line.starts_with("**Verdict.**")), "{page}: no verdict");
        let is_date = name.split('-').take(3).all(|part| part.parse::<u16>().is_ok());
        assert!(is_date, "{page}: no date");
        assert!(index.contains(name), "docs/lab/README.md does not list {name}");
    }
}

#[test]
fn what_is_wrong_is_found() {
    let files: BTreeSet<_> = ["docs/a.md", "cli/src/args.rs"].map(String::from).into();
    let faults = |text| faults(&files, "docs/a.md", text);
    assert!(faults("`cli/src/args.rs`, `src/args.rs`, [a](a.md), [b](../cli/src)").is_empty());
    assert!(faults("```\n`cli/src/gone.rs`\n```\n`no.rs` and `a b/c.rs`").is_empty());
    assert_eq!(faults("`cli/src/gone.rs`"), ["docs/a.md:1: there is no `cli/src/gone.rs`"]);
    assert_eq!(faults("`gs.rs/args.rs`").len(), 1);
    assert_eq!(faults("\n[b](b.md)"), ["docs/a.md:2: the link to b.md leads nowhere"]);
    assert_eq!(anchor("## Rounds, and `what` they cost"), "rounds-and-what-they-cost");
    assert_eq!(resolve("docs/lab/a.md", "../../format/SPEC.md"), "format/SPEC.md");
}
