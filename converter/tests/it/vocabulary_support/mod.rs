//! What the vocabulary tests share: a reader of GGUF metadata that trusts its file, texts that are
//! hard to tokenize, and text back from ids through the byte table.

// Each test program uses its own part of this.
#![allow(dead_code)]

use std::collections::HashMap;

use hardtack_converter::vocabulary::{GgufVocabulary, TextSections};
use hardtack_format::vocabulary::Vocabulary;

/// Texts on which tokenizers differ.
pub const TEXTS: [&str; 24] = [
    "",
    " ",
    "  ",
    "Hello, world!",
    "  leading and   inner    spaces and trailing  ",
    "\n\n\r\n \n\t\ttabs\t \n",
    "1 22 333 4444 55555 3.14159 1e-5 0x1F ½ ² ٣٤",
    "I'm you're we'll THEY'VE don't 'tis 'S 'LL it's",
    "fn main() {\n    let x = vec![1, 2, 3];\n    println!(\"{:?}\", x);\n}\n",
    "https://example.com/a?b=c&d=%20#frag <b>&amp;</b>",
    "日本語のテキスト、漢字とかな。中文字符 한국어 글자",
    "Ελληνικά кириллица עברית العربية हिन्दी ไทย",
    "😀👩‍👩‍👧‍👦🇩🇪 é vs e\u{301} ﬁ ﬀ Å K",
    "\u{0}\u{1}\u{7f}\u{a0}\u{feff}\u{200b}",
    "\u{10ffff}\u{e000}𐍈𝄞",
    "<|im_start|>user\nhi<|im_end|>",
    "<s></s><unk><0x0A><|endoftext|>",
    "▁under▁score▁ and Ġ Ċ ł",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "................!!!!????----====****",
    "snake_case camelCase SCREAMING_CASE kebab-case",
    "$100 €5,00 £3.50 10% #1 @user a+b=c x^2 ~ `code`",
    "x\u{301}\u{302}\u{303}\u{304} zalgo",
    "The quick brown fox jumps over the lazy dog.",
];

/// The bytes of the ids, by the table alone.
pub fn decode<B: AsRef<[u8]>>(table: &Vocabulary<B>, ids: &[u32]) -> String {
    let bytes: Vec<u8> = ids.iter().flat_map(|&id| table.bytes(id)).copied().collect();
    let text = String::from_utf8(bytes).expect("whole texts are UTF-8");
    match text.strip_prefix(' ') {
        Some(rest) if table.rules().strip_leading_space => rest.into(),
        _ => text,
    }
}

/// Both sections, opened.
pub fn open(sections: &TextSections) -> (tokenizers::Tokenizer, Vocabulary<&[u8]>) {
    let tokenizer = sections.tokenizer.as_deref().expect("a tokenizer section");
    let table = sections.vocabulary.as_deref().expect("a vocabulary section");
    (tokenizers::Tokenizer::from_bytes(tokenizer).unwrap(), Vocabulary::read(table).unwrap())
}

enum Entry {
    Number(u64),
    Text(String),
    Texts(Vec<String>),
    Integers(Vec<i32>),
    Floats(Vec<f32>),
    Other,
}

/// The `tokenizer.*` metadata of a GGUF file.
pub fn read_gguf(bytes: &[u8]) -> GgufVocabulary {
    let mut reader = Reader(bytes);
    assert_eq!(reader.take(4), b"GGUF");
    reader.u32();
    reader.u64();
    let count = reader.u64();
    let mut entries: HashMap<String, Entry> =
        (0..count).map(|_| (reader.text(), reader.entry())).collect();
    let mut take = |key: &str| entries.remove(&format!("tokenizer.{key}")).unwrap_or(Entry::Other);
    let text = |entry| if let Entry::Text(text) = entry { Some(text) } else { None };
    let texts = |entry| if let Entry::Texts(texts) = entry { texts } else { Vec::new() };
    let id = |entry| if let Entry::Number(id) = entry { Some(id as u32) } else { None };
    let flag = |entry| if let Entry::Number(flag) = entry { Some(flag != 0) } else { None };
    GgufVocabulary {
        model: text(take("ggml.model")).unwrap_or_default(),
        pre: text(take("ggml.pre")),
        tokens: texts(take("ggml.tokens")),
        kinds: if let Entry::Integers(kinds) = take("ggml.token_type") {
            kinds
        } else {
            Vec::new()
        },
        scores: if let Entry::Floats(scores) = take("ggml.scores") { scores } else { Vec::new() },
        merges: if let Entry::Texts(merges) = take("ggml.merges") { Some(merges) } else { None },
        bos: id(take("ggml.bos_token_id")),
        eos: id(take("ggml.eos_token_id")),
        eot: id(take("ggml.eot_token_id")),
        unknown: id(take("ggml.unknown_token_id")),
        padding: id(take("ggml.padding_token_id")),
        add_bos: flag(take("ggml.add_bos_token")),
        add_eos: flag(take("ggml.add_eos_token")),
        add_space_prefix: flag(take("ggml.add_space_prefix")),
        template: text(take("chat_template")),
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }
    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().unwrap())
    }
    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().unwrap())
    }
    fn text(&mut self) -> String {
        let count = self.u64() as usize;
        String::from_utf8_lossy(self.take(count)).into_owned()
    }
    fn entry(&mut self) -> Entry {
        let kind = self.u32();
        match kind {
            8 => Entry::Text(self.text()),
            9 => {
                let (kind, count) = (self.u32(), self.u64());
                match kind {
                    8 => Entry::Texts((0..count).map(|_| self.text()).collect()),
                    5 => Entry::Integers((0..count).map(|_| self.u32() as i32).collect()),
                    6 => Entry::Floats((0..count).map(|_| f32::from_bits(self.u32())).collect()),
                    kind => {
                        self.take(width(kind) * count as usize);
                        Entry::Other
                    }
                }
            }
            kind => {
                let number = self.take(width(kind));
                Entry::Number(
                    number.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)),
                )
            }
        }
    }
}

fn width(kind: u32) -> usize {
    match kind {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        _ => 8,
    }
}
