//! A model from its GGUF file, or from the parts that it is split over.

use super::head::read;
use super::metadata::GgufMetadata;
use super::split::{self, Model, Part};
use crate::source::error::{SourceError, optional};
use crate::source::file::SourceFile;

/// Parses the heads of a file and of the parts that belong to it; the weights stay where they are.
pub fn open(source: SourceFile) -> Result<Model, SourceError> {
    let gguf = read(&source)?;
    for key in ["general.split", "general.split_count"] {
        if gguf.metadata.contains(key) {
            return Err(gguf.metadata.wrong(
                key,
                "no such key: merge with the llama.cpp of that time",
                "it".into(),
            ));
        }
    }
    refuse_other_things(&source.label, &gguf.metadata)?;
    match Part::of(&gguf.metadata)? {
        Some(part) => split::open(source, gguf, part),
        None => Ok(Model { sources: vec![source], metadata: gguf.metadata, tensors: gguf.tensors }),
    }
}

/// GGUF files hold other things than models too.
fn refuse_other_things(file: &str, metadata: &GgufMetadata) -> Result<(), SourceError> {
    let key = |key| Ok::<_, SourceError>(optional(metadata.get_str(key))?.unwrap_or_default());
    let found = match (key("general.type")?, key("general.architecture")?) {
        ("adapter", _) => "a LoRA adapter: merge it into its model first (llama-export-lora)",
        ("mmproj", _) | (_, "clip") => {
            "the vision or audio part of a model (mmproj): give the file of the language model beside it"
        }
        ("imatrix", _) | (_, "imatrix") => {
            "an importance matrix: give the file of the model it was made on"
        }
        _ => return Ok(()),
    };
    let expected = "a whole language model".to_owned();
    Err(SourceError::NotAModel { file: file.to_owned(), expected, found: found.to_owned() })
}
