//! Files and folders that people give where a checkpoint should be: each called by its name, with
//! what to do next.

use std::fs;
use std::path::Path;

use hardtack_format::{FileKind, SNIFF_BYTES, sniff};
use serde_json::Value;

use super::SourceError;
use super::error::one_line;
use super::file::SourceFile;

/// The files beside the weights that are read, or tell what a folder is.
const SMALL_FILES: [&str; 11] = [
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "config.json",
    "generation_config.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
];
/// Names that are listed in a message, at most.
const LISTED: usize = 4;

/// Refuses a file that is known to be something else than GGUF.
pub(super) fn check_gguf(source: &SourceFile) -> Result<(), SourceError> {
    // The reader of GGUF knows what came before it.
    let is_other = |kind: &FileKind| !matches!(kind, FileKind::Gguf | FileKind::OldGgml);
    let Some(kind) = kind(source)?.filter(is_other) else { return Ok(()) };
    let parent = source
        .path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let folder = one_line(&parent.display().to_string());
    let advice = match kind {
        FileKind::Blob => {
            format!("it is baked already; run it: hardtack run {} -p \"Hello\"", source.label)
        }
        FileKind::Safetensors | FileKind::Json => {
            format!(
                "give the folder that has it beside config.json and tokenizer.json: hardtack bake {folder} -o ..."
            )
        }
        FileKind::OllamaManifest => ollama(source)?,
        FileKind::Modelfile => "bake the GGUF file that its FROM line names".to_owned(),
        FileKind::Zip | FileKind::Archive(_) => {
            "unpack it, and bake the folder or the GGUF file in it".to_owned()
        }
        kind => advice(kind).to_owned(),
    };
    Err(recognized(&source.label, kind, advice))
}

/// Refuses a file of a folder that is known to be something else than what its name says.
pub(super) fn check_safetensors(source: &SourceFile) -> Result<(), SourceError> {
    match kind(source)? {
        None | Some(FileKind::Safetensors) => Ok(()),
        Some(kind) => Err(recognized(&source.label, kind, advice(kind).to_owned())),
    }
}

/// Refuses a folder of which a file that is not weights came as something else: all such files are
/// named at once.
pub(super) fn check_small_files(folder: &Path) -> Result<(), SourceError> {
    let mut failed: Vec<(String, FileKind)> = Vec::new();
    let indices = ["model.safetensors", "model.safetensors.index.json"];
    for name in SMALL_FILES.into_iter().chain(indices) {
        let path = folder.join(name);
        if !path.is_file() {
            continue;
        }
        // A template without a character is one that says nothing, and is reported as such where it
        // is read.
        let kind = kind(&SourceFile::open(&path)?)?;
        let may_be_empty = kind == Some(FileKind::Empty)
            && !name.ends_with(".json")
            && !name.ends_with(".safetensors");
        failed.extend(
            kind.filter(|kind| kind.is_failed_download() && !may_be_empty)
                .map(|kind| (name.to_owned(), kind)),
        );
    }
    let Some((first, kind)) = failed.first().cloned() else { return Ok(()) };
    let file = one_line(&folder.join(&first).display().to_string());
    let others: Vec<&str> = failed
        .iter()
        .skip(1)
        .filter(|(_, other)| *other == kind)
        .map(|(name, _)| name.as_str())
        .collect();
    let advice = match others.as_slice() {
        [] => advice(kind).to_owned(),
        others => format!("{} (the same holds for {})", advice(kind), others.join(", ")),
    };
    Err(recognized(&file, kind, advice))
}

/// What to do with a file that came in place of another, or cannot be read.
fn advice(kind: FileKind) -> &'static str {
    match kind {
        FileKind::LfsPointer => {
            "fetch the file itself: git lfs install, then git lfs pull in its folder"
        }
        FileKind::WebPage | FileKind::ServerRefusal => {
            "look at what it says (a licence to accept, a login, a wrong address), and download the file again"
        }
        FileKind::Empty | FileKind::Zeros => "its download did not finish; fetch it again",
        FileKind::PyTorch | FileKind::Pickle => {
            "pickles can run code and are not read; take the model's safetensors files, or load it in transformers and \
             call save_pretrained(FOLDER, safe_serialization=True)"
        }
        FileKind::SavedSession => "a session goes on with hardtack chat --session",
        FileKind::BakeScratch => {
            "it belongs to a bake that was interrupted; run the same hardtack bake again"
        }
        FileKind::Gguf => "give its path, not the folder's",
        _ => "bake a folder with config.json and safetensors files, or a GGUF file",
    }
}

/// The file that an ollama manifest names as the model.
fn ollama(source: &SourceFile) -> Result<String, SourceError> {
    const MANIFEST_BYTES_MAX: u64 = 1 << 20;
    let manifest: Value =
        serde_json::from_slice(&source.read_all(MANIFEST_BYTES_MAX)?).unwrap_or_default();
    let layers = manifest.get("layers").and_then(Value::as_array);
    let is_model = |layer: &&Value| {
        layer.get("mediaType").and_then(Value::as_str) == Some("application/vnd.ollama.image.model")
    };
    let digest = layers.and_then(|layers| layers.iter().find(is_model)?.get("digest")?.as_str());
    Ok(match digest {
        Some(digest) => {
            let blob = one_line(&digest.replacen(':', "-", 1));
            format!("the model is the file {blob} in ollama's folder of blobs; bake that")
        }
        None => "it names no model; bake the GGUF file in ollama's folder of blobs".to_owned(),
    })
}

/// Why a folder without weights that can be read is none, where the names in it show that.
pub(super) fn folder_without_checkpoint(folder: &Path, has_config: bool) -> Option<SourceError> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let has = |name: &str| names.iter().any(|own| own == name);
    let with = |ending: &str| -> Vec<&str> {
        names.iter().filter(|name| name.ends_with(ending)).map(String::as_str).collect()
    };
    let label = one_line(&folder.display().to_string());
    let is = |found: String, advice: String| {
        Some(SourceError::Recognized { file: label.clone(), found, advice })
    };

    if has("adapter_config.json") {
        let base = base_of_adapter(folder).map_or(String::new(), |base| format!(" for {base}"));
        let advice = "merge it into its base model first (in peft: merge_and_unload, then save_pretrained), and bake the \
                      merged folder";
        return is(format!("a LoRA adapter{base}, not a model"), advice.into());
    }
    if has("snapshots") && has("refs") {
        let inner = fs::read_dir(folder.join("snapshots")).ok()?.flatten().next();
        let inner =
            inner.map_or("...".into(), |inner| inner.file_name().to_string_lossy().into_owned());
        return is(
            "a cache folder of the hub".into(),
            format!("give the snapshot in it: {label}/snapshots/{}", one_line(&inner)),
        );
    }
    let gguf = with(".gguf");
    if !gguf.is_empty() {
        let found =
            if gguf.len() == 1 { "a folder with a GGUF file" } else { "a folder of GGUF files" };
        return is(
            found.into(),
            format!(
                "give the file itself: hardtack bake {label}/{} -o ... ({})",
                one_line(gguf[0]),
                list(&gguf)
            ),
        );
    }
    let shards = with(".safetensors");
    if has_config && !shards.is_empty() {
        let advice = "fetch model.safetensors.index.json too, or name the one file of weights model.safetensors";
        return is(
            format!("a folder whose safetensors files ({}) have no index", list(&shards)),
            advice.into(),
        );
    }
    if has("model_index.json") {
        return is("a pipeline of diffusers".into(), "only language models are baked".into());
    }
    if has("params.json") {
        let advice = "bake the same model in the layout of transformers, with config.json and model.safetensors";
        return is("a model in Meta's or Mistral's own layout".into(), advice.into());
    }
    let pickled: Vec<&str> =
        [".bin", ".pth", ".pt", ".bin.index.json"].iter().flat_map(|ending| with(ending)).collect();
    if !pickled.is_empty() {
        let found = format!("a folder whose weights are PyTorch files alone ({})", list(&pickled));
        return is(found, advice(FileKind::PyTorch).into());
    }
    for (ending, what) in [
        (".onnx", "a folder with an ONNX model"),
        (".h5", "a folder with weights of TensorFlow"),
        (".msgpack", "a folder with weights of Flax"),
        (".tflite", "a folder with a TensorFlow Lite model"),
        (".tack", "a folder with a .tack blob"),
    ] {
        let own = with(ending);
        if !own.is_empty() {
            let advice = match ending {
                ".tack" => {
                    format!(
                        "it is baked already; run it: hardtack run {label}/{} -p \"Hello\"",
                        one_line(own[0])
                    )
                }
                _ => advice(FileKind::Onnx).to_owned(),
            };
            return is(what.into(), advice);
        }
    }
    let unfinished: Vec<&str> = [".incomplete", ".part", ".aria2", ".crdownload"]
        .iter()
        .flat_map(|ending| with(ending))
        .collect();
    if !unfinished.is_empty() {
        let found = format!("a folder whose download did not finish ({})", list(&unfinished));
        return is(found, "fetch what is missing".into());
    }
    None
}

fn base_of_adapter(folder: &Path) -> Option<String> {
    const CONFIG_BYTES_MAX: u64 = 1 << 20;
    let bytes = SourceFile::open(&folder.join("adapter_config.json"))
        .ok()?
        .read_all(CONFIG_BYTES_MAX)
        .ok()?;
    let config: Value = serde_json::from_slice(&bytes).ok()?;
    Some(one_line(config.get("base_model_name_or_path")?.as_str()?))
}

fn list(names: &[&str]) -> String {
    let listed: Vec<String> = names.iter().take(LISTED).map(|name| one_line(name)).collect();
    let more = names.len().saturating_sub(LISTED);
    listed.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
}

/// The end of a sentence about one absent file that others are absent too.
pub(super) fn and_others(names: &[&str]) -> String {
    if names.is_empty() { String::new() } else { format!(", and {} besides", list(names)) }
}

fn kind(source: &SourceFile) -> Result<Option<FileKind>, SourceError> {
    let mut head = vec![0; source.bytes.min(SNIFF_BYTES as u64) as usize];
    source.read_at(0, &mut head, "beginning")?;
    Ok(sniff(&head))
}

fn recognized(file: &str, kind: FileKind, advice: String) -> SourceError {
    SourceError::Recognized { file: file.to_owned(), found: kind.name().to_owned(), advice }
}
