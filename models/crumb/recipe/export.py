"""Writes a trained mixture as a Hugging Face folder of the family qwen3_moe, in bfloat16."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from network import Network, Shape
from text import END

LONGEST = 2048  # positions the configuration promises; trained on Shape.context


def tensors(network: Network) -> dict[str, torch.Tensor]:
    found = {"model.embed_tokens.weight": network.embedding, "model.norm.weight": network.final_norm}
    for index, layer in enumerate(network.layers):
        prefix = f"model.layers.{index}."
        attention = prefix + "self_attn."
        found |= {
            prefix + "input_layernorm.weight": layer.attention_norm,
            prefix + "post_attention_layernorm.weight": layer.feed_forward_norm,
            attention + "q_norm.weight": layer.query_norm,
            attention + "k_norm.weight": layer.key_norm,
            attention + "q_proj.weight": layer.query,
            attention + "k_proj.weight": layer.key,
            attention + "v_proj.weight": layer.value,
            attention + "o_proj.weight": layer.output,
        }
        block = layer.feed_forward
        found[prefix + "mlp.gate.weight"] = block.gate
        for expert, (up, down) in enumerate(zip(block.up, block.down)):
            gate, value = up.chunk(2)
            found |= {
                f"{prefix}mlp.experts.{expert}.gate_proj.weight": gate,
                f"{prefix}mlp.experts.{expert}.up_proj.weight": value,
                f"{prefix}mlp.experts.{expert}.down_proj.weight": down,
            }
    return {name: tensor.detach().to("cpu", torch.bfloat16).contiguous() for name, tensor in found.items()}


def configuration(shape: Shape) -> dict:
    return {
        "architectures": ["Qwen3MoeForCausalLM"],
        "model_type": "qwen3_moe",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_size,
        "hidden_act": "silu",
        "max_position_embeddings": LONGEST,
        "rms_norm_eps": shape.norm_epsilon,
        "rope_theta": shape.rope_theta,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
        "use_sliding_window": False,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "torch_dtype": "bfloat16",
        "num_experts": shape.experts,
        "num_experts_per_tok": shape.chosen,
        "moe_intermediate_size": shape.inner,
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "router_aux_loss_coef": 0.01,
    }


def export(network: Network, tokenizer: Path, folder: Path) -> None:
    """Written beside and renamed, so that a checkpoint is whole or absent. Other files of `folder` stay."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "config.json": json.dumps(configuration(network.shape), indent=2) + "\n",
        "generation_config.json": json.dumps({"bos_token_id": 0, "eos_token_id": 0}, indent=2) + "\n",
        "tokenizer_config.json": json.dumps(
            {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END, "eos_token": END,
             "add_bos_token": True, "add_eos_token": False, "model_max_length": LONGEST}, indent=2) + "\n",
    }
    for name, content in texts.items():
        (folder / name).write_text(content)
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    partial = folder / "model.safetensors.partial"
    save_file(tensors(network), partial, metadata={"format": "pt"})
    partial.rename(folder / "model.safetensors")
