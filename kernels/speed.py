#!/usr/bin/env python3
"""Decode and prompt speed beside llama.cpp: rounds of both programs in turns, medians, ratios.

    cargo run --release --workspace --example shape -- granite 2 4 granite-2.tack
    python3 kernels/speed.py --hardtack HARDTACK --llama llama-bench \\
        2=granite-2.tack=granite-iq2_s.gguf

A pair is NAME=BLOB=GGUF. The output is a table in Markdown; what was measured goes to standard
error as it comes.
"""

import argparse
import json
import statistics
import subprocess
import sys


def ours(options, blob, threads):
    command = [
        options.hardtack,
        "bench",
        blob,
        "--json",
        "--runs",
        "1",
        "-t",
        str(threads),
        "--load",
        options.load,
    ]
    command += [
        "--prompt",
        str(options.prompt),
        "--decode",
        str(options.decode),
        "--batch",
        str(options.batch),
    ]
    command += ["--kernels", options.kernels] if options.kernels else []
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    names = ["prompt_tokens_per_second", "decode_tokens_per_second", "bandwidth_share"]
    return [report[name] for name in names]


def theirs(options, gguf, threads):
    command = [options.llama, "-m", gguf, "-r", "1", "-o", "json", "-fa", "1", "-t", str(threads)]
    command += ["-p", str(options.prompt), "-n", str(options.decode), *options.llama_flag]
    # It fails now and then with some types; the round is left out then.
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        print(f"{gguf}: {run.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    tests = json.loads(run.stdout)
    return [next(test["avg_ts"] for test in tests if test[what]) for what in ("n_prompt", "n_gen")]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hardtack", required=True)
    parser.add_argument("--llama", required=True, help="llama-bench")
    parser.add_argument(
        "--llama-flag",
        action="append",
        default=[],
        help="handed on to llama-bench, once for each word",
    )
    parser.add_argument("--load", default="resident")
    parser.add_argument("--kernels", help="tier of ours; without it, the fastest")
    parser.add_argument("--threads", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--decode", type=int, default=32)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("pair", nargs="+", help="NAME=BLOB=GGUF")
    options = parser.parse_args()
    pairs = [pair.split("=") for pair in options.pair]

    found = {}
    for turn in range(options.rounds):
        for name, blob, gguf in pairs:
            for threads in options.threads or [1, 2]:
                us, them = ours(options, blob, threads), theirs(options, gguf, threads)
                if them:
                    found.setdefault((name, threads), []).append((us, them))
                print(f"round {turn}, {name}, {threads} threads: {us} {them}", file=sys.stderr)

    print(
        "| | threads | decode, tok/s | llama.cpp | ratio (least to most) | of the bandwidth | prompt | llama.cpp | ratio (least to most) |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for (name, threads), rounds in found.items():
        median = lambda numbers: statistics.median(list(numbers))
        cells = []
        for ours_at, theirs_at in ((1, 1), (0, 0)):
            ratios = sorted(us[ours_at] / them[theirs_at] for us, them in rounds)
            cells.append(
                f"{median(us[ours_at] for us, _ in rounds):.1f} | {median(them[theirs_at] for _, them in rounds):.1f} "
                f"| **{median(ratios):.2f}** ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            )
        share = median(us[2] for us, _ in rounds)
        print(f"| {name} | {threads} | {cells[0]} | {share * 100:.0f} % | {cells[1]} |")


main()
