"""Counts words a sentence in Markdown documents, without tables, code, quotations and headings.

    python3 docs/words.py [FILE...]     default: every tracked Markdown file

Prints for each: sentences, words a sentence on average, sentences over 35 words, the longest one, and
lines of prose wider than 100.
"""

import re
import subprocess
import sys


def prose(text):
    """Paragraphs and list items, each on one line."""
    text = re.sub(r"(?ms)^```.*?^```[ \t]*$", "\n", text)
    text = re.sub(r"(?s)<!--.*?-->", "", text)
    blocks, current = [], []
    for line in text.split("\n"):
        item = re.match(r"\s*([*-]|\d+\.)\s+", line)
        ends = not line.strip() or line.lstrip().startswith(("|", "#", "![", ">"))
        if (ends or item) and current:
            blocks.append(" ".join(current))
            current = []
        if not ends:
            current.append(line[item.end():] if item else line.strip())
    return blocks + ([" ".join(current)] if current else [])


def sentences(block):
    block = re.sub(r"\]\([^)]*\)", "]", block)
    block = re.sub(r"`[^`]*`", "code", block)
    parts = re.split(r"(?<=[.!?])[\"”*)_]*\s+(?=[\"“*_(\[]*[A-Z0-9a-z])", block)
    words = [len(re.findall(r"[^\s]*\w[^\s]*", part)) for part in parts]
    return [(count, part) for count, part in zip(words, parts) if count]


def wide(text):
    text = re.sub(r"(?ms)^```.*?^```[ \t]*$", "", text)
    exempt = ("|", "#", "![")
    return [line for line in text.split("\n") if len(line) > 100 and not line.startswith(exempt)]


def main():
    files = sys.argv[1:] or subprocess.run(
        ["git", "ls-files", "*.md"], capture_output=True, text=True, check=True
    ).stdout.split()
    print(f"{'file':44} sentences  mean  >35  longest  lines >100")
    for name in files:
        with open(name, encoding="utf-8") as file:
            text = file.read()
        counted = [pair for block in prose(text) for pair in sentences(block)]
        counts = [count for count, _ in counted] or [0]
        mean = sum(counts) / len(counts)
        long = sum(count > 35 for count in counts)
        print(f"{name:44} {len(counts):9} {mean:5.1f} {long:4} {max(counts):8} {len(wide(text)):11}")


if __name__ == "__main__":
    main()
