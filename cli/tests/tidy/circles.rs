//! Imports between the files of a room: no two files may need each other, however far round.
//!
//! A name is followed to the file that defines it, through modules that only pass it on. So a
//! folder may hand out its files' names, but a file that needs a type of its folder's own `mod.rs`,
//! which needs that file, makes a circle. What is only there for tests is left out.

use std::collections::{BTreeMap, BTreeSet};

use crate::modules::{Modules, Name, modules};
use crate::ratchet::{Broken, hold, room};
use crate::tree::{files, paths, report, root};

/// For each file, the files it needs.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// Where a path leads.
enum Target {
    Module(Name),
    Item(Name),
}

/// The files of a root, and which of them need which.
fn graph(all: &Modules) -> Graph {
    let mut graph = Graph::new();
    for (name, module) in all {
        let needed = graph.entry(module.file.clone()).or_default();
        for import in &module.imports {
            let handed_on = import.public && !module.words.contains(&import.alias);
            if handed_on {
                continue;
            }
            match resolve(all, name, &import.path, 0) {
                // Nothing is needed of a module before a path goes through it.
                Some(Target::Module(_)) if import.alias != "*" => (),
                Some(Target::Module(found) | Target::Item(found)) => {
                    needed.insert(all[&found].file.clone());
                }
                None => (),
            }
        }
        for path in &module.paths {
            if let Some(Target::Item(found)) = resolve(all, name, path, 0) {
                needed.insert(all[&found].file.clone());
            }
        }
    }
    for (file, needed) in &mut graph {
        needed.remove(file);
    }
    graph
}

/// Follows a path as it is written in a module; none if it leads out of the root.
fn resolve(all: &Modules, from: &Name, path: &[String], depth: usize) -> Option<Target> {
    let mut at = from.clone();
    let mut rest = path;
    let mut anchored = false;
    while let [first, after @ ..] = rest {
        match first.as_str() {
            "crate" => at.clear(),
            "super" => _ = at.pop(),
            "self" => (),
            _ => break,
        }
        anchored = true;
        rest = after;
    }
    if !anchored {
        let first = rest.first()?;
        let local = all[from].imports.iter().any(|import| import.alias == *first);
        let child = [&from[..], std::slice::from_ref(first)].concat();
        if !local && !all.contains_key(&child) {
            return None;
        }
    }
    follow(all, at, rest, depth)
}

/// Follows the words of a path from a module.
fn follow(all: &Modules, mut at: Name, path: &[String], depth: usize) -> Option<Target> {
    const DEPTH_MAX: usize = 16;
    if depth > DEPTH_MAX {
        return None;
    }
    for (index, word) in path.iter().enumerate() {
        let child = [&at[..], std::slice::from_ref(word)].concat();
        if all.contains_key(&child) {
            at = child;
            continue;
        }
        let module = all.get(&at)?;
        if module.defined.contains(word) {
            return Some(Target::Item(at));
        }
        let rest = &path[index + 1..];
        if let Some(import) = module.imports.iter().find(|import| import.alias == *word) {
            // `use a::{self as b}` and `use b` within `b` would go round for ever.
            let whole = [&import.path[..], rest].concat();
            return resolve(all, &at, &whole, depth + 1);
        }
        for import in module.imports.iter().filter(|import| import.alias == "*") {
            if let Some(Target::Module(inside)) = resolve(all, &at, &import.path, depth + 1)
                && inside != at
                && let Some(found) = follow(all, inside, &path[index..], depth + 1)
                && !matches!(&found, Target::Item(name) if !all[name].defined.contains(word))
            {
                return Some(found);
            }
        }
        // Made by a macro, or a macro itself: of this module as far as anyone can see.
        let made = all.iter().find(|(_, module)| module.defined.contains(word) && at.is_empty());
        return Some(Target::Item(made.map_or(at, |(name, _)| name.clone())));
    }
    Some(Target::Module(at))
}

/// The files that need each other, one list for each circle of two or more, by Tarjan's algorithm.
fn circles(graph: &Graph) -> Vec<Vec<String>> {
    let mut search = Search::new(graph);
    for file in graph.keys() {
        if !search.index.contains_key(file.as_str()) {
            search.visit(file);
        }
    }
    search.found.sort();
    search.found
}

struct Search<'a> {
    graph: &'a Graph,
    index: BTreeMap<&'a str, usize>,
    low: BTreeMap<&'a str, usize>,
    stack: Vec<&'a str>,
    found: Vec<Vec<String>>,
}

impl<'a> Search<'a> {
    fn new(graph: &'a Graph) -> Self {
        Self { graph, index: BTreeMap::new(), low: BTreeMap::new(), stack: vec![], found: vec![] }
    }

    fn visit(&mut self, file: &'a str) {
        let own = self.index.len();
        self.index.insert(file, own);
        self.low.insert(file, own);
        self.stack.push(file);
        for next in &self.graph[file] {
            if !self.index.contains_key(next.as_str()) {
                self.visit(next);
                let low = self.low[file].min(self.low[next.as_str()]);
                self.low.insert(file, low);
            } else if self.stack.contains(&next.as_str()) {
                let low = self.low[file].min(self.index[next.as_str()]);
                self.low.insert(file, low);
            }
        }
        if self.low[file] == own {
            let from = self.stack.iter().position(|name| *name == file).unwrap();
            let mut circle: Vec<String> = self.stack.drain(from..).map(str::to_owned).collect();
            circle.sort();
            if circle.len() > 1 {
                self.found.push(circle);
            }
        }
    }
}

/// The files that cargo or a script builds from: each is the root of its own modules.
fn roots() -> Vec<String> {
    let is_root = |path: &String| {
        let words: Vec<&str> = path.split('/').collect();
        match words[..] {
            [.., "build.rs"] | [.., "src", "lib.rs" | "main.rs"] | [.., "src", "bin", _] => true,
            [_, "tests" | "examples" | "benches", file] => file.ends_with(".rs"),
            [_, "tests" | "examples" | "benches", _, "main.rs"] => true,
            _ => false,
        }
    };
    let mut found: Vec<String> = paths(&[".rs"]).into_iter().filter(is_root).collect();
    for (manifest, text) in files(&["Cargo.toml"]) {
        let folder = manifest.trim_end_matches("Cargo.toml");
        let named = text.lines().filter_map(|line| line.strip_prefix("path = \""));
        let named = named.map(|path| format!("{folder}{}", path.trim_end_matches('"')));
        found.extend(named.filter(|path| path.ends_with(".rs")));
    }
    found.sort();
    found.dedup();
    found
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(root().join(path)).ok()
}

#[test]
fn no_files_need_each_other() {
    let mut broken = Broken::new();
    for file in roots() {
        for circle in circles(&graph(&modules(&file, &read))) {
            let line = |path: &String| {
                (room(path), format!("{path}: one of {} files that need each other", circle.len()))
            };
            broken.extend(circle.iter().map(line));
        }
    }
    broken.sort();
    broken.dedup();
    hold("circles", &broken);
}

#[test]
fn every_file_is_a_module_of_something() {
    let mut used = BTreeSet::new();
    for file in roots() {
        used.extend(modules(&file, &read).into_values().map(|module| module.file));
    }
    // Modules that are only there for tests are dropped with them: what they are called is enough.
    let for_tests = |path: &str| {
        path.contains("/src/") && (path.ends_with("/tests.rs") || path.contains("/tests/"))
    };
    let dead = paths(&[".rs"]).into_iter().filter(|path| !used.contains(path) && !for_tests(path));
    report(&dead.map(|path| format!("{path}: no module names it")).collect::<Vec<_>>());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The circles of a made-up library.
    fn found(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let read = |path: &str| {
            files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned())
        };
        circles(&graph(&modules("lib.rs", &read)))
    }

    #[test]
    fn two_files_that_need_each_other() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::B; pub struct A(B);"),
            ("b.rs", "pub struct B; fn of() -> crate::a::A { todo!() }"),
        ];
        assert_eq!(found(&files), [["a.rs", "b.rs"]]);
    }

    #[test]
    fn a_long_way_round() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c; mod d;"),
            ("a.rs", "use super::b; pub fn go() { b::go() }"),
            ("b.rs", "use super::{c::{self, C}}; pub fn go() { c::go() }"),
            ("c.rs", "pub struct C; pub fn go() { super::a::go() }"),
            ("d.rs", "use crate::a::go;"),
        ];
        assert_eq!(found(&files), [["a.rs", "b.rs", "c.rs"]]);
    }

    #[test]
    fn a_folder_hands_its_files_names_on() {
        let files = [
            ("lib.rs", "mod a; pub use a::{B, C};"),
            ("a/mod.rs", "mod b; mod c; pub use b::B; pub use c::*;"),
            ("a/b.rs", "use super::C; pub struct B(C);"),
            ("a/c.rs", "pub struct C; #[cfg(test)] mod tests { use super::super::B; }"),
        ];
        assert_eq!(found(&files), Vec::<Vec<String>>::new());
    }

    #[test]
    fn a_folders_own_type() {
        let files = [
            ("lib.rs", "mod a;"),
            ("a/mod.rs", "mod b; pub use b::B; pub struct A(B);"),
            ("a/b.rs", "use super::A; pub struct B; fn of(_: &A) {}"),
        ];
        assert_eq!(found(&files), [["a/b.rs", "a/mod.rs"]]);
    }

    #[test]
    fn a_module_beside_its_folder_and_one_inside_a_file() {
        let files = [
            ("lib.rs", "mod a; mod inner { pub use crate::a::b::B; }"),
            ("a.rs", "pub mod b; pub const N: usize = b::COUNT;"),
            ("a/b.rs", "pub const COUNT: usize = 2; pub struct B; const M: usize = super::N;"),
        ];
        assert_eq!(found(&files), [["a.rs", "a/b.rs"]]);
    }
}
