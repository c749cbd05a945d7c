//! Random runs of the program, each with `--memory` at the least that it accepts, stay inside that
//! limit at their peak: long lines, answers without end, rings that wrap, and tokenizers that
//! nobody would ship.
//!
//! A few runs by default; `HARDTACK_RUNS=1000` for a day's work, `HARDTACK_SEED=7` for other ones.
//! Every failure names its run, which the same seed repeats.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};

use crate::program::hardtack;
use hardtack::format::{Blob, Encoding, Layout, SectionKind, SectionPlan, TensorPlan};
use hardtack_testing::{peak, synthetic};
use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde_json::{Value, json};

const RUNS: usize = 16;
const NETWORK: synthetic::Network =
    synthetic::Network { vocabulary: 2000, hidden: 64, layers: 2, context: 1024 };

/// A choice of one of these.
fn pick<T: Copy>(random: &mut Pcg64Mcg, from: &[T]) -> T {
    from[random.next_u32() as usize % from.len()]
}

/// Tokenizers that a blob may carry, most of which no bake would make: each is refused or kept
/// within the plan.
fn tokenizers() -> Vec<(&'static str, Value)> {
    let sane = synthetic::byte_level(NETWORK.vocabulary);
    let with = |key: &str, value: Value| {
        let mut own = sane.clone();
        own[key] = value;
        own
    };
    let replace =
        |from: Value, to: &str| json!({ "type": "Replace", "pattern": from, "content": to });
    let sequence = |list: Vec<Value>| json!({ "type": "Sequence", "normalizers": list });
    let splits = (0..200).map(|index| {
        let pattern = json!({ "Regex": format!("\\w{{{}}}", 40 + index % 20) });
        json!({ "type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false })
    });
    let pieces: Vec<Value> = (0..30_000).map(|index| json!([format!("{index:x}"), -1.0])).collect();
    let unigram =
        json!({ "type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": false });
    let words: serde_json::Map<String, Value> =
        (0..30_000).map(|index| (format!("{index:x}"), json!(index % 2000))).collect();
    let word_level = json!({ "type": "WordLevel", "vocab": words, "unk_token": "0" });
    let word_piece = json!({ "type": "WordPiece", "vocab": words, "unk_token": "0", "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100 });
    let spaces = " ".repeat(1000);
    vec![
        ("sane", sane.clone()),
        ("large", synthetic::byte_level(30_000)),
        (
            "grows",
            with("normalizer", sequence(vec![replace(json!({ "String": " " }), &spaces); 3])),
        ),
        (
            "grows by a regex",
            with(
                "normalizer",
                sequence(vec![replace(json!({ "Regex": "." }), &"a".repeat(100)); 3]),
            ),
        ),
        (
            "many regexes",
            with(
                "pre_tokenizer",
                json!({ "type": "Sequence", "pretokenizers": splits.collect::<Vec<_>>() }),
            ),
        ),
        ("many normalizers", with("normalizer", sequence(vec![json!({ "type": "NFC" }); 3000]))),
        (
            "a map that lies",
            with(
                "normalizer",
                json!({ "type": "Precompiled", "precompiled_charsmap": "/////w==" }),
            ),
        ),
        ("unigram", with("model", unigram)),
        ("word level", with("model", word_level)),
        ("word piece", with("model", word_piece)),
    ]
}

/// The blob with another tokenizer section.
fn with_tokenizer(blob: &[u8], tokenizer: &[u8]) -> Vec<u8> {
    let blob = Blob::open(blob).unwrap();
    let plain = |kind| if kind == SectionKind::Tokenizer { Some(tokenizer) } else { None };
    let plans: Vec<SectionPlan> = blob
        .sections()
        .map(|record| match record.tensor_count {
            0 => SectionPlan::Plain {
                key: record.key,
                bytes: plain(record.key.kind).map_or(record.bytes, |bytes| bytes.len() as u64),
            },
            _ => SectionPlan::Tensors {
                key: record.key,
                tensors: blob
                    .tensors(&record)
                    .map(|(role, own)| TensorPlan {
                        role,
                        encoding: own.encoding,
                        stack: own.stack,
                        rows: own.rows,
                        columns: own.columns,
                    })
                    .collect(),
            },
        })
        .collect();
    let layout = Layout::new(&plans).unwrap();
    let mut file = vec![0; layout.file_bytes() as usize];
    let mut hashes = Vec::new();
    for (old, new) in blob.sections().zip(layout.sections()) {
        let bytes = plain(old.key.kind).unwrap_or_else(|| blob.section_bytes(&old));
        file[new.offset as usize..][..bytes.len()].copy_from_slice(bytes);
        hashes.push(*blake3::hash(bytes).as_bytes());
    }
    let head = layout.head(&hashes);
    file[..head.len()].copy_from_slice(&head);
    file
}

/// One run's flags and input.
struct Trial {
    tokenizer: usize,
    arguments: Vec<String>,
    input: Vec<u8>,
}

impl Trial {
    fn new(random: &mut Pcg64Mcg, tokenizers: usize) -> Self {
        // Half of them with a tokenizer as it should be.
        let tokenizer = if random.next_u32().is_multiple_of(2) {
            0
        } else {
            random.next_u32() as usize % tokenizers
        };
        let text = |random: &mut Pcg64Mcg, lengths: &[usize]| {
            let length = pick(random, lengths);
            let letters: &[u8] =
                pick(random, &[&b"abcdef "[..], b"a", b"0123456789", b"?! \t", "ä€😀".as_bytes()]);
            String::from_utf8_lossy(
                &letters.iter().copied().cycle().take(length).collect::<Vec<u8>>(),
            )
            .into_owned()
        };
        let mut words = Vec::new();
        let mut add = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
        let tokens = pick(random, &[1, 16, 300, 3000]);
        add("-n", tokens.to_string());
        add("-t", pick(random, &[1, 2, 4]).to_string());
        add("--batch", pick(random, &[1, 7, 64, 256]).to_string());
        add("--load", pick(random, &["mmap", "resident"]).to_owned());
        add("--ctx", pick(random, &[192, 256, 640, 1024]).to_string());
        match random.next_u32() % 4 {
            0 => add("--kv-type", pick(random, &["f16", "f32"]).to_owned()),
            1 => add("--kv-bits", pick(random, &["4", "8,4,2", "6/4,4/2"]).to_owned()),
            2 => {
                add("--kv", pick(random, &["300KiB", "1MiB"]).to_owned());
                add("--kv-bits", pick(random, &["4", "8,4,2"]).to_owned());
            }
            _ => {}
        }
        if random.next_u32().is_multiple_of(3) {
            add("--temperature", "0.9".to_owned());
            add("--seed", "1".to_owned());
        }
        if random.next_u32().is_multiple_of(2) {
            let prompt = text(random, &[1, 30, 3000, 100_000]);
            let mut arguments = vec!["run".to_owned()];
            arguments.append(&mut words);
            arguments.extend(["-p".to_owned(), prompt]);
            Self { tokenizer, arguments, input: Vec::new() }
        } else {
            let lines = 1 + random.next_u32() % 4;
            let input = (0..lines)
                .map(|_| text(random, &[1, 30, 3000, 100_000, 900_000]) + "\n")
                .collect::<String>();
            let mut arguments = vec!["chat".to_owned()];
            arguments.append(&mut words);
            Self { tokenizer, arguments, input: input.into_bytes() }
        }
    }

    fn command(&self, blob: &Path, memory: &str) -> std::process::Command {
        let mut command = hardtack(&[]);
        let (name, flags) = self.arguments.split_first().unwrap();
        command.arg(name).arg(blob).args(flags).arg("--memory").arg(memory);
        command
    }

    /// For a person: long texts by their length.
    fn shown(&self) -> String {
        let short = |word: &String| {
            if word.len() > 60 { format!("[{} bytes]", word.len()) } else { word.clone() }
        };
        let words: Vec<String> = self.arguments.iter().map(short).collect();
        format!("{}, {} bytes of input", words.join(" "), self.input.len())
    }
}

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// The number of bytes that a refusal says are needed.
fn needed(refusal: &str) -> Option<u64> {
    let before =
        refusal.split(" bytes are needed").next().filter(|before| before.len() < refusal.len())?;
    before.rsplit(' ').next()?.parse().ok()
}

#[test]
fn random_runs_keep_to_their_limit() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoint, sane) = (folder.path().join("checkpoint"), folder.path().join("sane.tack"));
    fs::create_dir(&checkpoint).unwrap();
    synthetic::write(&checkpoint, NETWORK);
    hardtack_testing::bake_at(&checkpoint, &sane, Encoding::Q4);
    let sane = fs::read(&sane).unwrap();
    let blobs: Vec<(&str, PathBuf)> = (0..)
        .zip(tokenizers())
        .map(|(index, (name, tokenizer)): (usize, _)| {
            let path = folder.path().join(format!("{index}.tack"));
            fs::write(&path, with_tokenizer(&sane, tokenizer.to_string().as_bytes())).unwrap();
            (name, path)
        })
        .collect();

    let (runs, seed) = (number("HARDTACK_RUNS", RUNS), number("HARDTACK_SEED", 1));
    let (mut broken, mut refused, mut whole, mut margin) = (Vec::new(), 0, 0, i64::MAX);
    for run in 0..runs {
        let mut random = Pcg64Mcg::seed_from_u64((seed as u64) << 32 | run as u64);
        let trial = Trial::new(&mut random, blobs.len());
        let (name, blob) = &blobs[trial.tokenizer];
        let mut fail = |what: String| {
            let line =
                format!("run {run} of seed {seed}, tokenizer {name}: {what}\n  {}", trial.shown());
            eprintln!("{line}");
            broken.push(line);
        };
        // The model is refused first, then the session: each says what it needs.
        let (mut limit, mut own) = (1, peak::run(&mut trial.command(blob, "1"), &trial.input));
        while let Some(more) = needed(&own.err).filter(|&more| own.code == Some(1) && more > limit)
        {
            limit = more;
            own = peak::run(&mut trial.command(blob, &limit.to_string()), &trial.input);
        }
        if limit == 1 {
            // Flags that contradict each other or the model are refused before memory is.
            match own.code {
                Some(1) => refused += 1,
                code => fail(format!("code {code:?} under a limit of one byte: {}", own.err)),
            }
            continue;
        }
        match own.code {
            Some(0) => whole += 1,
            Some(1) => {}
            code => fail(format!("code {code:?}: {}", own.err)),
        }
        if std::env::var_os("HARDTACK_RUNS").is_some() {
            let end = if own.code == Some(0) {
                "done"
            } else {
                own.err.lines().last().unwrap_or_default()
            };
            println!(
                "run {run}: {name}, {} of {limit} bytes, {end:.120}; {}",
                own.peak,
                trial.shown()
            );
        }
        margin = margin.min(limit as i64 - own.peak as i64);
        if own.peak > limit {
            fail(format!(
                "peak {} bytes, {} over the limit of {limit}; code {:?}",
                own.peak,
                own.peak - limit,
                own.code
            ));
        }
    }
    println!(
        "{runs} runs of seed {seed}: {whole} to their end, {refused} refused for their flags, {} \
            broken, least margin {margin}",
        broken.len()
    );
    assert!(broken.is_empty(), "{} of {runs} runs:\n{}", broken.len(), broken.join("\n"));
    // Limits that everything is refused under would be kept to as well.
    assert!(whole * 4 >= runs, "only {whole} of {runs} runs came to their end");
}
