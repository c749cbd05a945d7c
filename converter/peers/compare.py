"""Quantizes a GGUF in llama.cpp's ways, bakes ours at no more bytes, and has each program's own tool measure the divergence
from the unquantized model on the same windows.

    python3 compare.py --llama llama.cpp/build/bin --hardtack target/release/hardtack --model models/crumb \\
        --gguf crumb-f32.gguf --reference bf16.tack --calib models/crumb/texts --text wikitext-2.txt --text hellaswag.txt \\
        --work work

Needs the PyPI package `gguf`, and llama.cpp without repacking where its AMX kernels fail (as is asked for here). What is in --work already is not measured again; results.jsonl there holds every figure.
"""

import argparse
import collections
import json
import os
import re
import subprocess
import time
from pathlib import Path

import gguf

CTX, SKIP, WINDOWS = 512, 256, 32
# What ours are baked with, beside the budget and the texts.
OPTIONS = ["--tune", "0", "--kv-tokens", "0", "--judge-tokens", "2048"]
DOWN = "ffn_down_exps"
# name: llama.cpp's type, its arguments; the name's own type alone is llama.cpp's default recipe
RECIPES = {kind: (kind, []) for kind in ["Q2_K", "IQ2_S", "Q3_K_M", "IQ3_S", "Q4_K_M", "IQ4_XS"]}


def variant(name, kind, down, embedding=None, attention=None, extra=()):
    arguments = ["--tensor-type", f"{DOWN}={down}"]
    if embedding:
        arguments += ["--token-embedding-type", embedding]
    if attention:
        arguments += ["--tensor-type", f"attn_(q|k|v|output)={attention}"]
    RECIPES[name] = (kind, [*arguments, *extra])


# Other choices, for llama.cpp's best chance: the fall-back tensors, embeddings and attention named one by one.
for gate_up, down, attention, embedding in [
    ("IQ2_XXS", "iq4_nl", "q5_k", "q5_k"),
    ("IQ2_XXS", "iq4_nl", "q4_k", "q4_k"),
    ("IQ2_XS", "iq4_nl", "q4_k", "q4_k"),
    ("IQ2_S", "iq4_nl", "q4_k", "q4_k"),
    ("IQ2_S", "mxfp4", "q4_k", "q4_k"),
    ("IQ2_S", "q4_0", "q4_k", "q4_k"),
    ("IQ3_S", "q2_0", "q4_k", "q4_k"),
    ("IQ3_XXS", "iq4_nl", "q4_k", "q4_k"),
    ("IQ3_XXS", "iq4_nl", "q5_k", "q5_k"),
    ("IQ3_S", "iq4_nl", "q4_k", "q4_k"),
    ("IQ3_S", "iq4_nl", "q5_k", "q5_k"),
    ("IQ3_S", "iq4_nl", "q6_k", "q6_k"),
    ("IQ4_XS", "iq4_nl", "q4_k", "q4_k"),
    ("IQ4_XS", "iq4_nl", "q4_k", "q5_k"),
    ("IQ4_XS", "iq4_nl", "q5_k", "q5_k"),
    ("Q4_K_S", "q5_1", "q6_k", "q6_k"),
    ("Q5_K_S", "iq4_nl", "q5_k", "q6_k"),
    ("Q4_K_S", "q5_0", "q6_k", "q6_k"),
    ("IQ2_XXS", "mxfp4", "q5_k", "q4_k"),
    ("IQ2_XXS", "iq4_nl", "q6_k", "q5_k"),
    ("IQ2_S", "iq4_nl", "q8_0", "q5_k"),
    ("IQ3_XXS", "iq4_nl", "q6_k", "q4_k"),
    ("IQ3_XXS", "iq4_nl", "q8_0", "q6_k"),
    ("IQ3_S", "iq4_nl", "q8_0", "q6_k"),
    ("IQ4_XS", "q5_0", "q8_0", "q6_k"),
]:
    name = "-".join([gate_up, down, attention, embedding])
    kind = gate_up.lower().replace("_s", "", 1) if gate_up.endswith("_K_S") else gate_up.lower()
    variant(name, gate_up, down, embedding, attention, ["--tensor-type", f"ffn_(gate|up)_exps={kind}"])


def run(command, log, env=None):
    begin = time.time()
    with open(log, "w") as out:
        out.write(" ".join(map(str, command)) + "\n")
        out.flush()
        code = subprocess.run(list(map(str, command)), stdout=out, stderr=subprocess.STDOUT,
                              env={**os.environ, **(env or {})}).returncode
    if code:
        raise SystemExit(f"{command[0]} ended with {code}: {log}")
    return time.time() - begin


def summary(path):
    reader = gguf.GGUFReader(path)
    types, total = collections.defaultdict(lambda: [0, 0, 0]), 0
    tensors = {}
    for tensor in reader.tensors:
        row = types[tensor.tensor_type.name]
        row[0] += 1
        row[1] += int(tensor.n_elements)
        row[2] += int(tensor.n_bytes)
        total += int(tensor.n_bytes)
        short = re.sub(r"blk\.\d+\.", "", tensor.name).removesuffix(".weight")
        if tensor.tensor_type.name != "F32":
            tensors.setdefault(short, collections.Counter())[tensor.tensor_type.name] += 1
    return {"file_bytes": os.path.getsize(path), "tensor_bytes": total, "types": dict(types),
            "tensors": {name: dict(counts) for name, counts in tensors.items()}}


NUMBER = r"(-?[\d.]+(?:e-?\d+)?|-?nan)"
FIELDS = {
    "ppl": rf"Mean PPL\(Q\)\s*:\s*{NUMBER}\s*±\s*{NUMBER}",
    "ppl_base": rf"Mean PPL\(base\)\s*:\s*{NUMBER}\s*±\s*{NUMBER}",
    "ppl_ratio": rf"Mean PPL\(Q\)/PPL\(base\)\s*:\s*{NUMBER}\s*±\s*{NUMBER}",
    "kld": rf"Mean\s+KLD:\s*{NUMBER}\s*±\s*{NUMBER}",
    "kld_99": rf"99\.0%\s+KLD:\s*{NUMBER}",
    "kld_median": rf"Median\s+KLD:\s*{NUMBER}",
    "top1": rf"Same top p:\s*{NUMBER}\s*±\s*{NUMBER}",
}


def parse(log):
    text = Path(log).read_text(errors="replace")
    found = {}
    for name, pattern in FIELDS.items():
        match = re.search(pattern, text)
        if match:
            found[name] = [float(x) for x in match.groups()]
    return found


class Bench:
    def __init__(self, args):
        self.a = args
        self.work = args.work
        self.work.mkdir(parents=True, exist_ok=True)
        self.path = self.work / "results.jsonl"
        self.done = {}
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                row = json.loads(line)
                self.done[row["key"]] = row

    def once(self, key, measure):
        if key not in self.done:
            row = {"key": key, **measure()}
            self.done[key] = row
            with open(self.path, "a") as out:
                out.write(json.dumps(row) + "\n")
            print(key, {k: v for k, v in row.items() if k not in ("key", "types")}, flush=True)
        return self.done[key]

    def base(self, text, ctx=CTX, windows=WINDOWS, gguf_path=None):
        base = self.work / f"base-{(gguf_path or self.a.gguf).stem}-{text.stem}-{ctx}.kld"
        if not base.exists():
            run([self.a.llama / "llama-perplexity", "-m", gguf_path or self.a.gguf, "-f", text, "-c", ctx, "-b", max(ctx, 512),
                 "--chunks", windows, "-t", 1, "--kl-divergence-base", f"{base}.part"], f"{base}.log")
            os.rename(f"{base}.part", base)
        return base

    def linger(self):
        """llama.cpp's tools may end before the last lines of their log are out: make them wait."""
        library = self.work / "linger.so"
        if not library.exists():
            source = "#include <unistd.h>\n__attribute__((destructor)) static void linger(void) { sleep(5); }\n"
            subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", library], input=source.encode(), check=True)
        return {"LD_PRELOAD": str(library.resolve())}

    def theirs(self, name):
        kind, arguments = RECIPES[name]
        path = self.work / f"{name}.gguf"
        if not path.exists():
            run([self.a.llama / "llama-quantize", "--imatrix", self.imatrix(), *arguments, self.a.gguf, path, kind, 2],
                self.work / f"{name}.quantize.log")
        size = self.once(f"size {name}", lambda: summary(path))
        for text in self.a.text:
            def measure():
                log = self.work / f"{name}-{text.stem}.log"
                run([self.a.llama / "llama-perplexity", "-m", path, "-c", CTX, "-b", 512, "--chunks", WINDOWS, "-t", 1,
                     "--no-repack", "--kl-divergence-base", self.base(text), "--kl-divergence", "-f", text], log, self.linger())
                found = parse(log)
                if set(found) != set(FIELDS):
                    raise SystemExit(f"{log} does not end with every figure: run again")
                return found
            self.once(f"theirs {name} {text.stem}", measure)
        return size

    def imatrix(self):
        path = self.work / "imatrix.gguf"
        if not path.exists():
            joined = self.work / "calibration.txt"
            joined.write_text("".join(p.read_text() for p in sorted(self.a.calib.glob("*.txt"))))
            run([self.a.llama / "llama-imatrix", "-m", self.a.gguf, "-f", joined, "-o", path, "-c", 512, "-t", 1],
                self.work / "imatrix.log")
        return path

    def ours(self, name, budget):
        path = self.work / f"ours-{name}.tack"
        if not path.exists():
            out = self.work / "ours.tack"
            calib = [x for p in sorted(self.a.calib.glob("*.txt")) for x in ("--calib", f"{p.stem}={p}")]
            seconds = run([self.a.hardtack, "bake", self.a.model, "--budget", budget, *calib, *OPTIONS, "-o", out],
                          self.work / f"ours-{name}.bake.log")
            os.rename(out, path)
            print(f"bake {name}: {seconds:.0f} s", flush=True)
        def sections():
            report = json.loads(subprocess.check_output([self.a.hardtack, "inspect", path, "--json"]))
            rows = {row["section"]: row["bytes"] for row in report["rows"]}
            return {"file_bytes": path.stat().st_size, "budget": budget, "sections": rows}
        self.once(f"size ours {name}", sections)
        for text in self.a.text:
            self.once(f"ours {name} {text.stem}", lambda: self.ours_kld(path, text))

    def ours_kld(self, path, text):
        output = subprocess.check_output([self.a.hardtack, "eval", "kld", path, "--against",
                                          self.a.reference, "--text", text, "--ctx", str(CTX), "--skip", str(SKIP),
                                          "--windows", str(WINDOWS), "--json"])
        report = json.loads(output)
        return {"ppl": [report["perplexity"]], "ppl_base": [report["reference_perplexity"]],
                "ppl_ratio": [report["perplexity"] / report["reference_perplexity"]],
                "kld": [report["divergence_mean"], report["divergence_standard_error"]],
                "kld_99": [report["divergence_99th_percentile"]], "kld_median": [report["divergence_median"]],
                "top1": [100 * report["top1_agreement"], 100 * report["top1_standard_error"]], "raw": report}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ["llama", "hardtack", "model", "gguf", "reference", "calib", "work"]:
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--text", type=Path, action="append", required=True)
    parser.add_argument("--only", nargs="*", help="names of recipes; without it, all")
    parser.add_argument("--side", choices=["both", "theirs", "ours"], default="both")
    args = parser.parse_args()
    args.llama, args.hardtack = args.llama.resolve(), args.hardtack.resolve()
    bench = Bench(args)
    names = args.only or list(RECIPES)
    if args.side != "ours":
        for name in names:
            bench.theirs(name)
    if args.side != "theirs":
        for name in names:
            bench.ours(name, bench.done[f"size {name}"]["file_bytes"])


if __name__ == "__main__":
    main()
