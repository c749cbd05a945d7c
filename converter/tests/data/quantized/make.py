"""Writes the checkpoints of this folder: small quantized weights, each beside the numbers it stands for.

    pip install torch numpy safetensors compressed-tensors bitsandbytes "mlx[cpu]"
    python make.py

Numbers come from the packages of those who defined a layout (bitsandbytes, compressed-tensors, MLX). GPTQ's and AWQ's
are worked out here, bit by bit; they were compared with gptqmodel 7.7 and autoawq 0.2.9. A tensor `expected/NAME`
holds what the weight NAME must be read as.
"""

import json
import os

import bitsandbytes.functional as bnb
import mlx.core as mx
import numpy as np
import torch
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
RANDOM = np.random.default_rng(23)
torch.manual_seed(23)
E2M1 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])


def save(name, quantization, tensors, **more):
    folder = os.path.join(HERE, name)
    os.makedirs(folder, exist_ok=True)
    config = {"model_type": "llama", **quantization}
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(config, file, indent=1)
        file.write("\n")
    tensors = {key: value.contiguous().clone() for key, value in tensors.items()}
    save_file(tensors, os.path.join(folder, "model.safetensors"))
    for file_name, value in more.items():
        with open(os.path.join(folder, file_name + ".json"), "w") as file:
            json.dump(value, file)


def words(rows, columns):
    return torch.from_numpy(RANDOM.integers(-(2**31), 2**31, (rows, columns), dtype=np.int64).astype(np.int32))


def scales(*shape, dtype=torch.float16):
    return torch.from_numpy(RANDOM.uniform(0.001, 0.1, shape)).to(dtype)


def stream(words, count, bits):
    """The first `count` codes of each row, whose words are one stream of bits, low first."""
    words = words.numpy().view(np.uint32).astype(np.uint64)
    codes = np.zeros((words.shape[0], count), dtype=np.int64)
    for index in range(count):
        for bit in range(bits):
            word, inside = divmod(index * bits + bit, 32)
            codes[:, index] |= ((words[:, word] >> np.uint64(inside)) & np.uint64(1)).astype(np.int64) << bit
    return codes


def gptq(module, inputs, outputs, groups, bits, plus, g_idx):
    own = {
        f"{module}.qweight": words(inputs * bits // 32, outputs),
        f"{module}.qzeros": words(groups, outputs * bits // 32),
        f"{module}.scales": scales(groups, outputs),
    }
    codes = stream(own[f"{module}.qweight"].T.contiguous(), inputs, bits)  # [outputs, inputs]
    zeros = (stream(own[f"{module}.qzeros"], outputs, bits) + plus) % 2**bits  # [groups, outputs]
    group = np.arange(inputs) // -(-inputs // groups)
    if g_idx:
        group = RANDOM.integers(0, groups, inputs)
        own[f"{module}.g_idx"] = torch.from_numpy(group.astype(np.int32))
    scale = own[f"{module}.scales"].float().numpy()
    expected = (codes - zeros[group].T) * scale[group].T
    own[f"expected/{module}.weight"] = torch.from_numpy(expected.astype(np.float32))
    return own


def awq(module, inputs, outputs, groups):
    own = {
        f"{module}.qweight": words(inputs, outputs // 8),
        f"{module}.qzeros": words(groups, outputs // 8),
        f"{module}.scales": scales(groups, outputs),
    }
    order = [0, 2, 4, 6, 1, 3, 5, 7]  # The column that each nibble of a word holds.

    def unpacked(packed):
        nibbles = stream(packed, outputs, 4)
        columns = np.empty_like(nibbles)
        for nibble, column in enumerate(order):
            columns[:, column::8] = nibbles[:, nibble::8]
        return columns

    group = np.arange(inputs) // (inputs // groups)
    codes, zeros = unpacked(own[f"{module}.qweight"]), unpacked(own[f"{module}.qzeros"])
    scale = own[f"{module}.scales"].float().numpy()
    expected = ((codes - zeros[group]) * scale[group]).T
    own[f"expected/{module}.weight"] = torch.from_numpy(expected.astype(np.float32))
    return own


def bits_and_bytes(name, shape, kind, nested):
    weight = torch.randn(shape)
    codes, state = bnb.quantize_4bit(weight, blocksize=64, quant_type=kind, compress_statistics=nested)
    own = {name: codes, f"expected/{name}": bnb.dequantize_4bit(codes, state).float()}
    own.update({f"{name}.{key}": value for key, value in state.as_dict(packed=True).items()})
    return own


def bits_and_bytes_int8(module, rows, columns):
    codes, stats, _ = bnb.int8_vectorwise_quant(torch.randn(rows, columns).half())
    return {
        f"{module}.weight": codes,
        f"{module}.SCB": stats,
        f"{module}.weight_format": torch.tensor(0, dtype=torch.uint8),
        f"expected/{module}.weight": bnb.int8_vectorwise_dequant(codes, stats),
    }


def packed(name, rows, columns, groups, bits, zero=False, g_idx=False, whole=False):
    half = 2 ** (bits - 1)
    codes = torch.randint(-half, half, (rows, columns), dtype=torch.int8)
    scale = scales(rows, groups, dtype=torch.bfloat16)
    group = torch.arange(columns) // -(-columns // groups)
    pack = pack_whole if whole else pack_to_int32
    own = {
        f"{name}_packed": pack(codes, bits),
        f"{name}_scale": scale,
        f"{name}_shape": torch.tensor([rows, columns]),
    }
    if g_idx:
        group = group[torch.randperm(columns)]
        own[f"{name}_g_idx"] = group.to(torch.int32)
    zeros = torch.zeros(rows, groups, dtype=torch.int8)
    if zero:
        zeros = torch.randint(-half, half, (rows, groups), dtype=torch.int8)
        own[f"{name}_zero_point"] = pack(zeros, bits, packed_dim=0)
    own[f"expected/{name}"] = (codes.float() - zeros.float()[:, group]) * scale.float()[:, group]
    return own


def pack_whole(codes, bits, packed_dim=1):
    """As older releases packed: as many codes in a word as fit whole."""
    codes = (codes.T if packed_dim == 0 else codes).numpy().astype(np.int64) + 2 ** (bits - 1)
    each = 32 // bits
    padded = np.pad(codes, ((0, 0), (0, -codes.shape[1] % each)))
    words = sum(padded[:, place::each] << (bits * place) for place in range(each))
    words = torch.from_numpy(words.astype(np.uint32).view(np.int32))
    return words.T.contiguous() if packed_dim == 0 else words


def float8(shape, dtype=torch.float8_e4m3fn):
    return torch.randn(shape).clamp(-3, 3).mul(100).to(dtype)


def scaled(name, codes, scale, expanded, ending="_scale", **more):
    own = {name: codes, name + ending: scale, f"expected/{name}": codes.float() * expanded.float()}
    own.update({name + key: value for key, value in more.items()})
    return own


def blocks(scale, rows, columns, shape):
    scale = scale.float().repeat_interleave(rows, -2).repeat_interleave(columns, -1)
    return scale[..., : shape[-2], : shape[-1]]


def four_bit_floats(rows, columns):
    codes = torch.randint(0, 16, (rows, columns), dtype=torch.uint8)
    values = E2M1[(codes & 7).long()] * torch.where(codes >= 8, -1.0, 1.0)
    return codes[:, ::2] | codes[:, 1::2] << 4, values


def mlx(name, shape, group, bits, mode="affine"):
    module = name.removesuffix(".weight")
    weight = mx.array(RANDOM.standard_normal(shape).astype(np.float32))
    own = {}
    parts = mx.quantize(weight, group_size=group, bits=bits, mode=mode)
    expected = mx.dequantize(*parts, group_size=group, bits=bits, mode=mode, dtype=mx.float32)
    for key, part in zip(["weight", "scales", "biases"], parts):
        own[f"{module}.{key}"] = torch.from_numpy(np.array(part))
    own[f"expected/{name}"] = torch.from_numpy(np.array(expected))
    return own


def main():
    save(
        "gptq",
        {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": True, "sym": False}},
        gptq("four", 64, 8, 2, 4, 1, True)
        | gptq("two", 64, 16, 2, 2, 1, False)
        | gptq("three", 64, 32, 2, 3, 1, True)
        | gptq("eight", 64, 8, 2, 8, 1, False)
        | gptq("one_group", 64, 8, 1, 4, 1, False),
    )
    save(
        "gptq_v2",
        {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 32, "checkpoint_format": "gptq_v2"}},
        gptq("four", 64, 8, 2, 4, 0, True) | gptq("three", 32, 32, 1, 3, 0, False),
    )
    save(
        "awq",
        {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm"}},
        awq("first", 64, 16, 2) | awq("second", 32, 8, 1),
    )
    save(
        "bitsandbytes",
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
        bits_and_bytes("nested.weight", (12, 100), "nf4", True)
        | bits_and_bytes("plain.weight", (8, 64), "nf4", False)
        | bits_and_bytes("fp4.weight", (9, 65), "fp4", True)
        | bits_and_bytes_int8("int8", 8, 48),
    )
    group = lambda bits, **more: {"weights": {"num_bits": bits, "type": "int", **more}, "targets": ["Linear"]}
    save(
        "compressed_packed",
        {
            "quantization_config": {
                "quant_method": "compressed-tensors",
                "format": "pack-quantized",
                "config_groups": {str(bits): group(bits, group_size=32) for bits in (2, 3, 4, 5, 8)},
            }
        },
        packed("four.weight", 8, 64, 2, 4)
        | packed("zero.weight", 16, 64, 2, 4, zero=True)
        | packed("ordered.weight", 8, 64, 2, 4, zero=True, g_idx=True)
        | packed("channel.weight", 8, 64, 1, 8)
        | packed("ragged.weight", 7, 50, 1, 4, zero=True)
        | packed("dense.weight", 12, 64, 2, 3, zero=True)
        | packed("whole.weight", 12, 64, 2, 3, zero=True, whole=True)
        | packed("five.weight", 4, 64, 2, 5)
        | packed("two.weight", 16, 64, 2, 2),
    )
    codes = [float8((8, 48)) for _ in range(4)]
    row, whole, ragged = scales(8, 1, dtype=torch.bfloat16), scales(1), scales(3, 2, dtype=torch.float32)
    int8 = torch.randint(-128, 128, (8, 48), dtype=torch.int8)
    zero = torch.randint(-128, 128, (8, 1), dtype=torch.int8)
    with_zero = scaled("with_zero.weight", int8, row, row, _zero_point=zero)
    with_zero["expected/with_zero.weight"] = (int8.float() - zero.float()) * row.float()
    save(
        "compressed_bytes",
        {
            "quantization_config": {
                "quant_method": "compressed-tensors",
                "format": "mixed-precision",
                "config_groups": {"0": {"format": "float-quantized", "weights": {"num_bits": 8, "type": "float"}}},
            }
        },
        scaled("row.weight", codes[0], row, row)
        | scaled("vector.weight", codes[1], row[:, 0], row)
        | scaled("whole.weight", codes[2], whole, whole)
        | scaled("int8.weight", int8, row, row)
        | with_zero,
    )
    experts = float8((3, 10, 40))
    expert_scales = scales(3, 2, 2, dtype=torch.float32)
    powers = torch.tensor([[120, 121, 127], [130, 119, 126]], dtype=torch.uint8).view(torch.float8_e8m0fnu)
    tall, wide = float8((20, 70)), float8((16, 70))
    tall_scales = scales(3, 3, dtype=torch.float32)
    save(
        "fp8_blocks",
        {"quantization_config": {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [8, 32]}},
        scaled("tall.weight", tall, tall_scales, blocks(tall_scales, 8, 32, tall.shape), "_scale_inv")
        | scaled("experts", experts, expert_scales, blocks(expert_scales, 8, 32, experts.shape), "_scale_inv")
        | scaled("scalar.weight", codes[3], torch.tensor(0.03), torch.tensor(0.03), "_scale_inv")
        | scaled("powers.weight", wide, powers, blocks(powers, 8, 32, wide.shape), "_scale_inv")
        | scaled("e5m2.weight", float8((8, 32), torch.float8_e5m2), torch.tensor([[0.5]]), torch.tensor(0.5), "_scale_inv")
        | {"scalar.activation_scale": torch.tensor(0.7), "plain.weight": torch.ones(2, 2)},
    )
    four, values = four_bit_floats(8, 64)
    fine = scales(8, 4, dtype=torch.float32).mul(100).to(torch.float8_e4m3fn)
    global_scale = torch.tensor([37.5])
    powers8 = torch.randint(115, 130, (8, 2), dtype=torch.uint8)
    spread = lambda scale, each: scale.float().repeat_interleave(each, 1)
    save(
        "compressed_floats",
        {"quantization_config": {"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized"}},
        {
            "nvfp4.weight_packed": four,
            "nvfp4.weight_scale": fine,
            "nvfp4.weight_global_scale": global_scale,
            "nvfp4.input_global_scale": global_scale,
            "expected/nvfp4.weight": values * (spread(fine, 16) / global_scale),
            "mxfp4.weight_packed": four,
            "mxfp4.weight_scale": powers8,
            "expected/mxfp4.weight": values * spread(2.0 ** (powers8.float() - 127), 32),
        },
    )
    save(
        "modelopt",
        {},
        {
            "fp8.weight": codes[0],
            "fp8.weight_scale": torch.tensor(0.02),
            "fp8.input_scale": torch.tensor(0.3),
            "fp8.k_scale": torch.tensor(0.3),
            "expected/fp8.weight": codes[0].float() * torch.tensor(0.02),
            "nvfp4.weight": four,
            "nvfp4.weight_scale": fine,
            "nvfp4.weight_scale_2": torch.tensor(0.004),
            "expected/nvfp4.weight": values * (spread(fine, 16) * torch.tensor(0.004)),
        },
        hf_quant_config={"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "MIXED_PRECISION"}},
    )
    settings = {"group_size": 32, "bits": 4, "mode": "affine", "head": {"group_size": 64, "bits": 8}}
    settings |= {f"bits{bits}": {"group_size": 32, "bits": bits} for bits in (2, 3, 5, 6)}
    settings |= {mode: {"group_size": group, "bits": bits, "mode": mode} for mode, group, bits in MODES}
    tensors = mlx("four.weight", (8, 64), 32, 4) | mlx("stack.weight", (3, 4, 64), 32, 4)
    tensors |= mlx("head.weight", (8, 64), 64, 8)
    for bits in (2, 3, 5, 6):
        tensors |= mlx(f"bits{bits}.weight", (8, 64), 32, bits)
    for mode, size, bits in MODES:
        tensors |= mlx(f"{mode}.weight", (8, 64), size, bits, mode)
    save("mlx", {"quantization": settings, "quantization_config": settings}, tensors)


MODES = [("mxfp4", 32, 4), ("nvfp4", 16, 4), ("mxfp8", 32, 8)]

if __name__ == "__main__":
    main()
