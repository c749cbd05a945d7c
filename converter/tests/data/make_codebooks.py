"""Writes the codebooks of GGUF's IQ layouts, packed, to converter/src/source/dequantize/codebooks.rs.

Needs the packages `gguf` (0.19) and `numpy`. Run in this folder: python3 make_codebooks.py
"""

import numpy as np
from gguf import quants

HEAD = '''//! The codebooks of GGUF's IQ layouts: lattice points that their inventors chose, as published in
//! ggml and gguf-py.
//!
//! An entry is one point packed into a number: coordinate `k` is the field of `w` bits at bit
//! `w * k`, and counts steps of the list of values in `iq.rs`. tests/data/make_codebooks.py writes
//! this file.
'''

BOOKS = [
    ("IQ1", quants.IQ1_S, 2, "IQ1_S and IQ1_M: eight of -1, 0, 1"),
    ("IQ2_XXS", quants.IQ2_XXS, 2, "IQ2_XXS: eight of 8, 25, 43"),
    ("IQ2_XS", quants.IQ2_XS, 2, "IQ2_XS: eight of 8, 25, 43"),
    ("IQ2_S", quants.IQ2_S, 2, "IQ2_S: eight of 8, 25, 43"),
    ("IQ3_XXS", quants.IQ3_XXS, 3, "IQ3_XXS: four of 4, 12, 20, 28, 36, 44, 52, 62"),
    ("IQ3_S", quants.IQ3_S, 3, "IQ3_S: four of 1, 3, 5, 7, 9, 11, 13, 15"),
]

lines = [HEAD]
for name, kind, width, about in BOOKS:
    kind.init_grid()
    points = np.asarray(kind.grid).reshape(kind.grid_shape)
    values = list(kind.grid_map)
    assert points.shape[1] * width <= 16 and len(values) <= 1 << width
    packed = [sum(values.index(value) << (width * k) for k, value in enumerate(point)) for point in points]
    assert len(set(packed)) == len(packed)
    lines.append(f"/// {about}.")
    lines.append(f"pub const {name}: [u16; {len(packed)}] = [")
    for start in range(0, len(packed), 14):
        lines.append("    " + " ".join(f"0x{entry:04x}," for entry in packed[start : start + 14]))
    lines.append("];\n")
with open("../../src/source/dequantize/codebooks.rs", "w") as file:
    file.write("\n".join(lines).rstrip("\n") + "\n")
