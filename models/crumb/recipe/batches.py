"""Which windows of the token arrays a step sees: fixed by the seed and the step alone, so that a resumed run goes on."""

from pathlib import Path

import numpy
import torch


class Batches:
    """Windows of context + 1 tokens of all texts, shuffled anew in every epoch; each window is seen once an epoch."""

    def __init__(self, paths: list[Path], context: int, batch: int, seed: int):
        self.texts = [numpy.load(path, mmap_mode="r") for path in paths]
        self.context, self.batch, self.seed = context, batch, seed
        counts = [(len(text) - 1) // context for text in self.texts]
        self.windows = numpy.concatenate(
            [numpy.stack([numpy.full(count, i), numpy.arange(count) * context], 1) for i, count in enumerate(counts)]
        )
        self.epoch, self.order = -1, None

    def step(self, step: int) -> torch.Tensor:
        """[batch, context + 1] ids"""
        steps_an_epoch = len(self.windows) // self.batch
        epoch, place = divmod(step, steps_an_epoch)
        if epoch != self.epoch:
            self.epoch, self.order = epoch, numpy.random.default_rng([self.seed, epoch]).permutation(len(self.windows))
        chosen = self.windows[self.order[place * self.batch : (place + 1) * self.batch]]
        rows = [self.texts[text][start : start + self.context + 1] for text, start in chosen]
        return torch.from_numpy(numpy.stack(rows).astype(numpy.int64))


def windows(path: Path, context: int, most: int) -> torch.Tensor:
    """The first `most` windows of a text spread evenly over it, [windows, context + 1]; for judging."""
    text = numpy.load(path, mmap_mode="r")
    count = (len(text) - 1) // context
    starts = numpy.linspace(0, count - 1, min(most, count)).astype(int) * context
    return torch.from_numpy(numpy.stack([text[s : s + context + 1] for s in starts]).astype(numpy.int64))
