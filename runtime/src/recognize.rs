//! Files and folders that people give where a blob should be: each called by its name, with what to
//! do next.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use hardtack_format::limits::MAGIC;
use hardtack_format::{FileKind, SNIFF_BYTES, sniff};

use crate::error::Error;

/// What the path is in place of a blob; `None` where it may be one, or cannot be read at all.
///
/// Only its first bytes are read, or the names in the folder.
pub fn not_a_blob(path: &Path) -> Option<Error> {
    let metadata = fs::metadata(path).ok()?;
    let (found, advice) = if metadata.is_dir() {
        folder(path)
    } else if metadata.is_file() {
        file(path)?
    } else {
        // To open a pipe would be to wait for its other end.
        ("no file".to_owned(), "give the path of a .tack blob".to_owned())
    };
    Some(Error::NotABlob { path: path.to_owned(), found, advice })
}

fn file(path: &Path) -> Option<(String, String)> {
    let mut head = Vec::new();
    File::open(path).ok()?.take(SNIFF_BYTES as u64).read_to_end(&mut head).ok()?;
    if head.starts_with(&MAGIC) || (!head.is_empty() && MAGIC.starts_with(&head)) {
        return None;
    }
    let Some(kind) = sniff(&head) else {
        let begins = head[..head.len().min(MAGIC.len())].escape_ascii();
        let advice = format!(
            "it begins with \"{begins}\", not with a blob's magic; a blob is made by hardtack bake"
        );
        return Some(("no .tack blob".to_owned(), advice));
    };
    let beside =
        || path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let advice = match kind {
        FileKind::Gguf => format!("bake it first: {}", bake(path)),
        FileKind::Safetensors | FileKind::Json => {
            format!("a checkpoint is baked by its folder: {}", bake(beside()))
        }
        FileKind::LfsPointer => "fetch the file itself with git lfs pull".to_owned(),
        FileKind::WebPage | FileKind::ServerRefusal => {
            "look at what it says, and download the file again".to_owned()
        }
        FileKind::Empty => "it was truncated or never written; copy or bake it again".to_owned(),
        FileKind::Zeros => "its download did not finish; fetch it again".to_owned(),
        FileKind::SavedSession => {
            "give it with --session, beside the blob that it was saved from".to_owned()
        }
        FileKind::BakeScratch => {
            "run the same hardtack bake again; it goes on from there".to_owned()
        }
        FileKind::Zip | FileKind::Archive(_) => "unpack it, then bake what is in it".to_owned(),
        FileKind::OllamaManifest | FileKind::Modelfile => {
            "bake the GGUF file that it names".to_owned()
        }
        _ => {
            "only .tack blobs are run; bake one from safetensors or a GGUF file with hardtack bake"
                .to_owned()
        }
    };
    Some((kind.name().to_owned(), advice))
}

fn folder(path: &Path) -> (String, String) {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut names: Vec<PathBuf> = entries.map(|entry| PathBuf::from(entry.file_name())).collect();
    names.sort();
    let with = |extension: &str| {
        names.iter().find(|name| name.extension().is_some_and(|own| own == extension))
    };
    if let Some(blob) = with("tack") {
        return (
            "a folder".to_owned(),
            format!("give the blob in it: {}", path.join(blob).display()),
        );
    }
    if names.iter().any(|name| name.as_os_str() == "config.json") {
        return ("a checkpoint folder".to_owned(), format!("bake it first: {}", bake(path)));
    }
    if let Some(gguf) = with("gguf") {
        return (
            "a folder of GGUF files".to_owned(),
            format!("bake one first: {}", bake(&path.join(gguf))),
        );
    }
    ("a folder".to_owned(), "give the path of a .tack blob".to_owned())
}

/// The command that makes a blob of a checkpoint, to be copied as it is.
fn bake(input: &Path) -> String {
    let full = input.canonicalize();
    let name = full
        .as_deref()
        .unwrap_or(input)
        .file_stem()
        .map_or("model".into(), |stem| stem.to_string_lossy());
    format!(
        "hardtack bake {} -o {}",
        quoted(&input.display().to_string()),
        quoted(&format!("{name}.tack"))
    )
}

/// As a shell takes it.
fn quoted(word: &str) -> String {
    let harmless = |letter: char| letter.is_alphanumeric() || "/._-+:@%\\".contains(letter);
    if word.chars().all(harmless) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
