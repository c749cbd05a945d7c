//! A Hugging Face folder: config.json, and either model.safetensors or an index that names its
//! shards.

use std::collections::{BTreeMap, HashSet};
use std::path::{Component, Path};

use super::error::one_line;
use super::file::SourceFile;
use super::json_file::{CONFIG_BYTES_MAX, open_if_present, parse_json};
use super::quantized::{self, Quantized};
use super::recognize;
use super::safetensors_header::{self, TENSOR_COUNT_MAX};
use super::{SourceError, TensorInfo};

/// The index of a model with a million tensors is smaller.
const JSON_BYTES_MAX: u64 = 256 << 20;
/// Shards stay open, and systems let a process hold a few hundred to a thousand files.
const SHARD_COUNT_MAX: usize = 1000;

/// What a folder holds; tensors name their file by its place in `sources`.
pub(super) struct Folder {
    /// Without the settings of a quantization that is undone here.
    pub config: serde_json::Value,
    pub sources: Vec<SourceFile>,
    pub tensors: Vec<TensorInfo>,
    pub quantized: Vec<Quantized>,
    /// Tensors that a network can do without.
    pub idle: HashSet<String>,
}

pub(super) fn open(folder: &Path) -> Result<Folder, SourceError> {
    let not_a_model = |found: &str, has_config| {
        recognize::folder_without_checkpoint(folder, has_config).unwrap_or_else(|| {
            SourceError::NotAModel {
                file: one_line(&folder.display().to_string()),
                expected: "config.json and model.safetensors (or its index)".into(),
                found: found.to_owned(),
            }
        })
    };
    recognize::check_small_files(folder)?;
    let config_file = open_if_present(&folder.join("config.json"))?
        .ok_or_else(|| not_a_model("no config.json", false))?;
    let mut config = parse_json(&config_file, CONFIG_BYTES_MAX)?;
    let mut sources = vec![config_file];

    let tensors = if let Some(weights) = open_if_present(&folder.join("model.safetensors"))? {
        let mut tensors = read_header(&weights)?;
        tensors.iter_mut().for_each(|tensor| tensor.file = sources.len());
        sources.push(weights);
        tensors
    } else {
        let index_file = open_if_present(&folder.join("model.safetensors.index.json"))?
            .ok_or_else(|| {
                not_a_model("no model.safetensors and no model.safetensors.index.json", true)
            })?;
        let index: Index = parse_json(&index_file, JSON_BYTES_MAX)?;
        let index_label = index_file.label.clone();
        sources.push(index_file);
        open_shards(folder, &index, &index_label, &mut sources)?
    };
    let found = quantized::put_together(folder, &mut config, tensors, &mut sources)?;
    Ok(Folder {
        config,
        sources,
        tensors: found.plain,
        quantized: found.quantized,
        idle: found.idle,
    })
}

/// The tensors of a file of weights.
fn read_header(source: &SourceFile) -> Result<Vec<TensorInfo>, SourceError> {
    recognize::check_safetensors(source)?;
    safetensors_header::read(source)
}

/// `model.safetensors.index.json`; its other fields do not matter to us.
#[derive(serde::Deserialize)]
struct Index {
    /// From tensor to the file that holds it.
    weight_map: BTreeMap<String, String>,
}

/// Opens each shard once. The index decides: a tensor that a shard holds beyond it is left out.
fn open_shards(
    folder: &Path,
    index: &Index,
    index_label: &str,
    sources: &mut Vec<SourceFile>,
) -> Result<Vec<TensorInfo>, SourceError> {
    let mut shards: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (tensor, shard) in &index.weight_map {
        shards.entry(shard).or_default().push(tensor);
    }
    over_limit(index_label, "weight_map: tensors", index.weight_map.len(), TENSOR_COUNT_MAX)?;
    over_limit(index_label, "weight_map: files", shards.len(), SHARD_COUNT_MAX)?;

    for shard in shards.keys() {
        check_plain_name(index_label, shard)?;
    }
    check_all_there(folder, shards.keys().copied(), index_label)?;
    let mut tensors = Vec::with_capacity(index.weight_map.len());
    for (shard, names) in shards {
        let path = folder.join(shard);
        let source = SourceFile::open(&path)?;
        let mut held: BTreeMap<String, TensorInfo> =
            read_header(&source)?.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
        let first = tensors.len();
        for name in names {
            let tensor = held.remove(name).ok_or_else(|| SourceError::MissingTensor {
                file: source.label.clone(),
                tensor: one_line(name),
                named_by: index_label.to_owned(),
            })?;
            tensors.push(TensorInfo { file: sources.len(), ..tensor });
        }
        tensors[first..].sort_by_key(|tensor| tensor.offset);
        sources.push(source);
    }
    Ok(tensors)
}

/// Refuses an index of which some shards are absent, before any is read: all of them are named at
/// once.
fn check_all_there<'a>(
    folder: &Path,
    shards: impl Iterator<Item = &'a str>,
    index_label: &str,
) -> Result<(), SourceError> {
    let absent: Vec<&str> = shards.filter(|shard| !folder.join(shard).exists()).collect();
    let Some((first, others)) = absent.split_first() else { return Ok(()) };
    Err(SourceError::MissingFile {
        file: one_line(&folder.join(first).display().to_string()),
        others: recognize::and_others(others),
        named_by: index_label.to_owned(),
    })
}

fn over_limit(file: &str, what: &str, found: usize, limit: usize) -> Result<(), SourceError> {
    if found <= limit {
        return Ok(());
    }
    Err(SourceError::Unexpected {
        file: file.to_owned(),
        what: what.to_owned(),
        offset: 0,
        expected: format!("at most {limit}"),
        found: found.to_string(),
    })
}

/// A shard lies in the folder itself: an index from the network may not make us read files
/// elsewhere.
fn check_plain_name(index_label: &str, shard: &str) -> Result<(), SourceError> {
    let mut components = Path::new(shard).components();
    let first = components.next();
    let is_plain = matches!(first, Some(Component::Normal(_))) && components.next().is_none();
    if is_plain && !shard.contains(['/', '\\', '\0']) {
        return Ok(());
    }
    Err(SourceError::Unexpected {
        file: index_label.to_owned(),
        what: "weight_map: file name".into(),
        offset: 0,
        expected: "a name without folders".into(),
        found: format!("{shard:?}"),
    })
}
