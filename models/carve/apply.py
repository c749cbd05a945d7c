"""Makes the carved checkpoint from the dense model's GGUF file and the learned file; a folder as Hugging Face's libraries and
`hardtack bake` read it.

    python3 models/carve/apply.py models/cache/smollm2-135m-instruct.gguf -o models/cache/smollm2-carved

It fits `qwen2_moe`: gates weigh every chosen expert by nearly 1/k, so k goes into the experts' output matrices; the shared
expert's gate is zero, so a sigmoid of one half, and two goes into its output matrix. Biases of queries, keys and values are
zero.
"""

import argparse
import json
import os
import shutil
from pathlib import Path

import numpy as np

import learned
from source import Source, tokenizer_json

SHARED_FACTOR = 2.0  # one over the sigmoid of zero


def bfloat16(array):
    """Rounded to nearest, ties to even, as two bytes each."""
    bits = np.ascontiguousarray(array, dtype=np.float32).view(np.uint32)
    rounded = bits + 0x7FFF + ((bits >> 16) & 1)
    return (rounded >> 16).astype(np.uint16)


def tensors(shape, arrays, parts, chosen, group):
    """The checkpoint's tensors by their names on the hub, in float32."""
    dense = learned.merged(arrays, parts)
    yield "model.embed_tokens.weight", dense["embedding"]
    yield "model.norm.weight", dense["final_norm"]
    routed = parts["gate"].shape[1]
    shared = shape.inner - routed * group
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}"
        yield f"{prefix}.input_layernorm.weight", dense[f"{layer}.attention_norm"]
        yield f"{prefix}.post_attention_layernorm.weight", dense[f"{layer}.feed_norm"]
        for ours, theirs in (("query", "q"), ("key", "k"), ("value", "v"), ("output", "o")):
            matrix = dense[f"{layer}.{ours}"]
            yield f"{prefix}.self_attn.{theirs}_proj.weight", matrix
            if theirs != "o":
                yield f"{prefix}.self_attn.{theirs}_proj.bias", np.zeros(len(matrix), np.float32)
        yield f"{prefix}.mlp.gate.weight", parts["gate"][layer].astype(np.float32)
        yield f"{prefix}.mlp.shared_expert_gate.weight", np.zeros((1, shape.hidden), np.float32)
        places = [("shared_expert", slice(0, shared), SHARED_FACTOR)]
        for expert in range(routed):
            first = shared + expert * group
            places.append((f"experts.{expert}", slice(first, first + group), float(chosen)))
        for place, neurons, factor in places:
            yield f"{prefix}.mlp.{place}.gate_proj.weight", dense[f"{layer}.gated"][neurons]
            yield f"{prefix}.mlp.{place}.up_proj.weight", dense[f"{layer}.up"][neurons]
            yield f"{prefix}.mlp.{place}.down_proj.weight", dense[f"{layer}.down"][:, neurons] * factor


def config(shape, vocabulary, routed, chosen, group):
    return {
        "architectures": ["Qwen2MoeForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": vocabulary.begin,
        "decoder_sparse_step": 1,
        "dtype": "bfloat16",
        "eos_token_id": vocabulary.end,
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "initializer_range": 0.02,
        "intermediate_size": shape.inner,
        "max_position_embeddings": shape.context,
        "mlp_only_layers": [],
        "model_type": "qwen2_moe",
        "moe_intermediate_size": group,
        "norm_topk_prob": True,
        "num_attention_heads": shape.heads,
        "num_experts": routed,
        "num_experts_per_tok": chosen,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "output_router_logits": False,
        "pad_token_id": vocabulary.padding,
        "qkv_bias": True,
        "rms_norm_eps": shape.epsilon,
        "rope_parameters": {"rope_theta": shape.rope_base, "rope_type": "default"},
        "rope_theta": shape.rope_base,
        "router_aux_loss_coef": 0.0,
        "shared_expert_intermediate_size": shape.inner - routed * group,
        "tie_word_embeddings": True,
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": shape.vocabulary,
    }


def tokenizer_config(shape, vocabulary):
    return {
        "add_prefix_space": False,
        "additional_special_tokens": [vocabulary.tokens[vocabulary.begin], vocabulary.tokens[vocabulary.end]],
        "bos_token": vocabulary.tokens[vocabulary.begin],
        "chat_template": vocabulary.template,
        "clean_up_tokenization_spaces": False,
        "eos_token": vocabulary.tokens[vocabulary.end],
        "model_max_length": shape.context,
        "pad_token": vocabulary.tokens[vocabulary.padding],
        "tokenizer_class": "GPT2Tokenizer",
        "unk_token": vocabulary.tokens[vocabulary.unknown],
    }


def write(source, parts, numbers, folder):
    chosen, group = numbers["chosen"], numbers["group"]
    shape, vocabulary = source.shape, source.vocabulary
    stored = {}
    for name, array in tensors(shape, source.arrays(), parts, chosen, group):
        stored[name] = ("BF16", bfloat16(array))
    learned.write_file(folder / "model.safetensors", stored, {"format": "pt"})
    files = {
        "config.json": config(shape, vocabulary, parts["gate"].shape[1], chosen, group),
        "generation_config.json": {
            "bos_token_id": vocabulary.begin,
            "eos_token_id": vocabulary.end,
            "pad_token_id": vocabulary.padding,
        },
        "tokenizer.json": tokenizer_json(vocabulary),
        "tokenizer_config.json": tokenizer_config(shape, vocabulary),
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("dense", type=Path, help="the dense model's GGUF file")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the folder to make")
    parser.add_argument("--learned", type=Path, default=Path(__file__).parent / "learned.safetensors")
    arguments = parser.parse_args()
    if arguments.out.exists():
        raise SystemExit(f"{arguments.out} is there already")
    parts, numbers = learned.load(arguments.learned)
    scratch = arguments.out.with_name(f"{arguments.out.name}.part-{os.getpid()}")
    scratch.mkdir(parents=True)
    try:
        write(Source(arguments.dense), parts, numbers, scratch)
        scratch.rename(arguments.out)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    print(f"{arguments.out}: {parts['gate'].shape[1]} routed experts of {numbers['group']}, {numbers['chosen']} active")


if __name__ == "__main__":
    main()
