"""Writes a Hugging Face folder of the family qwen3_moe (such as models/crumb) as a GGUF file, for llama.cpp.

    pip install gguf==0.19.0 numpy
    python3 to_gguf.py models/crumb crumb-bf16.gguf --type bf16

Reads config.json, model.safetensors and tokenizer.json (byte-level BPE, digits one by one: llama.cpp's pre-tokenizer
"smollm"). Norms and gates are always F32; with --type bf16 the matrices keep the bytes that the checkpoint has.
"""

import argparse
import json
from pathlib import Path

import gguf
import numpy as np

LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate": "ffn_gate_inp",
}
TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
EXPERT = {"gate_proj": "ffn_gate_exps", "up_proj": "ffn_up_exps", "down_proj": "ffn_down_exps"}


def checkpoint(path):
    """name -> array of bfloat16 bits (uint16)"""
    data = np.memmap(path, np.uint8, "r")
    size = int(data[:8].view("<u8")[0])
    header = json.loads(bytes(data[8 : 8 + size]))
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "BF16":
            raise SystemExit(f"{name} is {entry['dtype']}, not BF16")
        begin, end = entry["data_offsets"]
        tensors[name] = data[8 + size + begin : 8 + size + end].view("<u2").reshape(entry["shape"])
    return tensors


def add_config(out, config):
    if config["model_type"] != "qwen3_moe" or config.get("rope_scaling") or not config["norm_topk_prob"]:
        raise SystemExit("only qwen3_moe with normalized routing and plain RoPE")
    out.add_block_count(config["num_hidden_layers"])
    out.add_context_length(config["max_position_embeddings"])
    out.add_embedding_length(config["hidden_size"])
    out.add_feed_forward_length(config["intermediate_size"])
    out.add_expert_feed_forward_length(config["moe_intermediate_size"])
    out.add_expert_count(config["num_experts"])
    out.add_expert_used_count(config["num_experts_per_tok"])
    out.add_head_count(config["num_attention_heads"])
    out.add_head_count_kv(config["num_key_value_heads"])
    out.add_key_length(config["head_dim"])
    out.add_value_length(config["head_dim"])
    out.add_rope_freq_base(config["rope_theta"])
    out.add_layer_norm_rms_eps(config["rms_norm_eps"])
    out.add_vocab_size(config["vocab_size"])


def add_tokenizer(out, config, path):
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    steps = [step["type"] for step in tokenizer["pre_tokenizer"]["pretokenizers"]]
    if steps != ["Digits", "ByteLevel"] or tokenizer["normalizer"]:
        raise SystemExit(f"no pre-tokenizer of llama.cpp is known for {steps}")
    tokens = [None] * config["vocab_size"]
    for token, i in tokenizer["model"]["vocab"].items():
        tokens[i] = token
    types = [gguf.TokenType.NORMAL if token is not None else gguf.TokenType.UNUSED for token in tokens]
    for added in tokenizer["added_tokens"]:
        tokens[added["id"]] = added["content"]
        types[added["id"]] = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]]
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("smollm")
    out.add_token_list([f"[PAD{i}]" if token is None else token for i, token in enumerate(tokens)])
    out.add_token_types(types)
    out.add_token_merges(merges)
    out.add_bos_token_id(config["bos_token_id"])
    out.add_eos_token_id(config["eos_token_id"])
    out.add_add_bos_token(False)


def add_tensors(out, config, tensors, bf16):
    def add(name, bits):
        if bf16 and bits.ndim > 1 and "ffn_gate_inp" not in name:
            raw = np.ascontiguousarray(bits).view(np.uint8)
            out.add_tensor(name, raw, raw_dtype=gguf.GGMLQuantizationType.BF16)
        else:
            out.add_tensor(name, (bits.astype(np.uint32) << 16).view(np.float32))

    for source, target in TOP.items():
        if f"{source}.weight" in tensors:
            add(f"{target}.weight", tensors.pop(f"{source}.weight"))
    for layer in range(config["num_hidden_layers"]):
        for source, target in LAYER.items():
            add(f"blk.{layer}.{target}.weight", tensors.pop(f"model.layers.{layer}.{source}.weight"))
        for source, target in EXPERT.items():
            names = [f"model.layers.{layer}.mlp.experts.{e}.{source}.weight" for e in range(config["num_experts"])]
            add(f"blk.{layer}.{target}.weight", np.stack([tensors.pop(name) for name in names]))
    if tensors:
        raise SystemExit(f"not understood: {sorted(tensors)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="config.json, model.safetensors, tokenizer.json")
    parser.add_argument("out", type=Path)
    parser.add_argument("--type", choices=["f32", "bf16"], default="bf16")
    args = parser.parse_args()

    config = json.loads((args.folder / "config.json").read_text())
    out = gguf.GGUFWriter(args.out, "qwen3moe")
    out.add_name(args.folder.name)
    out.add_file_type(gguf.LlamaFileType.MOSTLY_BF16 if args.type == "bf16" else gguf.LlamaFileType.ALL_F32)
    add_config(out, config)
    add_tokenizer(out, config, args.folder / "tokenizer.json")
    add_tensors(out, config, checkpoint(args.folder / "model.safetensors"), args.type == "bf16")
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


if __name__ == "__main__":
    main()
