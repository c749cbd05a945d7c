"""The dense model as arrays: reads a GGUF file of the llama architecture, undoes its order of query and key rows, and turns
its vocabulary into a `tokenizer.json`."""

from dataclasses import dataclass

import gguf
import numpy as np

CONTROL = 3  # GGUF's token type for control tokens
LAYER_TENSORS = {
    "attention_norm": "attn_norm",
    "query": "attn_q",
    "key": "attn_k",
    "value": "attn_v",
    "output": "attn_output",
    "feed_norm": "ffn_norm",
    "gated": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}


@dataclass(frozen=True)
class Shape:
    """The dense model's sizes."""

    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    vocabulary: int
    context: int
    rope_base: float
    epsilon: float

    @property
    def head_dim(self):
        return self.hidden // self.heads


@dataclass(frozen=True)
class Vocabulary:
    """What a `tokenizer.json` and its settings need."""

    tokens: list
    kinds: list
    merges: list
    begin: int
    end: int
    unknown: int
    padding: int
    template: str

    def special(self):
        return [index for index, kind in enumerate(self.kinds) if kind == CONTROL]


class Source:
    """An opened GGUF file."""

    def __init__(self, path):
        self.reader = gguf.GGUFReader(path)
        architecture = self._field("general.architecture")
        if architecture != "llama":
            raise SystemExit(f"{path}: architecture {architecture}, expected llama")
        if self._field("tokenizer.ggml.pre") != "smollm":
            raise SystemExit(f"{path}: pre-tokenizer {self._field('tokenizer.ggml.pre')}, expected smollm")
        self.shape = Shape(
            layers=self._field("llama.block_count"),
            hidden=self._field("llama.embedding_length"),
            inner=self._field("llama.feed_forward_length"),
            heads=self._field("llama.attention.head_count"),
            kv_heads=self._field("llama.attention.head_count_kv"),
            vocabulary=len(self._field("tokenizer.ggml.tokens")),
            context=self._field("llama.context_length"),
            rope_base=self._field("llama.rope.freq_base"),
            epsilon=round(self._field("llama.attention.layer_norm_rms_epsilon"), 10),
        )
        self.vocabulary = Vocabulary(
            tokens=self._field("tokenizer.ggml.tokens"),
            kinds=self._field("tokenizer.ggml.token_type"),
            merges=self._field("tokenizer.ggml.merges"),
            begin=self._field("tokenizer.ggml.bos_token_id"),
            end=self._field("tokenizer.ggml.eos_token_id"),
            unknown=self._field("tokenizer.ggml.unknown_token_id"),
            padding=self._field("tokenizer.ggml.padding_token_id"),
            template=self._field("tokenizer.chat_template"),
        )

    def _field(self, key):
        if key not in self.reader.fields:
            raise SystemExit(f"the GGUF file has no {key}")
        return self.reader.fields[key].contents()

    def arrays(self):
        """All tensors in float32 by our names: `embedding`, `final_norm`, and `<layer>.<part>` (rows are outputs)."""
        names = {"token_embd.weight": "embedding", "output_norm.weight": "final_norm"}
        for layer in range(self.shape.layers):
            for ours, theirs in LAYER_TENSORS.items():
                names[f"blk.{layer}.{theirs}.weight"] = f"{layer}.{ours}"
        arrays = {}
        for tensor in self.reader.tensors:
            if tensor.name not in names:
                raise SystemExit(f"the GGUF file has a tensor {tensor.name} that this recipe does not know")
            array = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            array = array.astype(np.float32).reshape([int(size) for size in reversed(tensor.shape)])
            name = names.pop(tensor.name)
            if name.endswith((".query", ".key")):
                array = halves(array, self.shape.head_dim)
            arrays[name] = np.ascontiguousarray(array)
        if names:
            raise SystemExit(f"the GGUF file lacks {sorted(names)[0]}")
        return arrays


def halves(rows, head_dim):
    """GGUF's llama files turn side by side what Hugging Face's turn half a head apart."""
    heads = rows.shape[0] // head_dim
    return rows.reshape(heads, head_dim // 2, 2, -1).swapaxes(1, 2).reshape(rows.shape)


def tokenizer_json(vocabulary):
    """The vocabulary as Hugging Face's tokenizers read it."""
    special = [
        {
            "id": index,
            "content": vocabulary.tokens[index],
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for index in vocabulary.special()
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level],
        },
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: index for index, token in enumerate(vocabulary.tokens)},
            "merges": [merge.split(" ") for merge in vocabulary.merges],
        },
    }
