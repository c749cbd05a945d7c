"""The whole recipe in one command: texts, split, gates, recovery, and the learned file. Interrupted, it goes on where it was.

    python3 models/carve/recipe.py --dense GGUF --wiki FILE --novels FILE --questions FILES --not-titles FILE --out DIR
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

import gates
import hub
import learned
import split
import text
from model import Model
from recover import Settings, recover
from source import Source, tokenizer_json

LENGTH = 512  # tokens of a window
POOL = 4800  # windows
CHATS = 144
ANSWER = 96  # tokens of an answer at most
CALIBRATION = 32  # windows for the split and the gates
GROUP = 64
SHARED_GROUPS = 11
RANKS = {"query": 16, "key": 16, "value": 16, "output": 16, "gated": 48, "up": 48, "down": 48}
TEMPERATURE = 0.02


def stage(path, make):
    """What `make` gives as named arrays, from the file if there is one."""
    if not path.exists():
        began = time.monotonic()
        scratch = path.with_suffix(".part.npz")
        np.savez(scratch, **make())
        scratch.replace(path)
        print(f"{path.name}: {time.monotonic() - began:.0f} s", flush=True)
    return dict(np.load(path))


def chats(arguments, source, arrays, tokenizer):
    path = arguments.out / "chats.json"
    if not path.exists():
        model = hub.dense(source.shape, arrays)
        asked = text.prompts(arguments.questions, CHATS, arguments.seed)
        made = text.answers(model, tokenizer, asked, ANSWER, 0.7, source.vocabulary.end, arguments.seed)
        scratch = path.with_suffix(".part")
        scratch.write_text(json.dumps(made))
        scratch.replace(path)
    return text.packed(json.loads(path.read_text()), LENGTH, arguments.seed)


def prose(arguments, source, tokenizer):
    """Windows of articles and of novels."""
    excluded = text.test_titles(arguments.not_titles)
    articles = text.articles(arguments.wiki, excluded, 40_000_000, arguments.seed)
    novels = text.long_pieces(text.articles(arguments.novels, excluded, 30_000_000, arguments.seed), 4096)
    end = source.vocabulary.end
    return {
        "articles": text.windows(articles, tokenizer, 3 * POOL // 5, LENGTH, end),
        "novels": text.windows(novels, tokenizer, POOL // 4, LENGTH, end),
    }


def pool(texts, chats, seed):
    """Three fifths articles, a quarter novels, the rest chats, which come round again; in one order of windows."""
    lists = (texts["articles"], texts["novels"], chats)
    taken = [0, 0, 0]
    rows = []
    for kind in np.random.default_rng(seed).choice(3, size=POOL, p=(0.6, 0.25, 0.15)):
        rows.append(lists[kind][taken[kind] % len(lists[kind])])
        taken[kind] += 1
    return torch.from_numpy(np.stack(rows).astype(np.int64))


def split_and_gates(model, windows, chosen, seed):
    inputs, inner = split.record(model, windows)
    orders, fitted = [], []
    for index, layer in enumerate(model.layers):
        x, h = inputs[index], inner[index]
        order, share = split.split_layer(x, h, layer.down.weight, GROUP, SHARED_GROUPS, seed + index)
        target = gates.expert_shares(share, order, GROUP, SHARED_GROUPS)
        gate = gates.fit_gate(x, target, seed=seed + index)
        kept, best = gates.kept_share(x, target, gate, chosen)
        found = f"{chosen} of {len(gate)} keep {kept:.3f} of the routed contribution, at best {best:.3f}"
        print(f"layer {index}: {found}", flush=True)
        orders.append(order)
        fitted.append(gate.numpy())
        inputs[index] = inner[index] = None
    return {"orders": np.stack(orders), "gates": np.stack(fitted)}


def reordered(arrays, orders):
    result = dict(arrays)
    for layer, order in enumerate(orders.astype(np.int64)):
        for name in ("gated", "up"):
            result[f"{layer}.{name}"] = arrays[f"{layer}.{name}"][order]
        result[f"{layer}.down"] = np.ascontiguousarray(arrays[f"{layer}.down"][:, order])
    return result


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dense", type=Path, required=True, help="the dense model's GGUF file")
    parser.add_argument("--wiki", type=Path, required=True, help="articles, parted by a line <|endoftext|>")
    parser.add_argument("--novels", type=Path, required=True, help="novels, parted likewise")
    parser.add_argument("--questions", type=Path, nargs="*", default=[], help="train splits whose questions are asked")
    parser.add_argument("--not-titles", type=Path, required=True, help="WikiText-2 test: its articles are left out")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--chosen", type=int, default=7, help="routed experts active for a token")
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--minutes", type=float, default=Settings.minutes, help="of recovery at most")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main():
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    arguments.out.mkdir(parents=True, exist_ok=True)
    source = Source(arguments.dense)
    arrays = stage(arguments.out / "dense.npz", source.arrays)
    tokenizer = Tokenizer.from_str(json.dumps(tokenizer_json(source.vocabulary)))
    texts = stage(arguments.out / "prose.npz", lambda: prose(arguments, source, tokenizer))
    teacher = Model(source.shape, arrays).eval().requires_grad_(False)
    calibration = np.concatenate((texts["articles"][: 3 * CALIBRATION // 4], texts["novels"][: CALIBRATION // 4]))
    calibration = torch.from_numpy(calibration.astype(np.int64))
    make_parts = lambda: split_and_gates(teacher, calibration, arguments.chosen, arguments.seed)
    parts = stage(arguments.out / "split.npz", make_parts)
    windows = pool(texts, chats(arguments, source, arrays, tokenizer), arguments.seed)
    student = Model(source.shape, reordered(arrays, parts["orders"]), RANKS, arguments.seed)
    student.carve(parts["gates"], GROUP, arguments.chosen, TEMPERATURE)
    learned.pack(arguments.out / "before.safetensors", student, parts["orders"], arguments.chosen, GROUP)
    settings = Settings(steps=arguments.steps, minutes=arguments.minutes, seed=arguments.seed)
    recover(student, teacher, windows, arguments.out, settings)
    learned.pack(arguments.out / "learned.safetensors", student, parts["orders"], arguments.chosen, GROUP)


if __name__ == "__main__":
    main()
