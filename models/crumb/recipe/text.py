"""Texts to tokens: held-out documents set aside, a byte-level BPE vocabulary, one array of token ids a text."""

import hashlib
import lzma
from pathlib import Path

import numpy
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

END = "<|endoftext|>"
TOKENIZER_SAMPLE_BYTES = 60_000_000


def documents(path: Path):
    """The documents of a text file (plain or .xz), parted by lines that hold only the end marker."""
    opener = lzma.open if path.suffix == ".xz" else open
    lines = []
    with opener(path, "rt", encoding="utf-8", errors="replace", newline="\n") as file:
        for line in file:
            if line.strip() == END:
                yield "".join(lines).strip()
                lines = []
            else:
                lines.append(line)
    yield "".join(lines).strip()


def is_held_out(document: str, share: int) -> bool:
    """One document in `share` is never trained on: chosen by its own hash, so that the choice needs no list."""
    return int.from_bytes(hashlib.blake2b(document.encode(), digest_size=8).digest(), "little") % share == 0


def split(path: Path, share: int) -> tuple[list[str], list[str]]:
    """(trained on, held out) documents of one file; empty ones dropped."""
    parts = ([], [])
    for document in documents(path):
        if document:
            parts[is_held_out(document, share)].append(document)
    if not all(parts):
        raise SystemExit(f"{path}: one document in {share} is to be held out, but one of the two parts is empty")
    return parts


def train_tokenizer(texts: list[list[str]], vocabulary: int) -> Tokenizer:
    """Byte-level BPE over an equal sample of every text; digits one by one."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sample(texts, TOKENIZER_SAMPLE_BYTES // len(texts)), trainer)
    return tokenizer


def sample(texts: list[list[str]], size: int):
    """Pieces of documents, about `size` characters of each text, spread evenly over it."""
    for text in texts:
        total = sum(map(len, text))
        for document in text:
            yield document[: max(1, len(document) * size // max(total, size))]


def encode(tokenizer: Tokenizer, texts: list[str]) -> numpy.ndarray:
    """Ids of all documents one behind the other, the end marker before each."""
    end = tokenizer.token_to_id(END)
    pieces = []
    for start in range(0, len(texts), 512):
        for encoding in tokenizer.encode_batch(texts[start : start + 512]):
            pieces.append(numpy.array([end, *encoding.ids], dtype=numpy.uint16))
    return numpy.concatenate(pieces)


def prepare(paths: list[Path], held_out_shares: list[int], vocabulary: int, out: Path) -> None:
    """Writes tokenizer.json, NAME.train.npy, NAME.held-out.npy and NAME.held-out.txt into `out`; what is there stays."""
    names = [path.name.split(".")[0] for path in paths]
    wanted = [out / "tokenizer.json"] + [out / f"{name}.{part}.npy" for name in names for part in ("train", "held-out")]
    if all(path.exists() for path in wanted):
        return
    splits = [split(path, share) for path, share in zip(paths, held_out_shares)]
    tokenizer = train_tokenizer([trained for trained, _ in splits], vocabulary)
    for name, (trained, held_out) in zip(names, splits):
        (out / f"{name}.held-out.txt").write_text(f"\n{END}\n".join(held_out), encoding="utf-8")
        for part, texts in (("train", trained), ("held-out", held_out)):
            ids = encode(tokenizer, texts)
            numpy.save(out / f"{name}.{part}.npy", ids)
            print(f"{name} {part}: {len(texts)} documents, {len(ids)} tokens, "
                  f"{sum(map(len, texts)) / len(ids):.3f} characters a token", flush=True)
    tokenizer.save(str(out / "tokenizer.json"))
