//! The modules of a program or library: which file each is in, what it defines and what it imports.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use crate::tokens::{Token, tokens};

/// A module's path from its root: empty for the root itself.
pub type Name = Vec<String>;

/// One `use`: what it is called here, and the path as written. A glob is called `*`.
#[derive(Debug)]
pub struct Import {
    pub alias: String,
    pub path: Vec<String>,
    pub public: bool,
}

#[derive(Debug, Default)]
pub struct Module {
    pub file: String,
    /// Everything it defines but its own modules.
    pub defined: BTreeSet<String>,
    pub imports: Vec<Import>,
    /// Every other path of two words or more, as written.
    pub paths: Vec<Vec<String>>,
    /// Every word outside of imports.
    pub words: BTreeSet<String>,
}

/// All modules of one root.
pub type Modules = BTreeMap<Name, Module>;

/// Follows the modules from a root's file. `read` returns the text of a path, if it is there.
pub fn modules(file: &str, read: &dyn Fn(&str) -> Option<String>) -> Modules {
    let mut all = Modules::new();
    let mut walk = Walk { read, all: &mut all };
    let folder = Path::new(file).parent().unwrap().to_owned();
    walk.file(file, Vec::new(), &folder);
    all
}

struct Walk<'a> {
    read: &'a dyn Fn(&str) -> Option<String>,
    all: &'a mut Modules,
}

impl Walk<'_> {
    /// A module in a file of its own; `folder` is where its children are looked for.
    fn file(&mut self, file: &str, name: Name, folder: &Path) {
        let text = (self.read)(file).unwrap_or_else(|| panic!("no {file}"));
        self.module(file, name, folder, &tokens(&text));
    }

    fn module(&mut self, file: &str, name: Name, folder: &Path, tokens: &[Token]) {
        let mut module = Module { file: file.to_owned(), ..Module::default() };
        let mut at = 0;
        while at < tokens.len() {
            at += match &tokens[at..] {
                [word, Token::Word(child), Token::Mark(';'), ..] if word.is("mod") => {
                    self.child(file, &name, folder, child, path_attribute(&tokens[..at]));
                    3
                }
                [word, Token::Word(child), Token::Braces(inner), ..] if word.is("mod") => {
                    let own = [&name[..], std::slice::from_ref(child)].concat();
                    self.module(file, own, &folder.join(child), inner);
                    3
                }
                rest => module.take(rest, at > 0 && is_public(&tokens[..at])),
            };
        }
        self.all.insert(name, module);
    }

    fn child(&mut self, file: &str, name: &[String], folder: &Path, child: &str, at: Option<&str>) {
        let own = [name, &[child.to_owned()]].concat();
        if let Some(path) = at {
            let path = plain(&Path::new(file).parent().unwrap().join(path));
            let inside = Path::new(&path).parent().unwrap().to_owned();
            return self.file(&path, own, &inside);
        }
        let inside = folder.join(child);
        let beside = plain(&folder.join(format!("{child}.rs")));
        let within = plain(&inside.join("mod.rs"));
        let path = if (self.read)(&beside).is_some() { beside } else { within };
        self.file(&path, own, &inside);
    }
}

/// The path of the `#[path = "…"]` right before an item.
fn path_attribute(before: &[Token]) -> Option<&str> {
    let [.., Token::Mark('#'), Token::Other(attribute)] = without_visibility(before) else {
        return None;
    };
    match &attribute[..] {
        [word, Token::Mark('='), Token::Literal(path)] if word.is("path") => {
            Some(path.trim_matches('"'))
        }
        _ => None,
    }
}

fn without_visibility(before: &[Token]) -> &[Token] {
    match before {
        [rest @ .., word] if word.is("pub") => rest,
        [rest @ .., word, Token::Other(_)] if word.is("pub") => rest,
        _ => before,
    }
}

fn is_public(before: &[Token]) -> bool {
    without_visibility(before).len() < before.len()
}

/// A path with `..` resolved.
fn plain(path: &Path) -> String {
    let mut found = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => assert!(found.pop(), "{} leaves the tree", path.display()),
            Component::CurDir => (),
            other => found.push(other),
        }
    }
    found.to_string_lossy().replace('\\', "/")
}

impl Module {
    /// Takes what begins a list of signs; returns how many signs that were.
    fn take(&mut self, tokens: &[Token], public: bool) -> usize {
        const DEFINE: [&str; 9] =
            ["fn", "struct", "enum", "union", "trait", "type", "const", "static", "mod"];
        match tokens {
            [word, rest @ ..] if word.is("use") => {
                let end = rest.iter().position(|token| *token == Token::Mark(';'));
                let end = end.unwrap_or(rest.len());
                self.import(&[], &rest[..end], public);
                end + 1
            }
            [word, Token::Mark('!'), Token::Word(name), ..] if word.is("macro_rules") => {
                self.defined.insert(name.clone());
                3
            }
            [Token::Word(word), Token::Word(name), ..] if DEFINE.contains(&word.as_str()) => {
                self.words.insert(word.clone());
                if !DEFINE.contains(&name.as_str()) && name != "mut" {
                    self.defined.insert(name.clone());
                    return 2;
                }
                1
            }
            [Token::Braces(inner) | Token::Other(inner), ..] => {
                self.inner(inner);
                1
            }
            [Token::Word(_), Token::Path, ..] => self.path(tokens),
            [Token::Word(word), ..] => {
                self.words.insert(word.clone());
                1
            }
            _ => 1,
        }
    }

    /// What is inside of a group: it imports and names, and what it defines nobody else sees.
    fn inner(&mut self, tokens: &[Token]) {
        let before = self.defined.clone();
        let mut at = 0;
        while at < tokens.len() {
            at += self.take(&tokens[at..], false);
        }
        self.defined = before;
    }

    fn path(&mut self, tokens: &[Token]) -> usize {
        let mut path = vec![tokens[0].word().unwrap().to_owned()];
        let mut at = 1;
        while let [Token::Path, Token::Word(word), ..] = &tokens[at..] {
            path.push(word.clone());
            at += 2;
        }
        self.words.insert(path[0].clone());
        if path.len() > 1 {
            self.paths.push(path);
        }
        at
    }

    /// A tree of imports after `prefix`.
    fn import(&mut self, prefix: &[String], tree: &[Token], public: bool) {
        let mut path = prefix.to_vec();
        for (at, token) in tree.iter().enumerate() {
            match token {
                Token::Word(word) if word == "as" => {
                    let alias = tree[at + 1].word().unwrap().to_owned();
                    return self.imports.push(Import { alias, path, public });
                }
                Token::Word(word) => path.push(word.clone()),
                Token::Mark('*') => {
                    return self.imports.push(Import { alias: "*".to_owned(), path, public });
                }
                Token::Braces(inner) => {
                    for part in inner.split(|token| *token == Token::Mark(',')) {
                        if !part.is_empty() {
                            self.import(&path, part, public);
                        }
                    }
                    return;
                }
                _ => (),
            }
        }
        if path.len() > 1 && path.last().is_some_and(|word| word == "self") {
            path.pop();
        }
        let alias = path.last().unwrap().clone();
        self.imports.push(Import { alias, path, public });
    }
}
