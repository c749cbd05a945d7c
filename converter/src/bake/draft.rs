//! The blob before its weights: every section with its bytes or its sources, and its exact place.

use std::borrow::Cow;

use hardtack_format::{Encoding, Layout, SectionKey, SectionKind, SectionPlan, TensorPlan};
use hardtack_models::{Recipe, TensorSource};

use super::error::BakeError;
use super::options::BakeOptions;
use super::precision::{CANDIDATES, Precision};
use super::provenance::Provenance;
use crate::assignment::Assignment;
use crate::source::Origin;
use crate::vocabulary::TextSections;

/// What a section is made of.
#[derive(Debug)]
pub enum Content<'a> {
    /// Bytes that are known.
    Bytes(Cow<'a, [u8]>),
    /// The provenance, whose hashes are not known yet: its length.
    Provenance(u64),
    /// Tensors to be read and encoded.
    Tensors(&'a [TensorSource]),
}

/// A blob about to be written.
#[derive(Debug)]
pub struct Draft<'a> {
    /// The encodings.
    pub assignment: Assignment,
    /// What the blob says about its own making.
    pub provenance: Provenance,
    /// Contents in the order of the layout's sections.
    pub contents: Vec<(SectionKey, Content<'a>)>,
    /// The place of everything.
    pub layout: Layout,
}

impl<'a> Draft<'a> {
    /// Lays out the blob, at the most precise encoding that fits if a budget is given.
    pub fn new(
        recipe: &'a Recipe,
        text: &'a TextSections,
        sources: &[Origin],
        options: &BakeOptions<'_>,
    ) -> Result<Self, BakeError> {
        let at = |encoding| {
            let assignment = Assignment::uniform(&recipe.spec, encoding, options.head);
            let provenance =
                Provenance::new(recipe, &assignment, sources, options.calibration, None);
            Self::with(recipe, text, provenance, None, assignment)
        };
        match options.precision {
            Precision::Uniform(encoding) => at(encoding),
            Precision::Budget(budget) => {
                let mut smallest: Option<Self> = None;
                for encoding in CANDIDATES {
                    let draft = at(encoding)?;
                    let bytes = draft.layout.file_bytes();
                    if bytes <= budget {
                        return Ok(draft);
                    }
                    if smallest.as_ref().is_none_or(|smallest| bytes < smallest.layout.file_bytes())
                    {
                        smallest = Some(draft);
                    }
                }
                let smallest = smallest.expect("there are candidates");
                Err(BakeError::Budget {
                    budget,
                    encoding: smallest.assignment.layers_name(),
                    head: smallest.assignment.head.name(),
                    smallest: smallest.layout.file_bytes(),
                })
            }
        }
    }

    /// Lays out the blob with these encodings.
    pub fn with(
        recipe: &'a Recipe,
        text: &'a TextSections,
        provenance: Provenance,
        kv_policy: Option<&'a [u8]>,
        assignment: Assignment,
    ) -> Result<Self, BakeError> {
        let plain =
            |kind, bytes: &'a [u8]| (SectionKey::only(kind), Content::Bytes(Cow::Borrowed(bytes)));
        let spec = Content::Bytes(Cow::Owned(recipe.spec.to_bytes()));
        let mut contents = vec![(SectionKey::only(SectionKind::Spec), spec)];
        contents
            .extend(text.tokenizer.as_deref().map(|bytes| plain(SectionKind::Tokenizer, bytes)));
        contents
            .extend(text.vocabulary.as_deref().map(|bytes| plain(SectionKind::Vocabulary, bytes)));
        contents.extend(
            text.template.as_deref().map(|text| plain(SectionKind::Template, text.as_bytes())),
        );
        contents.push((
            SectionKey::only(SectionKind::Provenance),
            Content::Provenance(provenance.to_bytes().len() as u64),
        ));
        contents.extend(kv_policy.map(|bytes| plain(SectionKind::KvPolicy, bytes)));

        let tensors = |key, tensors: &'a [TensorSource]| (key, Content::Tensors(tensors));
        contents.push(tensors(SectionKey::only(SectionKind::Globals), &recipe.globals));
        for (layer, own) in (0..).zip(&recipe.layers) {
            contents.push(tensors(SectionKey::layer(layer), &own.tensors));
        }
        for (layer, own) in (0..).zip(&recipe.layers) {
            for (expert, own) in (0..).zip(&own.experts) {
                contents.push(tensors(SectionKey::expert(layer, expert), own));
            }
        }
        let plans: Vec<SectionPlan> =
            contents.iter().map(|(key, content)| plan(*key, content, &assignment)).collect();
        Ok(Self { assignment, provenance, layout: Layout::new(&plans)?, contents })
    }
}

fn plan(key: SectionKey, content: &Content<'_>, assignment: &Assignment) -> SectionPlan {
    match content {
        Content::Bytes(bytes) => SectionPlan::Plain { key, bytes: bytes.len() as u64 },
        Content::Provenance(bytes) => SectionPlan::Plain { key, bytes: *bytes },
        Content::Tensors(sources) => {
            let tensors = sources.iter().map(|source| {
                let encoding = if source.is_vector() {
                    Encoding::Plain
                } else {
                    assignment.of(key, source.role)
                };
                let &TensorSource { role, stack, rows, columns, .. } = source;
                TensorPlan { role, encoding, stack, rows, columns }
            });
            SectionPlan::Tensors { key, tensors: tensors.collect() }
        }
    }
}
