"""Makes Crumb from texts: `python3 recipe.py --text wikipedia-en.txt.xz novels-en.txt.xz --work FOLDER --out CHECKPOINT`.

Splits and tokenizes, trains the mixture and its dense twin, judges both and writes the checkpoint, the drawings and
`figures.json`. Run it again after an interrupt and it goes on from the last save (every four minutes).
"""

import argparse
import json
from pathlib import Path

import torch
from tokenizers import Tokenizer

import measure
import plots
import text
from export import export
from network import Shape
from train import train

PROMPTS = ["The city of", "She opened the door and", "In 1923, the government", "The river is a tributary of"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, nargs="+", required=True, help="documents parted by lines <|endoftext|>")
    parser.add_argument("--held-out", type=int, nargs="+", default=[100, 40], help="one document in N, per text")
    parser.add_argument("--work", type=Path, required=True, help="tokens, saves and reports")
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint's folder")
    parser.add_argument("--tokens", type=int, default=24_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    shape = Shape()
    text.prepare(options.text, options.held_out, shape.vocabulary, options.work)
    tokenizer = Tokenizer.from_file(str(options.work / "tokenizer.json"))
    texts = [path.name.split(".")[0] for path in options.text]
    figures, logs = {}, {}
    for name, kind in (("mixture", shape), ("dense twin", shape.twin())):
        stem = options.work / name.split()[0]
        network = train(kind, texts, options.work, stem, options.tokens, options.seed, options.device)
        total, active = network.counts()
        figures[name] = {
            "parameters": total, "active": active, "tokens": options.tokens,
            "held_out": measure.held_out(network, tokenizer, options.work, texts),
        }
        logs[name] = stem.with_suffix(".jsonl")
        if kind.experts:
            export(network, options.work / "tokenizer.json", options.out)
            figures[name]["traffic"] = {t: measure.traffic(network, options.work, t) for t in texts}
            figures[name]["samples"] = [measure.sample(network, tokenizer, p, 60, 0.8, options.seed) for p in PROMPTS]
            plots.traffic(figures[name]["traffic"][texts[0]], options.out / "traffic.svg")
    plots.training(logs, options.out / "training.svg")
    (options.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
