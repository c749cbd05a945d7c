//! A model split over several GGUF files, as `llama-gguf-split` cuts it.
//!
//! The parts are named `NAME-00001-of-00003.gguf` and say by keys which part of how many they are.
//! The first one holds the model's metadata; tensors stand in any of them, each once.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use super::head::{Gguf, alignment, read};
use super::metadata::GgufMetadata;
use crate::source::error::{SourceError, one_line, optional};
use crate::source::file::SourceFile;
use crate::source::tensor::TensorInfo;

/// Parts stay open, and systems let a process hold a few hundred to a thousand files.
const PARTS_MAX: u32 = 1000;

/// A model's files, and what their heads say.
pub struct Model {
    /// The file, or the parts of a split model in their order.
    pub sources: Vec<SourceFile>,
    pub metadata: GgufMetadata,
    /// Each names its file by the place in `sources`.
    pub tensors: Vec<TensorInfo>,
}

/// Which part of a split model a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Counted from 0.
    index: u32,
    /// Parts there are.
    count: u32,
    /// Tensors of all parts together; older files do not say.
    tensors: Option<u64>,
}

impl Part {
    /// What the keys say; `None` for a file that holds a whole model.
    pub fn of(metadata: &GgufMetadata) -> Result<Option<Self>, SourceError> {
        let Some(count) = optional(metadata.get_u32("split.count"))? else { return Ok(None) };
        let index = optional(metadata.get_u32("split.no"))?.unwrap_or(0);
        if count > PARTS_MAX {
            return Err(metadata.wrong("split.count", "at most 1000 parts", count.to_string()));
        }
        if index >= count.max(1) {
            return Err(metadata.wrong("split.no", "less than split.count", index.to_string()));
        }
        let tensors = optional(metadata.get_u64("split.tensors.count"))?;
        Ok((count > 1).then_some(Self { index, count, tensors }))
    }

    /// How the name of a part ends.
    fn ending(self, index: u32) -> String {
        format!("-{:05}-of-{:05}.gguf", index + 1, self.count)
    }
}
const _: () = assert!(PARTS_MAX == 1000, "the message above names it");

/// Opens all parts of the model that `given` is one part of.
pub fn open(given: SourceFile, head: Gguf, part: Part) -> Result<Model, SourceError> {
    let paths = paths(&given, &head, part)?;
    let given_label = given.label.clone();
    let mut given = Some((given, head));
    let (mut sources, mut tensors, mut heads) = (Vec::new(), Vec::new(), Vec::new());
    for (index, path) in (0..).zip(&paths) {
        let (source, head) = match given.take_if(|_| index == part.index) {
            Some(own) => own,
            None => open_other(path, index, part, &given_label)?,
        };
        tensors.extend(
            head.tensors.into_iter().map(|tensor| TensorInfo { file: sources.len(), ..tensor }),
        );
        heads.push(head.metadata);
        sources.push(source);
    }
    same_model(&heads, &sources)?;
    each_once(&tensors, &sources, part)?;
    let metadata = heads.swap_remove(0);
    Ok(Model { sources, metadata, tensors })
}

/// Where the parts stand: beside the one given, under its own name but for the number.
fn paths(given: &SourceFile, head: &Gguf, part: Part) -> Result<Vec<PathBuf>, SourceError> {
    let name = given.path.file_name().unwrap_or_default().to_string_lossy();
    let ending = part.ending(part.index);
    let Some(stem) = name.strip_suffix(&ending) else {
        let end = head.tensors.last().map_or(0, |last| last.offset + last.bytes);
        let more = given.bytes.saturating_sub(end.next_multiple_of(alignment(&head.metadata)?));
        let joined = match more {
            0 => String::new(),
            more => format!(
                " and {more} bytes after its last tensor (parts joined by `cat` are no model)"
            ),
        };
        return Err(SourceError::Split {
            file: given.label.clone(),
            what: format!("part {} of {} of a split model", part.index + 1, part.count),
            expected: format!("a name that ends in {ending}, as the other parts' do"),
            found: one_line(&name) + &joined,
        });
    };
    Ok((0..part.count)
        .map(|index| given.path.with_file_name(format!("{stem}{}", part.ending(index))))
        .collect())
}

/// Opens a part beside the one given, and sees that it says so itself.
fn open_other(
    path: &Path,
    index: u32,
    part: Part,
    given: &str,
) -> Result<(SourceFile, Gguf), SourceError> {
    let source = SourceFile::open(path).map_err(|error| match error {
        SourceError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            SourceError::MissingPart {
                file: one_line(&path.display().to_string()),
                number: index + 1,
                count: part.count,
                given: given.to_owned(),
            }
        }
        error => error,
    })?;
    let head = read(&source)?;
    let expected = Part { index, ..part };
    match Part::of(&head.metadata)? {
        Some(found) if found == expected => Ok((source, head)),
        found => Err(SourceError::Split {
            file: source.label,
            what: "split keys".into(),
            expected: format!("{}, as {given} asks for", describe(Some(expected))),
            found: describe(found),
        }),
    }
}

fn describe(part: Option<Part>) -> String {
    let Some(Part { index, count, tensors }) = part else { return "a whole model".to_owned() };
    let tensors =
        tensors.map_or(String::new(), |tensors| format!(" with {tensors} tensors in all"));
    format!("part {} of {count}{tensors}", index + 1)
}

/// Later parts need not say what model they are of; where they do, it is the first one's.
fn same_model(heads: &[GgufMetadata], sources: &[SourceFile]) -> Result<(), SourceError> {
    let key = "general.architecture";
    let first = heads[0].get_str(key)?;
    for (head, source) in heads.iter().zip(sources).skip(1) {
        if let Some(found) = optional(head.get_str(key))?.filter(|found| *found != first) {
            return Err(SourceError::Split {
                file: source.label.clone(),
                what: format!("key {key}"),
                expected: format!("{}, as {} has", one_line(first), sources[0].label),
                found: one_line(found),
            });
        }
    }
    Ok(())
}

fn each_once(
    tensors: &[TensorInfo],
    sources: &[SourceFile],
    part: Part,
) -> Result<(), SourceError> {
    let mut seen = HashMap::new();
    for tensor in tensors {
        if let Some(before) = seen.insert(tensor.name.as_str(), tensor.file) {
            return Err(SourceError::Split {
                file: sources[tensor.file].label.clone(),
                what: format!("tensor {}", tensor.name),
                expected: "each name in one part".into(),
                found: format!("it in {} too", sources[before].label),
            });
        }
    }
    match part.tensors {
        Some(expected) if expected != tensors.len() as u64 => Err(SourceError::Split {
            file: sources[part.index as usize].label.clone(),
            what: "key split.tensors.count".into(),
            expected: format!("{} tensors, as all parts hold together", tensors.len()),
            found: expected.to_string(),
        }),
        _ => Ok(()),
    }
}
