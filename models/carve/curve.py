"""Draws the recovery's divergence over tokens, a mean of ten steps, from the log that the recipe writes.

    python3 models/carve/curve.py models/cache/carve/recovery.json -o models/carve/recovery.svg
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("log", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    log = json.loads(arguments.log.read_text())["log"]
    values = [entry["divergence"] for entry in log]
    means = [sum(values[max(0, at - 9) : at + 1]) / len(values[max(0, at - 9) : at + 1]) for at in range(len(values))]
    tokens = [entry["tokens"] / 1000 for entry in log]
    plt.rcParams.update({"svg.hashsalt": "carve", "svg.fonttype": "none", "font.size": 9})
    figure, axes = plt.subplots(figsize=(5, 2.6), layout="constrained")
    axes.plot(tokens, values, ".", markersize=3, color="0.7")
    axes.plot(tokens, means, color="#1f6f8b")
    axes.set(xlabel="thousand tokens", ylabel="divergence, nats a token", ylim=(0, None), xlim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(arguments.out, metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main()
