"""Perplexity of the dense or the carved model, and how evenly its experts are used.

    python3 models/carve/evaluate.py GGUF --text FILE [--learned FILE] [--chosen K] [--windows 64]
"""

import argparse
import json
import math
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import learned
from model import Model
from source import Source, tokenizer_json


@torch.no_grad()
def perplexity(model, windows, skip=0, batch=4):
    """Over the tokens at `skip + 1` and after in each window, given those before them in it."""
    total, count = 0.0, 0
    for start in range(0, len(windows), batch):
        tokens = windows[start : start + batch]
        hidden = model(tokens)[:, skip:-1]
        targets = tokens[:, skip + 1 :]
        for row, target in zip(hidden, targets, strict=True):
            loss = F.cross_entropy(model.logits(row).float(), target, reduction="sum")
            total += loss.item()
            count += target.numel()
    return math.exp(total / count)


def carved(source, arrays, parts, numbers, chosen, dtype=torch.bfloat16):
    """The model that a learned file describes, with `chosen` routed experts active."""
    model = Model(source.shape, learned.merged(arrays, parts), dtype=dtype)
    # The learned gates have their temperature folded in; one that leaves it all but one keeps their order and weights.
    gates = torch.from_numpy(parts["gate"].astype(np.float32))
    model.carve(gates, numbers["group"], chosen, 1.0)
    return model.eval()


def traffic(model):
    """For each layer the least and the most used routed expert's share of tokens, and the mean."""
    rows = []
    for layer in model.layers:
        counts = layer.gate.traffic.double()
        shares = counts * layer.gate.chosen / counts.sum()
        rows.append((shares.min().item(), shares.mean().item(), shares.max().item()))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("dense", type=Path, help="the dense model's GGUF file")
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--learned", type=Path, help="a learned file; without one, the dense model")
    parser.add_argument("--chosen", type=int, help="routed experts active; the learned file's number if not given")
    parser.add_argument("--windows", type=int, default=64, help="windows of 512 whose second halves count")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    source = Source(arguments.dense)
    tokenizer = Tokenizer.from_str(json.dumps(tokenizer_json(source.vocabulary)))
    text = arguments.text.read_text(encoding="utf-8")
    needed = max(2048, 512 * arguments.windows)
    tokens = torch.tensor(tokenizer.encode(text[: 8 * needed], add_special_tokens=False).ids[:needed])
    if arguments.learned:
        parts, numbers = learned.load(arguments.learned)
        chosen = arguments.chosen or numbers["chosen"]
        model = carved(source, source.arrays(), parts, numbers, chosen)
    else:
        model = Model(source.shape, source.arrays()).eval()
    print(f"first 2,048 tokens, two windows of 1,024: {perplexity(model, tokens[:2048].view(2, 1024)):.4f}", flush=True)
    if arguments.windows:
        windows = tokens[: 512 * arguments.windows].view(-1, 512)
        print(f"second halves of {len(windows)} windows of 512: {perplexity(model, windows, skip=256):.4f}", flush=True)
    if arguments.learned:
        for index, (least, mean, most) in enumerate(traffic(model)):
            print(f"layer {index}: an expert sees {least:.2f} to {most:.2f} of the tokens, {mean:.2f} on average")


if __name__ == "__main__":
    main()
