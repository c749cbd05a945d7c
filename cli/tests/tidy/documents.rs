//! Holds the documents to the tree: what a page names is there, links lead somewhere, the README
//! stays short, and every measurement begins with its verdict.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::tree::{report, root};

/// Most lines of the README.
const README_LINES_MAX: usize = 150;
/// Pages of the past may name files that are gone.
const PAST: [&str; 2] = ["docs/lab/", "CHANGELOG.md"];
/// Endings by which a code span is taken for a path.
const ENDINGS: [&str; 9] = [".rs", ".md", ".sh", ".py", ".cu", ".cuh", ".csv", ".svg", ".dot"];
/// Folders that no page can count on.
const LEFT_OUT: [&str; 5] = [".git", "target", "fuzz/target", "models/cache", "__pycache__"];

/// All files of the repository, relative to its root, with `/` between names.
fn repository() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let relative = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
            if LEFT_OUT.iter().any(|left_out| path.ends_with(left_out)) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(relative);
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

/// Code spans of a line that look like paths: with an ending, or below one of these folders.
fn named_paths<'l>(line: &'l str, folders: &BTreeSet<&str>) -> Vec<&'l str> {
    let plain = |span: &str| span.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let is_path = |span: &&str| {
        let Some((first, _)) = span.split_once('/') else { return false };
        let is_left_out = LEFT_OUT.iter().any(|folder| span.starts_with(folder));
        let has_ending = ENDINGS.iter().any(|ending| span.ends_with(ending));
        let is_folder = folders.contains(first) && !span.contains('.');
        plain(span) && !is_left_out && (has_ending || is_folder)
    };
    line.split('`').skip(1).step_by(2).filter(is_path).collect()
}

/// Whether a path is a file's or a folder's, from the root or from any folder on the way to it.
fn is_named(files: &BTreeSet<String>, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let (ending, folder) = (format!("/{path}"), format!("{path}/"));
    files.contains(path)
        || files.iter().any(|file| file.ends_with(&ending) || file.starts_with(&folder))
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
    let folders = files.iter().filter_map(|file| Some(file.split_once('/')?.0)).collect();
    for (number, line) in prose(text) {
        let paths = named_paths(line, &folders).into_iter();
        for path in paths.filter(|path| !is_past && !is_named(files, path)) {
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
    let files = repository();
    let pages = pages(&files);
    assert!(pages.len() > 10, "only {} pages were found", pages.len());
    let faults: Vec<_> = pages.iter().flat_map(|(page, text)| faults(&files, page, text)).collect();
    report(&faults);
}

#[test]
fn the_readme_stays_short() {
    let lines = fs::read_to_string(root().join("README.md")).unwrap().lines().count();
    assert!(lines <= README_LINES_MAX, "{lines} lines, at most {README_LINES_MAX}");
}

#[test]
fn measurements_begin_with_their_verdict() {
    let files = repository();
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
    assert_eq!(faults("`cli/src`, `cli/sr` and `other/sr`").len(), 1);
    assert_eq!(faults("\n[b](b.md)"), ["docs/a.md:2: the link to b.md leads nowhere"]);
    assert_eq!(anchor("## Rounds, and `what` they cost"), "rounds-and-what-they-cost");
    assert_eq!(resolve("docs/lab/a.md", "../../format/SPEC.md"), "format/SPEC.md");
}
