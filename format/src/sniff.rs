//! What a file is by its first bytes: the files that people have where a blob or a checkpoint
//! should be.

/// As many first bytes as [`sniff`] looks at.
pub const SNIFF_BYTES: usize = 512;

/// A kind of file that is known by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// A `.tack` file.
    Blob,
    /// A session that `hardtack` saved.
    SavedSession,
    /// Encoded tensors that a bake keeps beside its output until it is done.
    BakeScratch,
    /// GGUF.
    Gguf,
    /// What llama.cpp wrote before GGUF.
    OldGgml,
    /// Safetensors.
    Safetensors,
    /// What a clone without git-lfs has in place of a large file.
    LfsPointer,
    /// An HTML or XML page: an error or a login saved under the file's name.
    WebPage,
    /// A line of text with which a server refuses a download.
    ServerRefusal,
    /// A zip archive written by `torch.save`.
    PyTorch,
    /// A Python pickle, such as `torch.save` wrote before version 1.6.
    Pickle,
    /// NumPy's `.npy`, or an archive of such.
    Numpy,
    /// An ONNX model.
    Onnx,
    /// HDF5: weights of Keras.
    Hdf5,
    /// A TensorFlow Lite model.
    TfLite,
    /// Another zip archive.
    Zip,
    /// A compressed or tar archive.
    Archive(&'static str),
    /// The manifest by which ollama finds the files of a model.
    OllamaManifest,
    /// The recipe of a model for ollama.
    Modelfile,
    /// JSON of another kind.
    Json,
    /// A file without a byte.
    Empty,
    /// Nothing but zeros: room for a download that never came.
    Zeros,
}

impl FileKind {
    /// What it is called, with its article.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blob => "a .tack blob",
            Self::SavedSession => "a saved session",
            Self::BakeScratch => "the scratch file of a bake",
            Self::Gguf => "a GGUF file",
            Self::OldGgml => "a GGML file from before GGUF",
            Self::Safetensors => "a safetensors file",
            Self::LfsPointer => "a Git LFS pointer, not the file itself",
            Self::WebPage => "a web page saved under this name",
            Self::ServerRefusal => "a server's refusal saved under this name",
            Self::PyTorch => "a PyTorch file",
            Self::Pickle => "a Python pickle",
            Self::Numpy => "a NumPy file",
            Self::Onnx => "an ONNX model",
            Self::Hdf5 => "an HDF5 file",
            Self::TfLite => "a TensorFlow Lite model",
            Self::Zip => "a zip archive",
            Self::Archive(name) => name,
            Self::OllamaManifest => "an ollama manifest",
            Self::Modelfile => "a Modelfile of ollama",
            Self::Json => "a JSON file",
            Self::Empty => "an empty file",
            Self::Zeros => "a file of zeros",
        }
    }

    /// Whether such a file is where another should be because a download went wrong.
    pub fn is_failed_download(self) -> bool {
        matches!(
            self,
            Self::LfsPointer | Self::WebPage | Self::ServerRefusal | Self::Empty | Self::Zeros
        )
    }
}

/// Numbers and names at the very beginning of a file.
const MAGICS: &[(&[u8], FileKind)] = &[
    (&crate::limits::MAGIC, FileKind::Blob),
    (b"HTSAVED", FileKind::SavedSession),
    (b"\x89TACKST\n", FileKind::BakeScratch),
    (b"GGUF", FileKind::Gguf),
    // `ggml`, `ggmf`, `ggjt` and `ggla` as little-endian numbers.
    (b"lmgg", FileKind::OldGgml),
    (b"fmgg", FileKind::OldGgml),
    (b"tjgg", FileKind::OldGgml),
    (b"algg", FileKind::OldGgml),
    (b"version https://git-lfs.github.com/", FileKind::LfsPointer),
    (b"version https://hawser.github.com/", FileKind::LfsPointer),
    (b"\x93NUMPY", FileKind::Numpy),
    (b"\x89HDF\r\n\x1a\n", FileKind::Hdf5),
    (b"\x1f\x8b", FileKind::Archive("a gzip archive")),
    (b"BZh", FileKind::Archive("a bzip2 archive")),
    (b"\xfd7zXZ\0", FileKind::Archive("an xz archive")),
    (b"\x28\xb5\x2f\xfd", FileKind::Archive("a zstd archive")),
    (b"7z\xbc\xaf\x27\x1c", FileKind::Archive("a 7z archive")),
    (b"Rar!\x1a\x07", FileKind::Archive("a rar archive")),
];

/// Ways in which servers of models say no.
const REFUSALS: &[&[u8]] = &[
    b"Entry not found",
    b"Repository not found",
    b"Invalid credentials",
    b"Invalid username or password",
    b"Access to model ",
    b"Access denied",
    b"Not Found",
    b"404: Not Found",
    b"Unauthorized",
    b"Forbidden",
];

/// The kind of the file that begins with `head`; `None` where it is none of those known here.
///
/// `head` is the first [`SNIFF_BYTES`] of the file, or the whole of a shorter one.
///
/// ```
/// use hardtack_format::sniff::{FileKind, sniff};
/// assert_eq!(sniff(b"GGUF\x03\0\0\0"), Some(FileKind::Gguf));
/// assert_eq!(sniff(b"The quick brown fox"), None);
/// ```
pub fn sniff(head: &[u8]) -> Option<FileKind> {
    if head.is_empty() {
        return Some(FileKind::Empty);
    }
    if let Some((_, kind)) = MAGICS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Some(*kind);
    }
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return Some(zip(head));
    }
    if head.get(257..262) == Some(b"ustar") {
        return Some(FileKind::Archive("a tar archive"));
    }
    if head.get(4..8) == Some(b"TFL3") {
        return Some(FileKind::TfLite);
    }
    if is_safetensors(head) {
        return Some(FileKind::Safetensors);
    }
    if let [0x80, 2..=5, ..] = head {
        return Some(FileKind::Pickle);
    }
    if is_onnx(head) {
        return Some(FileKind::Onnx);
    }
    if head.len() >= 64 && head.iter().all(|byte| *byte == 0) {
        return Some(FileKind::Zeros);
    }
    text(head)
}

/// `torch.save` puts `NAME/data.pkl` first; `numpy.savez` has names that end in `.npy`.
fn zip(head: &[u8]) -> FileKind {
    let length =
        head.get(26..28).map_or(0, |bytes| usize::from(u16::from_le_bytes([bytes[0], bytes[1]])));
    let name = head.get(30..30 + length).unwrap_or_default();
    if name.ends_with(b"/data.pkl") {
        FileKind::PyTorch
    } else if name.ends_with(b".npy") {
        FileKind::Numpy
    } else {
        FileKind::Zip
    }
}

/// The length of a header, which is an object; the format allows 100 MB.
fn is_safetensors(head: &[u8]) -> bool {
    const HEADER_BYTES_MAX: u64 = 100_000_000;
    let Some((length, rest)) = head.split_first_chunk() else { return false };
    (2..=HEADER_BYTES_MAX).contains(&u64::from_le_bytes(*length)) && rest.first() == Some(&b'{')
}

/// A `ModelProto`: the version as field 1, then the producer's name as field 2.
fn is_onnx(head: &[u8]) -> bool {
    let [0x08, 1..=0x20, 0x12, length, rest @ ..] = head else { return false };
    let name = rest.get(..usize::from(*length)).unwrap_or_default();
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ')
}

fn text(head: &[u8]) -> Option<FileKind> {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let begins =
        |word: &[u8]| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    if [b"<!doctype".as_slice(), b"<html", b"<head", b"<?xml", b"<error"]
        .iter()
        .any(|word| begins(word))
    {
        return Some(FileKind::WebPage);
    }
    if REFUSALS.iter().any(|refusal| begins(refusal)) {
        return Some(FileKind::ServerRefusal);
    }
    if text.starts_with(b"FROM ") {
        return Some(FileKind::Modelfile);
    }
    if text.first() != Some(&b'{') {
        return None;
    }
    let has = |word: &[u8]| text.windows(word.len()).any(|part| part == word);
    let manifest =
        has(b"\"schemaVersion\"") && (has(b"docker.distribution.manifest") || has(b"vnd.ollama."));
    Some(if manifest { FileKind::OllamaManifest } else { FileKind::Json })
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    fn zip_of(name: &str) -> Vec<u8> {
        let mut file = b"PK\x03\x04".to_vec();
        file.resize(26, 0);
        file.extend((name.len() as u16).to_le_bytes());
        file.extend([0, 0]);
        file.extend(name.as_bytes());
        file
    }

    #[test]
    fn every_kind_is_known_by_its_first_bytes() {
        let mut tar = vec![b'a'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        let manifest = br#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json"}"#;
        let cases: &[(&[u8], FileKind)] = &[
            (b"\x89TACK\r\n\x1a and more", FileKind::Blob),
            (b"HTSAVED\x02", FileKind::SavedSession),
            (b"GGUF\x03\0\0\0", FileKind::Gguf),
            (b"tjgg\x03\0\0\0", FileKind::OldGgml),
            (b"\x40\0\0\0\0\0\0\0{\"a\":", FileKind::Safetensors),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", FileKind::LfsPointer),
            (b"\xef\xbb\xbf\n <!DOCTYPE HTML><title>Log in", FileKind::WebPage),
            (b"<html>", FileKind::WebPage),
            (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied", FileKind::WebPage),
            (b"Entry not found", FileKind::ServerRefusal),
            (&zip_of("archive/data.pkl"), FileKind::PyTorch),
            (&zip_of("weight.npy"), FileKind::Numpy),
            (&zip_of("config.json"), FileKind::Zip),
            (b"\x80\x02\x8a\nl\xfc", FileKind::Pickle),
            (b"\x93NUMPY\x01\0", FileKind::Numpy),
            (b"\x08\x07\x12\x07pytorch\x1a\x05", FileKind::Onnx),
            (b"\x89HDF\r\n\x1a\n", FileKind::Hdf5),
            (b"\x1c\0\0\0TFL3", FileKind::TfLite),
            (b"\x1f\x8b\x08", FileKind::Archive("a gzip archive")),
            (&tar, FileKind::Archive("a tar archive")),
            (manifest, FileKind::OllamaManifest),
            (b"FROM ./model.gguf\n", FileKind::Modelfile),
            (b" {\"model_type\": 1}", FileKind::Json),
            (b"", FileKind::Empty),
            (&[0; 512], FileKind::Zeros),
        ];
        for (head, kind) in cases {
            assert_eq!(sniff(head), Some(*kind), "{}", head.escape_ascii());
        }
    }

    #[test]
    fn other_bytes_are_of_no_kind() {
        for head in [
            b"Hello\n".as_slice(),
            b"GG",
            b"\x08\x07\x12\x40short",
            &[0; 8],
            b"{% for m in messages %}",
        ] {
            let kind = sniff(head);
            assert!(
                matches!(kind, None | Some(FileKind::Json)),
                "{} is {kind:?}",
                head.escape_ascii()
            );
        }
        assert_eq!(sniff(b"Hello\n"), None);
    }

    /// However short a file is, looking at it does no harm.
    #[test]
    fn every_prefix_can_be_looked_at() {
        for whole in
            [zip_of("archive/data.pkl"), b"\x08\x07\x12\x07pytorch".to_vec(), vec![0x80; 300]]
        {
            for length in 0..whole.len() {
                sniff(&whole[..length]);
            }
        }
    }
}
