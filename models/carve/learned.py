"""The file of what was learned: everything that `apply.py` needs beside the dense model, in numpy's types.

Corrections are codes of five bits. The rest is float16 rather than bfloat16: the values are small and few, and it keeps three
more bits of them in the same space.
"""

import json

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import codes

MATRICES = ("query", "key", "value", "output", "gated", "up", "down")


def pack(path, student, orders, chosen, group):
    """Stacks each part over the layers: `order`, `gate`, norms, and planes and scales of `<matrix>.left` and `<matrix>.right`,
    both [layers, rank, width]."""
    layers = student.layers
    wide = lambda tensors: np.stack([tensor.detach().float().numpy() for tensor in tensors])
    stack = lambda tensors: wide(tensors).astype(np.float16)
    parts = {
        # The temperature is folded in: a gate's softmax has none.
        "gate": stack(layer.gate.weight * layer.gate.temperature() for layer in layers),
        "attention_norm": stack(layer.attention_norm for layer in layers),
        "feed_norm": stack(layer.feed_norm for layer in layers),
        "final_norm": student.final_norm.detach().float().numpy().astype(np.float16),
    }
    for name in MATRICES:
        if getattr(layers[0], name).rank:
            sides = {"left": wide(getattr(layer, name).left for layer in layers)}
            sides["right"] = wide(getattr(layer, name).right.T for layer in layers)
            for side, values in sides.items():
                parts[f"{name}.{side}.planes"], parts[f"{name}.{side}.scales"] = codes.encode(values)
    for name, part in parts.items():
        if not np.isfinite(part).all():
            raise SystemExit(f"{name} does not fit float16")
    parts["order"] = np.stack(orders).astype(np.uint16)
    save_file(parts, path, {"chosen": str(chosen), "group": str(group)})


def merged(arrays, parts):
    """The dense arrays with the neurons reordered, norms replaced and corrections added, in float32.

    The corrections of `gated`, `up` and `down` are in the new order of neurons."""
    result = {"embedding": arrays["embedding"], "final_norm": parts["final_norm"].astype(np.float32)}
    for layer, order in enumerate(parts["order"].astype(np.int64)):
        for name in MATRICES:
            matrix = arrays[f"{layer}.{name}"]
            if name in ("gated", "up"):
                matrix = matrix[order]
            elif name == "down":
                matrix = matrix[:, order]
            if f"{name}.left" in parts:
                left, right = parts[f"{name}.left"][layer], parts[f"{name}.right"][layer]
                matrix = matrix + right.T @ left
            result[f"{layer}.{name}"] = np.ascontiguousarray(matrix)
        for name in ("attention_norm", "feed_norm"):
            result[f"{layer}.{name}"] = parts[name][layer].astype(np.float32)
    return result


def load(path):
    """The parts, corrections as [layers, rank, width] in float32, and the numbers (`chosen`, `group`) of a learned file."""
    with safe_open(path, "np") as file:
        numbers = {name: int(value) for name, value in file.metadata().items()}
    parts = load_file(path)
    for name in [name.removesuffix(".planes") for name in parts if name.endswith(".planes")]:
        parts[name] = codes.decode(parts.pop(f"{name}.planes"), parts.pop(f"{name}.scales"))
    return parts, numbers


def write_file(path, stored, metadata):
    """A safetensors file of `name: (type, array)`, by hand because numpy has no bfloat16."""
    header, offset = {"__metadata__": metadata}, 0
    for name, (kind, array) in stored.items():
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, array in stored.values():
            file.write(array.tobytes())
