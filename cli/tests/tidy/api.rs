//! The library's public face as a list: `runtime/API.txt` changes only on purpose.
//!
//! The list has every item that a user of `hardtack` can name, with its signature, and what each
//! type can do. It is read from the source, so it needs no unstable rustdoc.

use std::collections::BTreeSet;
use std::fs;

use quote::ToTokens;
use syn::{Fields, ImplItem, Item, ItemImpl, TraitItem, UseTree, Visibility};

use crate::modules::{Modules, Name, modules};
use crate::tree::root;

const FILE: &str = "runtime/API.txt";
const ROOT: &str = "runtime/src/lib.rs";
/// Set to anything, it makes the test write the list instead of comparing it.
const WRITE: &str = "HARDTACK_API_WRITE";

/// Everything the library's files say, as syntax.
struct Library {
    modules: Modules,
    items: Vec<(Name, Vec<Item>)>,
}

impl Library {
    fn read(file: &str, read: &dyn Fn(&str) -> Option<String>) -> Self {
        let modules = modules(file, read);
        let mut items = Vec::new();
        for (name, module) in &modules {
            let text = read(&module.file).unwrap();
            let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{error}")).items;
            items.push((name.clone(), inside(parsed, name, &modules)));
        }
        Self { modules, items }
    }

    fn items(&self, module: &Name) -> &[Item] {
        self.items.iter().find(|(name, _)| name == module).map_or(&[], |(_, items)| items)
    }

    /// Every block that says what a type can do, wherever it is. Tests' blocks are left out.
    fn impls(&self) -> impl Iterator<Item = &ItemImpl> {
        let all = self.items.iter().flat_map(|(_, items)| items);
        all.filter_map(|item| if let Item::Impl(own) = item { Some(own) } else { None })
    }

    /// Lists what is public in a module under the name `path`.
    fn list(&self, module: &Name, path: &str, lines: &mut BTreeSet<String>) {
        for item in self.items(module) {
            match item {
                Item::Mod(own) if is_public(&own.vis) => {
                    let child = [&module[..], &[own.ident.to_string()]].concat();
                    let path = format!("{path}::{}", own.ident);
                    lines.insert(format!("pub mod {path}"));
                    self.list(&child, &path, lines);
                }
                Item::Use(own) if is_public(&own.vis) => {
                    for (alias, target) in leaves(&own.tree, &[]) {
                        self.hand_on(module, &alias, &target, path, lines);
                    }
                }
                other => self.item(other, None, path, lines),
            }
        }
    }

    /// A name that a module hands on: an item of the library, a module, or another crate's.
    fn hand_on(
        &self,
        module: &Name,
        alias: &str,
        target: &[String],
        path: &str,
        lines: &mut BTreeSet<String>,
    ) {
        let Some((found, name)) = self.find(module, target, 0) else {
            lines.insert(format!("pub use {} as {path}::{alias}", target.join("::")));
            return;
        };
        if alias == "*" {
            return self.list(&found, path, lines);
        }
        let Some(name) = name else {
            lines.insert(format!("pub mod {path}::{alias}"));
            return self.list(&found, &format!("{path}::{alias}"), lines);
        };
        for item in self.items(&found).iter().filter(|item| named(item) == Some(name.clone())) {
            self.item(item, Some(alias), path, lines);
        }
    }

    /// The module where a path ends, and the item's name unless it is the module itself.
    fn find(&self, from: &Name, path: &[String], depth: usize) -> Option<(Name, Option<String>)> {
        const DEPTH_MAX: usize = 16;
        if depth > DEPTH_MAX {
            return None;
        }
        let mut at = from.clone();
        let mut first = true;
        for (index, word) in path.iter().enumerate() {
            let child = [&at[..], std::slice::from_ref(word)].concat();
            match word.as_str() {
                "crate" => at.clear(),
                "super" => _ = at.pop(),
                "self" | "*" => (),
                _ if self.modules.contains_key(&child) => at = child,
                _ if self.items(&at).iter().any(|item| named(item).as_ref() == Some(word)) => {
                    return Some((at, Some(word.clone())));
                }
                _ => {
                    let uses = self.items(&at).iter().filter_map(|item| match item {
                        Item::Use(own) => Some(leaves(&own.tree, &[])),
                        _ => None,
                    });
                    let import = uses.flatten().find(|(alias, _)| alias == word)?;
                    if first && import.1.first() == Some(word) {
                        return None;
                    }
                    let whole = [&import.1[..], &path[index + 1..]].concat();
                    return self.find(&at, &whole, depth + 1);
                }
            }
            first = false;
        }
        Some((at, None))
    }

    /// One item, and if it is a type, what it can do.
    fn item(&self, item: &Item, alias: Option<&str>, path: &str, lines: &mut BTreeSet<String>) {
        let Some(name) = named(item).filter(|_| visibility(item).is_none_or(is_public)) else {
            return;
        };
        let own = format!("{path}::{}", alias.unwrap_or(&name));
        match item {
            Item::Fn(own_fn) => _ = lines.insert(format!("{path}: {}", text(&own_fn.sig))),
            Item::Const(item) => _ = lines.insert(format!("const {own}: {}", text(&item.ty))),
            Item::Static(item) => _ = lines.insert(format!("static {own}: {}", text(&item.ty))),
            Item::Type(item) => _ = lines.insert(format!("type {own} = {}", text(&item.ty))),
            Item::Macro(_) => _ = lines.insert(format!("macro {own}!")),
            Item::Struct(item) => {
                lines.insert(format!("struct {own}{}{}", text(&item.generics), open(&item.attrs)));
                fields(&item.fields, &own, true, lines);
                self.abilities(&name, &own, &item.attrs, lines);
            }
            Item::Enum(item) => {
                lines.insert(format!("enum {own}{}{}", text(&item.generics), open(&item.attrs)));
                for variant in &item.variants {
                    let own = format!("{own}::{}", variant.ident);
                    lines.insert(format!("variant {own}{}", open(&variant.attrs)));
                    fields(&variant.fields, &own, false, lines);
                }
                self.abilities(&name, &own, &item.attrs, lines);
            }
            Item::Trait(item) => {
                let bounds = text(&item.supertraits);
                lines.insert(format!("trait {own}{}: {bounds}", text(&item.generics)));
                for inner in &item.items {
                    if let TraitItem::Fn(inner) = inner {
                        lines.insert(format!("{own}: {}", text(&inner.sig)));
                    }
                }
            }
            _ => (),
        }
    }

    /// The public methods of a type, and the traits that it has.
    fn abilities(
        &self,
        name: &str,
        own: &str,
        attributes: &[syn::Attribute],
        lines: &mut BTreeSet<String>,
    ) {
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("derive")) {
            let derived = text(&attribute.meta.require_list().unwrap().tokens);
            for derived in derived.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                lines.insert(format!("{own}: impl {derived}"));
            }
        }
        let is_own = |block: &&ItemImpl| match &*block.self_ty {
            syn::Type::Path(path) => {
                path.path.segments.last().is_some_and(|last| last.ident == name)
            }
            _ => false,
        };
        for block in self.impls().filter(is_own) {
            if let Some((_, implemented, _)) = &block.trait_ {
                lines.insert(format!("{own}: impl {}", text(implemented)));
                continue;
            }
            for item in &block.items {
                match item {
                    ImplItem::Fn(item) if is_public(&item.vis) => {
                        lines.insert(format!("{own}: {}", text(&item.sig)));
                    }
                    ImplItem::Const(item) if is_public(&item.vis) => {
                        lines.insert(format!("const {own}::{}: {}", item.ident, text(&item.ty)));
                    }
                    _ => (),
                }
            }
        }
    }
}

/// The items of a module: of its file, or of the module within the file.
fn inside(items: Vec<Item>, name: &Name, modules: &Modules) -> Vec<Item> {
    let file = &modules[name].file;
    let outer = (0..name.len()).find(|&length| modules[&name[..length]].file == *file);
    let mut items = items;
    for word in &name[outer.unwrap_or(name.len())..] {
        let inner = items.into_iter().find_map(|item| match item {
            Item::Mod(own) if own.ident == word => own.content.map(|(_, items)| items),
            _ => None,
        });
        items = inner.unwrap_or_default();
    }
    items
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn visibility(item: &Item) -> Option<&Visibility> {
    Some(match item {
        Item::Fn(item) => &item.vis,
        Item::Const(item) => &item.vis,
        Item::Static(item) => &item.vis,
        Item::Type(item) => &item.vis,
        Item::Struct(item) => &item.vis,
        Item::Enum(item) => &item.vis,
        Item::Trait(item) => &item.vis,
        _ => return None,
    })
}

fn named(item: &Item) -> Option<String> {
    let exported = |item: &syn::ItemMacro| {
        item.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export"))
    };
    let ident = match item {
        Item::Fn(item) => &item.sig.ident,
        Item::Const(item) => &item.ident,
        Item::Static(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Macro(item) if exported(item) => item.ident.as_ref()?,
        _ => return None,
    };
    Some(ident.to_string())
}

/// Every name of a tree of imports with the path it is for.
fn leaves(tree: &UseTree, prefix: &[String]) -> Vec<(String, Vec<String>)> {
    let with = |word: String| [prefix, &[word]].concat();
    match tree {
        UseTree::Path(path) => leaves(&path.tree, &with(path.ident.to_string())),
        UseTree::Name(name) if name.ident == "self" => {
            vec![(prefix.last().cloned().unwrap_or_default(), prefix.to_vec())]
        }
        UseTree::Name(name) => vec![(name.ident.to_string(), with(name.ident.to_string()))],
        UseTree::Rename(name) => vec![(name.rename.to_string(), with(name.ident.to_string()))],
        UseTree::Glob(_) => vec![("*".to_owned(), with("*".to_owned()))],
        UseTree::Group(group) => group.items.iter().flat_map(|tree| leaves(tree, prefix)).collect(),
    }
}

fn fields(all: &Fields, own: &str, must_be_public: bool, lines: &mut BTreeSet<String>) {
    for (index, field) in all.iter().enumerate() {
        if !must_be_public || is_public(&field.vis) {
            let name = field.ident.as_ref().map_or(index.to_string(), ToString::to_string);
            lines.insert(format!("field {own}::{name}: {}", text(&field.ty)));
        }
    }
}

/// Whether more may be added later.
fn open(attributes: &[syn::Attribute]) -> &'static str {
    let found = attributes.iter().any(|attribute| attribute.path().is_ident("non_exhaustive"));
    if found { " (non_exhaustive)" } else { "" }
}

/// Syntax as text, with as few spaces as are read easily.
fn text(syntax: &impl ToTokens) -> String {
    let mut text = syntax.to_token_stream().to_string();
    for (wide, narrow) in [
        (" :: ", "::"),
        (" < ", "<"),
        (" >", ">"),
        ("& ", "&"),
        (" ,", ","),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        (" :", ":"),
        (" ;", ";"),
        ("[ ", "["),
        (" ]", "]"),
        (" ?", "?"),
        ("' ", "'"),
        ("< ", "<"),
        (" !", "!"),
        (" .", "."),
    ] {
        text = text.replace(wide, narrow);
    }
    text.replace("->", " -> ").replace("  ", " ").trim_end_matches([',', ' ']).to_owned()
}

fn listing(library: &Library, name: &str) -> String {
    let mut lines = BTreeSet::new();
    library.list(&Name::new(), name, &mut lines);
    lines.into_iter().map(|line| line + "\n").collect()
}

#[test]
fn the_public_face_changes_on_purpose() {
    let read = |path: &str| fs::read_to_string(root().join(path)).ok();
    let found = listing(&Library::read(ROOT, &read), "hardtack");
    if std::env::var_os(WRITE).is_some() {
        return fs::write(root().join(FILE), found).unwrap();
    }
    let expected = read(FILE).unwrap_or_default();
    let (found, expected): (BTreeSet<_>, BTreeSet<_>) =
        (found.lines().collect(), expected.lines().collect());
    let gone = expected.difference(&found).map(|line| format!("- {line}"));
    let more = found.difference(&expected).map(|line| format!("+ {line}"));
    let lines: Vec<String> = gone.chain(more).collect();
    assert!(
        lines.is_empty(),
        "the public face is not what {FILE} says; if that is meant, {WRITE}=1 writes it:\n{}",
        lines.join("\n")
    );
}

#[test]
fn names_are_followed_to_what_they_are() {
    let files = [
        (
            "lib.rs",
            "mod a; pub mod b { pub use crate::a::hidden; } pub use a::{A as C, sum}; pub use \
                half::f16;",
        ),
        (
            "a.rs",
            "#[derive(Clone)] pub struct A<T> { pub one: Vec<T>, two: u8 } impl<T> A<T> { pub fn \
                new(_: &T) -> Self { todo!() } fn own() {} } \
             impl<T> Drop for A<T> { fn drop(&mut self) {} } pub fn sum(a: &[f32], b: u8) -> f32 { 0.0 } pub fn hidden() {} pub struct Unreachable;",
        ),
    ];
    let read = |path: &str| {
        files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned())
    };
    assert_eq!(
        listing(&Library::read("lib.rs", &read), "x").lines().collect::<Vec<_>>(),
        [
            "field x::C::one: Vec<T>",
            "pub mod x::b",
            "pub use half::f16 as x::f16",
            "struct x::C<T>",
            "x: fn sum(a: &[f32], b: u8) -> f32",
            "x::C: fn new(_: &T) -> Self",
            "x::C: impl Clone",
            "x::C: impl Drop",
            "x::b: fn hidden()",
        ]
    );
}
