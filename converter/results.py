"""Prints the reports that results.sh left in a folder as a table.

    python3 converter/results.py FOLDER JUDGE_TEXT...
"""

import json
import sys
from pathlib import Path

METHODS = ["rounded", "allocated", "uniform", "per-layer", "global", "tuned", "refined"]


def read(path):
    """A report, or nothing where it was not made."""
    return json.loads(path.read_text()) if path.is_file() else None


def ratio(report):
    """Perplexity as a share of the first method's, with its interval."""
    comparison = report and report.get("comparison")
    if not comparison:
        return ""
    low, high = comparison["perplexity_ratio_interval"]
    return f"{comparison['perplexity_ratio']:.4f} ({low:.4f} to {high:.4f})"


def rows(folder, text):
    """A row of cells for each blob that was judged on a text."""
    blobs = sorted(folder.glob("[0-9]*.tack"), key=lambda path: order(path.stem))
    for blob in blobs:
        bits, method = blob.stem.split("-", 1)
        divergence = read(folder / f"{blob.stem}-{text}.kld.json")
        if divergence is None:
            continue
        low, high = divergence["divergence_interval"]
        yield [
            bits,
            method,
            str(blob.stat().st_size),
            f"{divergence['perplexity']:.3f}",
            ratio(read(folder / f"{blob.stem}-{text}.ppl.json")),
            f"{divergence['divergence_mean']:.4f} ({low:.4f} to {high:.4f})",
        ]


def order(stem):
    bits, method = stem.split("-", 1)
    return float(bits), METHODS.index(method)


def main():
    folder, texts = Path(sys.argv[1]), [Path(text).stem for text in sys.argv[2:]]
    for text in texts:
        reports = [read(path) for path in sorted(folder.glob(f"*-{text}.kld.json"))]
        if not reports:
            continue
        print(f"\n{text}: {reports[0]['scored_tokens']} tokens, bf16 {reports[0]['reference_perplexity']:.3f}\n")
        print("| bits | method | bytes | perplexity | share of the first's (95 %) | divergence from bf16 (95 %) |")
        print("|---|---|---|---|---|---|")
        for cells in rows(folder, text):
            print("| " + " | ".join(cells) + " |")


main()
