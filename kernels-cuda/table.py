#!/usr/bin/env python3
"""Holds KERNELS.md to what the compiler says: fails on spills and on a table that is old.

    table.py [--write] < lines

It also works out the table of predictions, which is arithmetic on the shapes below.
"""

import json
import pathlib
import sys

PAGE = pathlib.Path(__file__).resolve().parent / "KERNELS.md"
ARCHITECTURES = {72: "Xavier", 87: "Orin", 90: "H100, H200", 110: "Thor"}
BANDWIDTHS = {"AGX Orin": 204e9, "AGX Thor": 273e9}
# Bits of a weight in a tile, its share of scale and minimum included.
BITS = {"q2": 2.5, "q3": 3.5, "q4": 4.5, "q6": 6.5}
# Tokens already kept, in f16.
CONTEXT = 1024

OLMOE = dict(
    name="OLMoE-1B-7B",
    hidden=2048,
    layers=16,
    heads=16,
    kv_heads=16,
    head_dim=128,
    experts=64,
    chosen=8,
    inner=1024,
    vocabulary=50304,
)
QWEN3 = dict(
    name="Qwen3-30B-A3B",
    hidden=2048,
    layers=48,
    heads=32,
    kv_heads=4,
    head_dim=128,
    experts=128,
    chosen=8,
    inner=768,
    vocabulary=151936,
)


def compiled(kernels: list[dict]) -> str:
    names = sorted({kernel["kernel"] for kernel in kernels})
    found = {(kernel["kernel"], kernel["arch"]): kernel for kernel in kernels}
    head = " | ".join(f"sm_{arch} ({device})" for arch, device in ARCHITECTURES.items())
    lines = [f"| kernel | {head} | shared bytes |", "|---|" + "---|" * (len(ARCHITECTURES) + 1)]
    for name in names:
        own = [found[name, arch] for arch in ARCHITECTURES]
        cells = " | ".join(f"{kernel['registers']}, {kernel['spills']}" for kernel in own)
        lines.append(f"| `{name}` | {cells} | {max(kernel['shared'] for kernel in own)} |")
    return "\n".join(lines)


def token_bytes(shape: dict, matrices: str, head: str) -> float:
    """Bytes that one token moves: each matrix it reads, and keys and values of earlier tokens."""
    query, cached = shape["heads"] * shape["head_dim"], shape["kv_heads"] * shape["head_dim"]
    attention = shape["hidden"] * (2 * query + 2 * cached)
    experts = shape["chosen"] * 3 * shape["hidden"] * shape["inner"]
    gate = 4 * shape["experts"] * shape["hidden"]
    layer = (attention + experts) * BITS[matrices] / 8 + gate + CONTEXT * 2 * cached * 2
    return shape["layers"] * layer + shape["vocabulary"] * shape["hidden"] * BITS[head] / 8


def predicted() -> str:
    heads = " | ".join(f"{name}: most, at 60 %" for name in BANDWIDTHS)
    lines = [
        f"| model | matrices | MB a token | {heads} |",
        "|---|---|---|" + "---|" * len(BANDWIDTHS),
    ]
    for shape in (OLMOE, QWEN3):
        for matrices in ("q2", "q4"):
            moved = token_bytes(shape, matrices, "q6")
            cells = " | ".join(
                f"{rate / moved:.0f}, {0.6 * rate / moved:.0f}" for rate in BANDWIDTHS.values()
            )
            lines.append(f"| {shape['name']} | {matrices} | {moved / 1e6:.0f} | {cells} |")
    return "\n".join(lines)


def put(page: str, mark: str, table: str) -> str:
    begin, end = f"<!-- {mark} -->\n", f"\n<!-- end of {mark} -->"
    before, rest = page.split(begin)
    return before + begin + table + end + rest.split(end)[1]


def main() -> None:
    kernels = [json.loads(line) for line in sys.stdin]
    if {kernel["arch"] for kernel in kernels} != set(ARCHITECTURES):
        sys.exit("not every architecture was compiled")
    spilling = [
        f"{kernel['kernel']} on sm_{kernel['arch']}"
        for kernel in kernels
        if kernel["spills"] or kernel["stack"]
    ]
    if spilling:
        sys.exit("registers are spilled, or arrays kept in memory, by " + ", ".join(spilling))
    old = PAGE.read_text()
    new = put(put(old, "compiled", compiled(kernels)), "predicted", predicted())
    if "--write" in sys.argv:
        PAGE.write_text(new)
    elif new != old:
        sys.exit("kernels-cuda/KERNELS.md is not what the compiler says: .ci/cuda --write")
    print(f"{len(kernels)} kernels compiled, none spills")


if __name__ == "__main__":
    main()
