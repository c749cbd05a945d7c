"""Checks `hardtack eval tasks` against transformers: the same choice for each item, prompts written here anew.

    hardtack bake MODEL.gguf --bits f32 -o MODEL.tack
    hardtack eval tasks MODEL.tack --kv-type f32 --limit 200 --items ITEMS.jsonl --task FILE --task FILE ...
    python3 tasks.py MODEL.gguf ITEMS.jsonl FILE ...

FILE: ARC-*.json, openbookqa.*.json, piqa.*.json, winogrande.*.json, boolq.*.json, hellaswag*.txt.bz2, or a folder of MMLU's
CSV files. The GGUF file is read and dequantized by transformers, and everything runs in float32. Needs torch, transformers,
gguf. Exits with 1 where fewer than 99 % of a task's choices are the same.
"""

import bz2
import collections
import csv
import json
import pathlib
import re
import sys

import torch
import transformers

SAME_MIN = 0.99


def arc(text):
    """Question, options and right index of an item that numbers its answers."""
    question, rest = re.fullmatch(r".*? question: (.*)\n\nAnswer1: (.*)\n\nAnswer format: .*", text, re.S).groups()
    return question, re.split(r" Answer[2-9]: ", rest)


def adapters(path):
    """Pairs of (context, answer) of each item of a file in LLM-Adapters' layout."""
    task = path.name.lower()
    for record in json.loads(path.read_text()):
        text = record["instruction"]
        if task.startswith("arc") or task.startswith("openbookqa"):
            question, options = arc(text)
            context = question if task.startswith("openbookqa") else f"Question: {question}\nAnswer:"
            yield [(context, option) for option in options]
        elif task.startswith("piqa"):
            pattern = r".*? question: (.*)\n\nSolution1: (.*)\n\nSolution2: (.*)\n\nAnswer format: .*"
            goal, *solutions = re.fullmatch(pattern, text, re.S).groups()
            yield [(f"Question: {goal}\nAnswer:", solution) for solution in solutions]
        elif task.startswith("winogrande"):
            pattern = r".*? sentence: (.*)\n\nOption1: (.*) Option2: (.*) Answer format: .*"
            sentence, *options = re.fullmatch(pattern, text, re.S).groups()
            place = sentence.index("_")
            yield [(sentence[:place] + option, sentence[place + 1 :].strip()) for option in options]
        elif task.startswith("boolq"):
            question = re.fullmatch(r".*?, question: (.*)\n\nAnswer format: .*", text, re.S)[1]
            yield [(f"Question: {question}\nAnswer:", answer) for answer in ("no", "yes")]
        else:
            sys.exit(f"{path}: unknown task")


def hellaswag(path):
    lines = bz2.decompress(path.read_bytes()).decode().split("\n")
    for first in range(0, len(lines) - 5, 6):
        yield [(lines[first], ending) for ending in lines[first + 2 : first + 6]]


def mmlu(path):
    about = path.stem.removesuffix("_test").replace("_", " ")
    head = f"The following are multiple choice questions (with answers) about {about}.\n\n"
    with path.open(newline="") as file:
        for question, *options, _ in list(csv.reader(file))[1:]:
            listed = "".join(f"\n{letter}. {option}" for letter, option in zip("ABCD", options))
            yield [(f"{head}{question.strip()}{listed}\nAnswer:", letter) for letter in "ABCD"]


def items(path):
    """Every item of a file or folder by the place that hardtack names it by."""
    files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    for file in files:
        read = mmlu if path.is_dir() else hellaswag if path.suffix == ".bz2" else adapters
        for number, choices in enumerate(read(file), 1):
            yield f"{file.name}: item {number}", choices


@torch.inference_mode()
def log_likelihoods(model, tokenizer, choices):
    """Of each answer behind its context and a space; rows are padded at their end, where causal attention ignores it."""
    encode = lambda text: tokenizer(text, add_special_tokens=False).input_ids
    rows = [(len(encode(context)), encode(f"{context} {answer}")) for context, answer in choices]
    # An answer's last token is asked for and never an input, so that answers of one token share theirs.
    inputs = sorted({tuple(tokens[:-1]) for _, tokens in rows})
    longest = max(map(len, inputs))
    padded = torch.tensor([list(tokens) + [0] * (longest - len(tokens)) for tokens in inputs])
    start = min(given for given, _ in rows) - 1
    # Only positions from the first scored one on need logits.
    logits = model(padded, logits_to_keep=longest - start).logits.log_softmax(-1)
    sums = []
    for given, tokens in rows:
        row = inputs.index(tuple(tokens[:-1]))
        places = range(given, len(tokens))
        sums.append(sum(logits[row, place - 1 - start, tokens[place]].item() for place in places))
    return sums


def main():
    gguf, answers, *files = map(pathlib.Path, sys.argv[1:])
    torch.set_num_threads(1)
    options = {"gguf_file": gguf.name, "dtype": torch.float32}
    model = transformers.AutoModelForCausalLM.from_pretrained(gguf.parent, **options).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    known = dict(item for file in files for item in items(file))
    same = collections.defaultdict(list)
    differences = collections.defaultdict(list)
    for line in answers.read_text().splitlines():
        answer = json.loads(line)
        choices = known[answer["item"]]
        sums = log_likelihoods(model, tokenizer, choices)
        each_byte = [nats / len(text.encode()) for nats, (_, text) in zip(sums, choices)]
        chosen = [max(range(len(sums)), key=values.__getitem__) for values in (sums, each_byte)]
        same[answer["task"]].append([ours == theirs for ours, theirs in zip(answer["chosen"], chosen)])
        differences[answer["task"]] += [abs(a - b) for a, b in zip(answer["log_likelihoods"], sums)]
    failed = False
    for task, rows in same.items():
        shares = [sum(column) / len(rows) for column in zip(*rows)]
        failed |= min(shares) < SAME_MIN
        largest = max(differences[task])
        print(f"{task}: {len(rows)} items, same choice acc {shares[0]:.4f}, acc_norm {shares[1]:.4f};", end=" ")
        print(f"log-likelihoods differ by {largest:.2g} nats at most")
    sys.exit(failed)


if __name__ == "__main__":
    main()
