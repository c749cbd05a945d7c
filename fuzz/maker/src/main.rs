//! Writes the first inputs of every target: `seeds FOLDER`, one folder in it for each target.

#[path = "../../../format/tests/blob/build.rs"]
#[allow(dead_code, reason = "the format's tests use the rest")]
mod build;
mod input;
#[path = "../../../format/tests/blob/seal.rs"]
#[allow(dead_code, reason = "the format's tests use the rest")]
mod seal;
mod side_files;

use std::fs;
use std::io::Result;
use std::path::{Path, PathBuf};

use hardtack_format::vocabulary::{self, TextRules, TokenKind};
use input::write;

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).expect("usage: seeds FOLDER"));
    blobs(&folder)?;
    kept(&folder, "found")?;
    kept(&folder, "seeds")?;
    side_files::write_all(&folder)?;
    write(&folder, "vocabulary", "small", &vocabulary_table())?;
    write(&folder, "gguf", "small", &gguf())?;
    write(&folder, "safetensors", "small", &safetensors())
}

/// The valid sample and every kept attack: whole for `blob`, the head alone for `blob_sealed`.
fn blobs(folder: &Path) -> Result<()> {
    let valid = build::sample();
    let spec_end = (seal::u64_at(&valid, 128 + 24) + seal::u64_at(&valid, 128 + 32)) as usize;
    write(folder, "blob", "sample", &valid)?;
    write(
        folder,
        "blob_sealed",
        "sample",
        &valid[..seal::index_end(&valid).expect("a whole index")],
    )?;
    write(folder, "blob_sealed", "sample_with_spec", &valid[..spec_end])?;
    write(folder, "blob_session", "sample_with_spec", &valid[..spec_end])?;
    for entry in
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../format/tests/attacks"))?
    {
        let path = entry?.path();
        let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
        let head = fs::read(&path)?;
        let mut whole = valid.clone();
        whole[..head.len()].copy_from_slice(&head);
        write(folder, "blob", &name, &whole)?;
        write(folder, "blob_sealed", &name, &head)?;
    }
    Ok(())
}

/// Inputs of a folder beside this package: `found/TARGET` has what once crashed a target, so that
/// it never does again, and `seeds/TARGET` what is easier written by hand.
fn kept(folder: &Path, kind: &str) -> Result<()> {
    for target in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(kind))? {
        let target = target?;
        for input in fs::read_dir(target.path())? {
            let path = input?.path();
            let name = format!("{kind}_{}", path.file_name().expect("a file").to_string_lossy());
            write(folder, &target.file_name().to_string_lossy(), &name, &fs::read(&path)?)?;
        }
    }
    Ok(())
}

fn vocabulary_table() -> Vec<u8> {
    let tokens: [(TokenKind, &[u8]); 6] = [
        (TokenKind::Control, b"<s>"),
        (TokenKind::Control, b"</s>"),
        (TokenKind::Normal, b" the"),
        (TokenKind::Byte, b"\xff"),
        (TokenKind::Unused, b""),
        (TokenKind::Marker, b"<think>"),
    ];
    let rules = TextRules {
        begin: Some(0),
        end: Some(1),
        add_begin: true,
        ends: vec![1, 2],
        ..TextRules::default()
    };
    vocabulary::write(&rules, &tokens).expect("a valid table")
}

/// One key of most kinds and two tensors.
fn gguf() -> Vec<u8> {
    fn text(out: &mut Vec<u8>, text: &str) {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    }
    fn key(out: &mut Vec<u8>, name: &str, kind: u32, value: &[u8]) {
        text(out, name);
        out.extend(kind.to_le_bytes());
        out.extend(value);
    }
    fn tensor(out: &mut Vec<u8>, name: &str, shape: &[u64], kind: u32, offset: u64) {
        text(out, name);
        out.extend((shape.len() as u32).to_le_bytes());
        shape.iter().for_each(|dimension| out.extend(dimension.to_le_bytes()));
        out.extend(kind.to_le_bytes());
        out.extend(offset.to_le_bytes());
    }
    let mut name = Vec::new();
    text(&mut name, "llama");
    // Arrays: kind of the elements, how many, the elements.
    let mut tokens = [8_u32.to_le_bytes().as_slice(), &2_u64.to_le_bytes()].concat();
    text(&mut tokens, "a");
    text(&mut tokens, "the");
    let scores = [6_u32.to_le_bytes().as_slice(), &2_u64.to_le_bytes(), &[0; 8]].concat();

    let mut out = b"GGUF".to_vec();
    out.extend(3_u32.to_le_bytes());
    out.extend(2_u64.to_le_bytes());
    out.extend(7_u64.to_le_bytes());
    key(&mut out, "general.architecture", 8, &name);
    key(&mut out, "general.alignment", 4, &32_u32.to_le_bytes());
    key(&mut out, "llama.block_count", 4, &1_u32.to_le_bytes());
    key(&mut out, "llama.rope.freq_base", 6, &10000_f32.to_le_bytes());
    key(&mut out, "tokenizer.ggml.add_bos_token", 7, &[1]);
    key(&mut out, "tokenizer.ggml.tokens", 9, &tokens);
    key(&mut out, "tokenizer.ggml.scores", 9, &scores);
    tensor(&mut out, "token_embd.weight", &[4, 2], 0, 0);
    tensor(&mut out, "output.weight", &[32, 2], 8, 32);
    out.resize(out.len().next_multiple_of(32), 0);
    // 8 floats, then two blocks of Q8_0 (34 bytes each), padded.
    out.resize(out.len() + 32 + 96, 0);
    out
}

fn safetensors() -> Vec<u8> {
    let header = br#"{"__metadata__":{"format":"pt"},"a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}}"#;
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header);
    out.resize(out.len() + 32, 0);
    out
}
