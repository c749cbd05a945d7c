//! The table of slots is the page's table of roles: every section, shape and `?` of `SPEC.md` is
//! worked out for networks of all kinds and compared.

use hardtack_format::Role;
use hardtack_format::slots::{self, Slots};
use hardtack_format::spec::*;

use crate::build::sample_spec;
use crate::document::{number, table};

/// A section of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Globals,
    Layer(usize),
    Expert(usize),
}

/// Networks with every kind of attention, normalization and block.
fn networks() -> Vec<ModelSpec> {
    let mut specs = vec![sample_spec()];
    let mut change = |change: &dyn Fn(&mut [LayerSpec])| {
        let mut spec = sample_spec();
        change(&mut spec.layers);
        specs.push(spec);
    };
    for norm in [HeadNorm::None, HeadNorm::Whole] {
        change(&|layers| {
            let kind = AttentionKind::Grouped { kv_heads: 2, head_dim: 8, norm };
            layers[0].attention = AttentionSpec { heads: 4, kind, ..layers[0].attention };
        });
    }
    change(&|layers| {
        layers[1].attention.kind =
            AttentionKind::Latent { query_rank: 0, kv_rank: 24, nope_dim: 4, value_dim: 20 };
    });
    change(&|layers| {
        layers[1].feed_forward.kind = FeedForwardKind::Dense { inner: 56 };
        layers[0].attention.rope_dim = 0;
    });
    specs
}

#[test]
fn slots_are_the_table_of_the_page() {
    let rows = table("| role | name | section | shape |");
    for spec in networks() {
        let mut sections = vec![Section::Globals];
        for (index, layer) in spec.layers.iter().enumerate() {
            sections.push(Section::Layer(index));
            sections.extend(layer.feed_forward.experts().map(|_| Section::Expert(index)));
        }
        for section in sections {
            let page = Page { spec: &spec, section };
            let mut written: Vec<_> = rows
                .iter()
                .filter(|row| page.is_in(row[2]))
                .filter_map(|row| {
                    let role = Role::from_number(number(row[0]) as u16).expect("a role");
                    page.shape(row[3]).map(|shape| (role, shape, row[3].contains(" ?")))
                })
                .collect();
            let mut listed: Vec<_> =
                page.slots().map(|slot| (slot.role, slot.shape, slot.optional)).collect();
            written.sort();
            listed.sort();
            assert_eq!(listed, written, "{section:?} of {spec:?}");
        }
    }
}

/// The page's words for one section of one network.
struct Page<'a> {
    spec: &'a ModelSpec,
    section: Section,
}

impl Page<'_> {
    fn slots(&self) -> Slots {
        let hidden = self.spec.hidden;
        match self.section {
            Section::Globals => slots::globals(self.spec),
            Section::Layer(layer) => slots::layer(&self.spec.layers[layer], hidden),
            Section::Expert(layer) => {
                let experts = self.spec.layers[layer].feed_forward.experts();
                slots::expert(experts.expect("a mixture"), hidden)
            }
        }
    }

    fn layer(&self) -> &LayerSpec {
        match self.section {
            Section::Layer(layer) | Section::Expert(layer) => &self.spec.layers[layer],
            Section::Globals => panic!("no layer"),
        }
    }

    fn is_latent(&self) -> bool {
        matches!(self.layer().attention.kind, AttentionKind::Latent { .. })
    }

    /// Whether a cell of the column `section` speaks of this one.
    fn is_in(&self, cell: &str) -> bool {
        match (self.section, cell) {
            (Section::Globals, cell) => cell == "globals",
            (_, "globals") => false,
            (section, "expert; layer: dense or shared" | "where gated is") => {
                matches!(section, Section::Expert(_)) || self.name("inner") > 0
            }
            (Section::Expert(_), _) => false,
            (_, "layer") => true,
            (_, "layer, grouped") => !self.is_latent(),
            (_, "layer, latent") => self.is_latent(),
            (_, "layer with experts") => self.layer().feed_forward.experts().is_some(),
            (_, cell) => panic!("the section {cell}"),
        }
    }

    /// The shape in a cell; none where it would have no rows or columns, or where the cell does not
    /// speak of this kind of attention.
    fn shape(&self, cell: &str) -> Option<[u32; 3]> {
        let cell = cell.split(" (absent").next().expect("a piece");
        let clauses = cell.split("; ").filter(|clause| !clause.starts_with("absent"));
        let named: Vec<(&str, &str)> =
            clauses.map(|clause| clause.split_once(": ").unwrap_or(("", clause))).collect();
        let find = |wanted: &str| named.iter().find(|(name, _)| *name == wanted).map(|own| own.1);
        let text = match self.section {
            Section::Globals => find(""),
            _ if self.is_latent() && find("latent").is_some() => find("latent"),
            _ => match self.layer().attention.kind {
                AttentionKind::Grouped { norm: HeadNorm::PerHead, .. } => find("norm 1"),
                AttentionKind::Grouped { norm: HeadNorm::Whole, .. } => find("norm 2"),
                _ => None,
            }
            .or_else(|| find("")),
        }?;
        let text = text.split(" ?").next().expect("a piece");
        let shape = match text.strip_prefix('[') {
            Some(vector) => [1, 1, self.value(vector.split(']').next().expect("a piece"))],
            None => {
                let sizes: Vec<u32> = text.split(" x ").map(|size| self.value(size)).collect();
                match sizes[..] {
                    [rows, columns] => [1, rows, columns],
                    [stack, rows, columns] => [stack, rows, columns],
                    _ => panic!("the shape {text}"),
                }
            }
        };
        (!shape.contains(&0)).then_some(shape)
    }

    /// Sums of products of names: `a + b`, `a\*(b + c)`, `(a, or b if that is 0)`, `a / 2`.
    fn value(&self, text: &str) -> u32 {
        let text = text.trim();
        if let Some((first, second)) = text.split_once(", or ") {
            let second = second.strip_suffix(" if that is 0)").expect("a choice");
            let first = self.value(first.trim_start_matches('('));
            return if first > 0 { first } else { self.value(second) };
        }
        if let Some((left, right)) = text.split_once("\\*") {
            return self.value(left) * self.value(right);
        }
        if let Some(inner) = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) {
            return self.value(inner);
        }
        if let Some((left, right)) = text.split_once(" + ") {
            return self.value(left) + self.value(right);
        }
        match text.split_once(" / ") {
            Some((left, right)) => self.value(left) / number(right) as u32,
            None => self.name(text),
        }
    }

    fn name(&self, name: &str) -> u32 {
        match name {
            "vocabulary" => return self.spec.vocabulary,
            "hidden" => return self.spec.hidden,
            "largest rope_dim" => {
                let turned = self.spec.layers.iter().map(|layer| layer.attention.rope_dim);
                return turned.max().expect("layers");
            }
            _ => {}
        }
        let LayerSpec { attention, feed_forward } = self.layer();
        match (name, attention.kind, feed_forward.kind) {
            ("heads", ..) => attention.heads,
            ("rope_dim", ..) => attention.rope_dim,
            ("kv_heads", AttentionKind::Grouped { kv_heads, .. }, _) => kv_heads,
            ("head_dim", AttentionKind::Grouped { head_dim, .. }, _) => head_dim,
            ("query_rank", AttentionKind::Latent { query_rank, .. }, _) => query_rank,
            ("kv_rank", AttentionKind::Latent { kv_rank, .. }, _) => kv_rank,
            ("nope_dim", AttentionKind::Latent { nope_dim, .. }, _) => nope_dim,
            ("value_dim", AttentionKind::Latent { value_dim, .. }, _) => value_dim,
            ("experts", _, FeedForwardKind::Experts(experts)) => experts.count,
            ("inner", _, FeedForwardKind::Dense { inner }) => inner,
            ("inner", _, FeedForwardKind::Experts(experts)) => match self.section {
                Section::Expert(_) => experts.inner,
                _ => experts.shared_inner,
            },
            (name, ..) => panic!("{name} in {:?}", self.section),
        }
    }
}
