//! Byte-level BPE tokenizers with ChatML's markers, as Hugging Face writes them.

use serde_json::{Map, Value, json};

/// What marks a turn's begin and its end.
pub const TURN: [&str; 2] = ["<|im_start|>", "<|im_end|>"];

/// ChatML.
pub const TEMPLATE: &str = "{% for message in messages %}\
    <|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n\
    {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// GPT-2's `bytes_to_unicode`: a printable byte is its own letter, the rest have those from U+0100
/// on.
pub fn bytes_as_letters() -> Vec<char> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut beyond = (0x100..).filter_map(char::from_u32);
    (0..=u8::MAX)
        .map(|byte| if printable(&byte) { char::from(byte) } else { beyond.next().unwrap() })
        .collect()
}

/// An entry of `added_tokens`.
pub fn added(id: u64, content: &str, special: bool) -> Value {
    json!({
        "id": id, "content": content, "special": special, "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": false,
    })
}

/// A `tokenizer.json` with these pieces from id 0 on, and merges of two pieces each.
pub fn tokenizer(pieces: &[String], merges: Value, added: &[Value]) -> Value {
    let ids = pieces.iter().zip(0..).map(|(piece, id): (_, u32)| (piece.clone(), json!(id)));
    let vocabulary: Map<String, Value> = ids.collect();
    let byte_level = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
    });
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": null, "pre_tokenizer": byte_level, "post_processor": null,
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": false, "vocab": vocabulary, "merges": merges,
        },
    })
}
