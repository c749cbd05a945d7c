#!/usr/bin/env python3
"""Decoding after a long text beside llama.cpp, by how keys and values are kept, in one run.

    python3 kernels/depth.py --hardtack HARDTACK --llama llama-bench smollm2.tack smollm2.gguf

Rounds of all ways in turns, medians; "kept" is the median of each round's speed after the text as
a share of the same round's speed at the beginning. The output is a table in Markdown; what was
measured goes to standard error as it comes.
"""

import argparse
import json
import statistics
import subprocess
import sys


def ours(options, depth, ring):
    command = [
        options.hardtack,
        "bench",
        options.blob,
        "--json",
        "--runs",
        "1",
        "-t",
        str(options.threads),
    ]
    command += [
        "--ctx",
        str(options.depth + 128),
        "--batch",
        "512",
        "--prompt",
        str(max(depth, 1)),
        "--decode",
        str(options.decode),
    ]
    command += ["--kernels", options.kernels] if options.kernels else []
    command += ["--kv", options.kv, "--kv-bits", ring] if ring else []
    report = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(report)["decode_tokens_per_second"]


def theirs(options, depth, kind):
    command = [
        options.llama,
        "-m",
        options.gguf,
        "-r",
        "1",
        "-o",
        "json",
        "-fa",
        "1",
        "-t",
        str(options.threads),
    ]
    command += ["-p", "0", "-n", str(options.decode), "-d", str(depth), "-ctk", kind, "-ctv", kind]
    report = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(report)[0]["avg_ts"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hardtack", required=True)
    parser.add_argument("--llama", required=True, help="llama-bench")
    parser.add_argument("--kernels", help="tier of ours; without it, the fastest")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--depth", type=int, default=8064)
    parser.add_argument("--decode", type=int, default=64)
    parser.add_argument(
        "--kv", default="160MiB", help="bytes of the ring: enough for the whole text"
    )
    parser.add_argument("blob")
    parser.add_argument("gguf")
    options = parser.parse_args()

    ways = [("f16", ours, None), ("llama.cpp f16", theirs, "f16")]
    ways += [("ring, 8 bits", ours, "8"), ("llama.cpp q8_0", theirs, "q8_0")]
    ways += [("ring, 4 bits", ours, "4"), ("llama.cpp q4_0", theirs, "q4_0")]
    found = {name: [] for name, _, _ in ways}
    for turn in range(options.rounds):
        for name, run, how in ways:
            speeds = [run(options, depth, how) for depth in (0, options.depth)]
            found[name].append(speeds)
            print(f"round {turn}, {name}: {speeds}", file=sys.stderr)

    median = lambda numbers: statistics.median(list(numbers))
    print(f"| | tok/s at the beginning | after {options.depth} tokens | kept (least to most) |")
    print("|---|---|---|---|")
    for name, speeds in found.items():
        shares = sorted(deep / first for first, deep in speeds)
        print(
            f"| {name} | {median(first for first, _ in speeds):.1f} | {median(deep for _, deep in speeds):.1f} "
            f"| {median(shares):.2f} ({shares[0]:.2f} to {shares[-1]:.2f}) |"
        )


main()
