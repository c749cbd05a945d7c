//! The pre-tokenizers that GGUF files name, written as Hugging Face's `tokenizer.json` has them.

use serde_json::{Value, json};

/// Every name that is known, for messages.
pub const NAMES: [&str; 14] = [
    "smollm",
    "gpt-2",
    "llama-bpe",
    "llama3",
    "llama-v3",
    "qwen2",
    "olmo",
    "dbrx",
    "deepseek-llm",
    "refact",
    "starcoder",
    "gpt-4o",
    "llama4",
    "default",
];

/// What a name of `tokenizer.ggml.pre` stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct PreTokenizer {
    /// Field `pre_tokenizer` of `tokenizer.json`.
    pub pre_tokenizer: Value,
    /// Field `normalizer`.
    pub normalizer: Value,
    /// Field `model.ignore_merges`: a piece that is a token is taken whole.
    pub ignore_merges: bool,
    /// Whether a text starts with the begin token where the file does not say.
    pub add_begin: bool,
}

/// The pre-tokenizer of that name, or `None`: a wrong guess would give wrong tokens without a sign.
pub fn by_name(name: &str) -> Option<PreTokenizer> {
    let plain = |steps: Vec<Value>| PreTokenizer {
        pre_tokenizer: json!({ "type": "Sequence", "pretokenizers": steps }),
        normalizer: Value::Null,
        ignore_merges: false,
        add_begin: false,
    };
    Some(match name {
        "gpt-2" => plain(vec![byte_level(GPT2)]),
        "olmo" => PreTokenizer { normalizer: json!({ "type": "NFC" }), ..plain(vec![byte_level(GPT2)]) },
        "smollm" | "refact" | "starcoder" => plain(vec![single_digits(), byte_level(GPT2)]),
        "llama-bpe" | "llama3" | "llama-v3" => {
            PreTokenizer { ignore_merges: true, add_begin: true, ..plain(vec![split(CL100K), byte_level(AS_IT_IS)]) }
        }
        "dbrx" => plain(vec![split(CL100K), byte_level(AS_IT_IS)]),
        "qwen2" => {
            PreTokenizer { normalizer: json!({ "type": "NFC" }), ..plain(vec![split(QWEN2), byte_level(AS_IT_IS)]) }
        }
        "gpt-4o" | "llama4" => PreTokenizer { ignore_merges: true, ..plain(vec![split(O200K), byte_level(AS_IT_IS)]) },
        "deepseek-llm" => plain(vec![
            split("[\r\n]"),
            split(&format!(r"\s?[{CASED_LETTERS}]+")),
            split(r"\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+"),
            split(r"\s+$"),
            split(r"[\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+"),
            single_digits(),
            byte_level(AS_IT_IS),
        ]),
        // llama.cpp's splits for files that do not name theirs.
        "default" => plain(vec![
            split(r"[\p{P}\$\+<=>\^~\|]+"),
            split(GPT2_SPLIT),
            split(r"\p{N}+"),
            split("[0-9][0-9][0-9]"),
            byte_level(AS_IT_IS),
        ]),
        _ => return None,
    })
}

/// Whether `ByteLevel` splits by GPT-2's pattern before it maps bytes to characters.
const GPT2: bool = true;
const AS_IT_IS: bool = false;

fn byte_level(use_regex: bool) -> Value {
    json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex })
}

fn single_digits() -> Value {
    json!({ "type": "Digits", "individual_digits": true })
}

fn split(pattern: &str) -> Value {
    json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false })
}

const GPT2_SPLIT: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)";

const CL100K: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

const QWEN2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

const O200K: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// The letters of scripts with upper and lower case, as deepseek-llm's `tokenizer.json` lists them;
/// in escapes, because a text editor that normalizes Unicode would make `\x{212A}` (Kelvin) a plain K and widen a range.
const CASED_LETTERS: &str = concat!(
    r"A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}\x{295}-\x{2AF}",
    r"\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}",
    r"\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}",
    r"\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}",
    r"\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}",
    r"\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}",
    r"\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}",
    r"\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}",
    r"\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}",
    r"\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}",
    r"\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}",
    r"\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}",
    r"\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}",
);
