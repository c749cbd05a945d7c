"""Makes tiny.gguf (one tensor of each kind, and metadata of each kind) and dequantize.safetensors (what they mean).

Needs the packages `gguf` (0.19) and `numpy`. Run in this folder: python3 make_dequantize.py
"""

import json
import struct

import numpy as np
from gguf import GGUFWriter, GGMLQuantizationType as Kind, GGUFValueType, GGML_QUANT_SIZES
from gguf.quants import dequantize

random = np.random.default_rng(20240607)

# Where each block layout keeps its half-precision scales.
HALVES = {
    Kind.Q4_0: [0], Kind.Q4_1: [0, 2], Kind.Q5_0: [0], Kind.Q5_1: [0, 2], Kind.Q8_0: [0],
    Kind.Q2_K: [80, 82], Kind.Q3_K: [108], Kind.Q4_K: [0, 2], Kind.Q5_K: [0, 2], Kind.Q6_K: [208],
    Kind.MXFP4: [],
}


def blocks(kind, rows, columns):
    """Random blocks: every bit pattern is valid except in the scales, which must be finite."""
    length, size = GGML_QUANT_SIZES[kind]
    data = random.integers(0, 256, (rows, columns // length, size), dtype=np.uint8)
    for offset in HALVES[kind]:
        halves = random.uniform(-0.1, 0.1, data.shape[:2]).astype(np.float16)
        data[:, :, offset : offset + 2] = halves[..., None].view(np.uint8)
    if kind == Kind.MXFP4:
        data[:, :, 0] = random.integers(100, 140, data.shape[:2])
        data[0, 0, 0] = 0
        data[0, 1, 0] = 1
    return data.reshape(rows, -1)


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, array in tensors.items():
        start = len(data)
        data += array.tobytes()
        dtype = {"float32": "F32", "uint8": "U8"}[str(array.dtype)]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [start, len(data)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


writer = GGUFWriter("tiny.gguf", "llama")
writer.add_uint8("test.u8", 200)
writer.add_int8("test.i8", -100)
writer.add_uint16("test.u16", 60000)
writer.add_int16("test.i16", -30000)
writer.add_uint32("test.u32", 4000000000)
writer.add_int32("test.i32", -2000000000)
writer.add_uint64("test.u64", 2**63)
writer.add_int64("test.i64", -(2**62))
writer.add_float32("test.f32", 0.1)
writer.add_float64("test.f64", 0.25)
writer.add_bool("test.bool", True)
writer.add_string("test.string", "a ship's biscuit, « très dur »")
writer.add_array("test.strings", ["", "zwie", "back ☃"])
writer.add_array("test.i32s", [-1, 0, 7])
writer.add_array("test.f32s", [0.5, -0.25])
writer.add_array("test.bools", [True, False])
writer.add_key_value("test.u64s", [1, 2], GGUFValueType.ARRAY, sub_type=GGUFValueType.UINT64)

expected = {}
for kind in HALVES:
    length, _ = GGML_QUANT_SIZES[kind]
    rows, shape = (6, [2, 3, 64]) if length == 32 else (2, [2, 256])
    data = blocks(kind, rows, shape[-1])
    name = f"{kind.name.lower()}.weight"
    writer.add_tensor(name, data.reshape(*shape[:-1], -1), raw_dtype=kind)
    expected[name] = dequantize(data, kind).astype(np.float32).reshape(shape)

plain = random.normal(size=(3, 5)).astype(np.float32)
writer.add_tensor("f32.weight", plain)
expected["f32.weight"] = plain
writer.add_tensor("f16.weight", plain.astype(np.float16))
expected["f16.weight"] = plain.astype(np.float16).astype(np.float32)
writer.add_tensor("f64.weight", plain.astype(np.float64))
expected["f64.weight"] = plain
bf16 = (plain.view(np.uint32) >> 16).astype(np.uint16)
writer.add_tensor("bf16.weight", bf16.view(np.uint8), raw_dtype=Kind.BF16)
expected["bf16.weight"] = (bf16.astype(np.uint32) << 16).view(np.float32)
writer.add_tensor("iq2_xxs.weight", np.zeros((1, 66), np.uint8), raw_dtype=Kind.IQ2_XXS)
writer.add_tensor("i32.weight", np.arange(3, dtype=np.int32))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()

# The layout of Hugging Face's GPT-OSS: neighbours share a byte, low nibble first.
hf_blocks = random.integers(0, 256, (2, 3, 2, 16), dtype=np.uint8)
hf_scales = random.integers(100, 140, (2, 3, 2), dtype=np.uint8)
hf_scales[0, 0, 0] = 0
values = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
values = np.concatenate([values, -values])
pairs = np.stack([values[hf_blocks & 15], values[hf_blocks >> 4]], axis=-1).reshape(2, 3, 2, 32)
expected["hf_blocks"] = hf_blocks
expected["hf_scales"] = hf_scales
expected["hf_expected"] = np.ldexp(pairs, hf_scales[..., None].astype(np.int32) - 127).reshape(2, 3, 64).astype(np.float32)
write_safetensors("dequantize.safetensors", expected)
