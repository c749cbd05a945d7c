//! A blob of a few hundred KiB whose network is a table: which token follows which. Its tokenizer
//! has a token for each byte, and whatever tokens a test adds.
#![allow(dead_code, reason = "every test uses a part")]

use std::path::{Path, PathBuf};

use half::f16;
use hardtack::{Engine, Options};
use hardtack_format::encoding::{GROUP_COLUMNS, PANEL_ROWS};
use hardtack_format::spec::*;
use hardtack_format::vocabulary::{TextRules, TokenKind, write};
use hardtack_format::{
    Encoding, Layout, ModelSpec, Role, SectionKey, SectionKind, SectionPlan, TensorPlan,
};
use hardtack_kernels::pack::{pack_floats, pack_tile};
use serde_json::{Map, Value, json};

/// ChatML, as Qwen and SmolLM2 have it.
pub const CHATML: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content \
    }}<|im_end|>\n{% endfor %}\
                          {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
/// ChatML's tokens.
pub const CHATML_TOKENS: [(&str, TokenKind); 2] =
    [("<|im_start|>", TokenKind::Control), ("<|im_end|>", TokenKind::Control)];

/// A model that says the same to everything.
pub struct Script<'a> {
    pub template: &'a str,
    /// Tokens after the 256 bytes.
    pub tokens: &'a [(&'a str, TokenKind)],
    /// What follows the last letter of a prompt, by the names of added tokens. The last of them
    /// ends the answer.
    pub answer: &'a [&'a str],
    /// What ends it, if not its last token: it goes round for ever then.
    pub end: Option<&'a str>,
    pub context_max: u32,
    /// Of the matrices: `F32`, or `Q1` for a small file.
    pub encoding: Encoding,
}

impl Script<'_> {
    /// No answer yet.
    pub const EMPTY: Script<'static> = Script {
        template: "",
        tokens: &[],
        answer: &[],
        end: None,
        context_max: 4096,
        encoding: Encoding::F32,
    };

    /// A model in ChatML.
    pub fn chatml<'a>(tokens: &'a [(&'a str, TokenKind)], answer: &'a [&'a str]) -> Script<'a> {
        Script { template: CHATML, tokens, answer, ..Script::EMPTY }
    }

    /// Writes the blob, and opens it.
    pub fn open(&self, folder: &Path) -> Engine {
        Engine::open_with(self.write(&folder.join("model.tack")), &options()).unwrap()
    }

    pub fn write(&self, path: &Path) -> PathBuf {
        std::fs::write(path, self.bytes()).unwrap();
        path.to_owned()
    }

    fn id(&self, name: &str) -> u32 {
        let place = self.tokens.iter().position(|(token, _)| *token == name);
        256 + place.unwrap_or_else(|| panic!("no token {name}")) as u32
    }

    pub fn bytes(&self) -> Vec<u8> {
        let vocabulary = 256 + self.tokens.len() as u32;
        let spec = ModelSpec {
            vocabulary,
            hidden: vocabulary.next_multiple_of(64),
            context_max: self.context_max,
            norm_epsilon: 1e-6,
            embedding_scale: 1.0,
            residual_scale: 1.0,
            logit_scale: 1.0,
            layers: vec![LayerSpec {
                attention: AttentionSpec {
                    heads: 1,
                    score_scale: 0.125,
                    window: 0,
                    rope_dim: 0,
                    rope_scale: 1.0,
                    kind: AttentionKind::Grouped {
                        kv_heads: 1,
                        head_dim: 64,
                        norm: HeadNorm::None,
                    },
                },
                feed_forward: FeedForwardSpec {
                    activation: Activation::Silu,
                    kind: FeedForwardKind::Dense { inner: 64 },
                },
            }],
        };
        let content = |kind| match kind {
            SectionKind::Spec => spec.to_bytes(),
            SectionKind::Tokenizer => self.tokenizer().to_string().into_bytes(),
            SectionKind::Vocabulary => self.vocabulary(),
            SectionKind::Template => self.template.as_bytes().to_vec(),
            _ => b"{}".to_vec(),
        };
        let plain = [
            SectionKind::Spec,
            SectionKind::Tokenizer,
            SectionKind::Vocabulary,
            SectionKind::Template,
        ]
        .map(|kind| SectionPlan::Plain {
            key: SectionKey::only(kind),
            bytes: content(kind).len() as u64,
        });
        let plans: Vec<SectionPlan> =
            plain.into_iter().chain(weights(&spec, self.encoding)).collect();
        let layout = Layout::new(&plans).unwrap();
        let mut file = vec![0; layout.file_bytes() as usize];
        let mut hashes = Vec::new();
        for section in layout.sections() {
            let place = section.offset as usize..(section.offset + section.bytes) as usize;
            if section.tensor_count == 0 {
                file[place.clone()].copy_from_slice(&content(section.key.kind));
            }
            for (role, tensor) in layout.tensors(section) {
                let bytes =
                    &mut file[tensor.offset as usize..(tensor.offset + tensor.bytes) as usize];
                let shape = (tensor.rows as usize, tensor.columns as usize);
                self.fill(role, shape, bytes);
            }
            hashes.push(*blake3::hash(&file[place]).as_bytes());
        }
        let head = layout.head(&hashes);
        file[..head.len()].copy_from_slice(&head);
        file
    }

    /// Norms are ones, an embedding is its token alone, and the head says what follows it. The rest
    /// is zero.
    fn fill(&self, role: Role, (rows, columns): (usize, usize), bytes: &mut [u8]) {
        // [rows, columns]
        let mut ones = vec![false; rows * columns];
        let mut set = |row: u32, column: u32| ones[row as usize * columns + column as usize] = true;
        let all = 0..256 + self.tokens.len() as u32;
        match role {
            Role::AttentionNorm | Role::FeedForwardNorm | Role::FinalNorm => {
                let one = 1f32.to_le_bytes();
                return bytes.as_chunks_mut().0.iter_mut().for_each(|value| *value = one);
            }
            Role::Embedding => all.for_each(|token| set(token, token)),
            Role::Head => {
                let answer: Vec<u32> = self.answer.iter().map(|name| self.id(name)).collect();
                // Bytes and the tokens that a template ends with are followed by the answer.
                all.filter(|token| !answer.contains(token)).for_each(|token| set(answer[0], token));
                answer.windows(2).for_each(|pair| set(pair[1], pair[0]));
                set(answer[0], *answer.last().unwrap());
            }
            _ => {}
        }
        self.pack(&ones, columns, bytes);
    }

    /// Writes ones and zeros in the script's encoding.
    fn pack(&self, ones: &[bool], columns: usize, bytes: &mut [u8]) {
        let panel_bytes = self.encoding.panel_bytes(columns as u32) as usize;
        for (panel, rows) in
            bytes.chunks_exact_mut(panel_bytes).zip(ones.chunks(PANEL_ROWS * columns))
        {
            if self.encoding == Encoding::F32 {
                let floats: Vec<f32> = rows.iter().map(|&one| f32::from(u8::from(one))).collect();
                pack_floats(self.encoding, &floats, columns, panel);
                continue;
            }
            for (tile, bytes) in panel.chunks_exact_mut(self.encoding.tile_bytes()).enumerate() {
                let mut codes = [[0; GROUP_COLUMNS]; PANEL_ROWS];
                for (codes, row) in codes.iter_mut().zip(rows.chunks_exact(columns)) {
                    for (code, &one) in codes.iter_mut().zip(&row[tile * GROUP_COLUMNS..]) {
                        *code = u8::from(one);
                    }
                }
                let (scales, minima) = ([f16::ONE; PANEL_ROWS], [f16::ZERO; PANEL_ROWS]);
                pack_tile(self.encoding, &codes, &scales, &minima, bytes);
            }
        }
    }

    fn vocabulary(&self) -> Vec<u8> {
        let bytes: Vec<[u8; 1]> = (0..=255).map(|byte| [byte]).collect();
        let bytes = bytes.iter().map(|byte| (TokenKind::Normal, byte.as_slice()));
        let added = self.tokens.iter().map(|(name, kind)| (*kind, name.as_bytes()));
        let end = self.id(self.end.unwrap_or(self.answer.last().unwrap()));
        let rules = TextRules { end: Some(end), ends: vec![end], ..TextRules::default() };
        write(&rules, &bytes.chain(added).collect::<Vec<_>>()).unwrap()
    }

    fn tokenizer(&self) -> Value {
        // GPT-2's `bytes_to_unicode`: printable bytes stand for themselves, the rest for letters
        // from U+0100 on.
        let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
        let mut beyond = (0x100..).filter_map(char::from_u32);
        let letters = (0..=u8::MAX)
            .map(|byte| if printable(&byte) { char::from(byte) } else { beyond.next().unwrap() });
        let vocabulary: Map<String, Value> = letters
            .zip(0..)
            .map(|(letter, id): (char, u32)| (letter.to_string(), json!(id)))
            .collect();
        let added = self.tokens.iter().zip(256..).map(|((name, kind), id): (_, u32)| {
            json!({ "id": id, "content": name, "special": *kind == TokenKind::Control, "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false })
        });
        let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
        json!({ "version": "1.0", "truncation": null, "padding": null, "added_tokens": added.collect::<Vec<_>>(),
            "normalizer": null, "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
            "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary,
                "merges": [] } })
    }
}

pub fn options() -> Options {
    Options::new().threads(1)
}

fn weights(spec: &ModelSpec, encoding: Encoding) -> Vec<SectionPlan> {
    let hidden = spec.hidden;
    let matrix = |role, rows, columns| TensorPlan { role, encoding, stack: 1, rows, columns };
    let vector =
        |role| TensorPlan { role, encoding: Encoding::Plain, stack: 1, rows: 1, columns: hidden };
    let globals = vec![
        matrix(Role::Embedding, spec.vocabulary, hidden),
        vector(Role::FinalNorm),
        matrix(Role::Head, spec.vocabulary, hidden),
    ];
    let layer = vec![
        vector(Role::AttentionNorm),
        matrix(Role::Query, 64, hidden),
        matrix(Role::Key, 64, hidden),
        matrix(Role::Value, 64, hidden),
        matrix(Role::Output, hidden, 64),
        vector(Role::FeedForwardNorm),
        matrix(Role::Gated, 64, hidden),
        matrix(Role::Up, 64, hidden),
        matrix(Role::Down, hidden, 64),
    ];
    vec![
        SectionPlan::Tensors { key: SectionKey::only(SectionKind::Globals), tensors: globals },
        SectionPlan::Tensors { key: SectionKey::layer(0), tensors: layer },
    ]
}
