"""Writes kinds.json: what the Python package `gguf` makes of pseudo-random blocks of each of its layouts, as a hash.

The blocks come from SplitMix64, seeded with the layout's number in ggml; their scales are then made small and finite
(see `blocks`). ../source_gguf_kinds.rs makes the same ones. Beside the hash stand the first numbers.

Needs the packages `gguf` (0.19), `numpy` and `blake3`. Run in this folder: python3 make_kinds.py
"""

import json

import numpy as np
from blake3 import blake3
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Kind
from gguf.quants import dequantize

BLOCKS = 1024

# The high bytes of half-precision scales: their topmost exponent bit is cleared.
HALVES = {
    Kind.Q4_0: [1], Kind.Q4_1: [1, 3], Kind.Q5_0: [1], Kind.Q5_1: [1, 3], Kind.Q8_0: [1],
    Kind.Q2_K: [81, 83], Kind.Q3_K: [109], Kind.Q4_K: [1, 3], Kind.Q5_K: [1, 3], Kind.Q6_K: [209],
    Kind.TQ1_0: [53], Kind.TQ2_0: [65], Kind.MXFP4: [], Kind.NVFP4: [],
    Kind.IQ1_S: [1], Kind.IQ1_M: [55], Kind.IQ2_XXS: [1], Kind.IQ2_XS: [1], Kind.IQ2_S: [1],
    Kind.IQ3_XXS: [1], Kind.IQ3_S: [1], Kind.IQ4_NL: [1], Kind.IQ4_XS: [1],
}


def split_mix(seed, count):
    with np.errstate(over="ignore"):
        step = np.uint64(0x9E3779B97F4A7C15)
        z = np.uint64(seed) + step * np.arange(1, count + 1, dtype=np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def blocks(kind):
    size = GGML_QUANT_SIZES[kind][1]
    data = split_mix(int(kind), BLOCKS * size // 8).astype("<u8").view(np.uint8).reshape(BLOCKS, size).copy()
    for place in HALVES[kind]:
        data[:, place] &= 0xBF
    if kind == Kind.MXFP4:
        data[:, 0] = 64 + (data[:, 0] & 127)
    return data


expected = {}
for kind in HALVES:
    # Zeros lose their sign.
    numbers = dequantize(blocks(kind), kind).astype("<f4").reshape(-1) + np.float32(0)
    assert np.isfinite(numbers).all()
    first = [float(number) for number in numbers[:4]]
    expected[kind.name] = {"type": int(kind), "first": first, "blake3": blake3(numbers.tobytes()).hexdigest()}
with open("kinds.json", "w") as file:
    file.write("{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(own)}" for name, own in expected.items()) + "\n}\n")
