"""What the card shows: held-out perplexity and bits per character, traffic of the experts, samples."""

import math
from pathlib import Path

import numpy
import torch
from tokenizers import Tokenizer

from batches import windows
from network import Network
from train import BATCH

MOST_WINDOWS = 1000


@torch.no_grad()
def held_out(network: Network, tokenizer: Tokenizer, data: Path, texts: list[str]) -> dict:
    """Per text: nats a token with the standard error over windows, perplexity, bits per character. Every window of the
    held-out documents up to `MOST_WINDOWS`; characters are those of the tokens judged."""
    result = {}
    for text in texts:
        rows = windows(data / f"{text}.held-out.npy", network.shape.context, MOST_WINDOWS)
        losses, characters = [], 0
        for row in rows:
            losses.append(network.losses(row[None].to(network.embedding.device))[0].item())
            characters += len(tokenizer.decode(row[1:].tolist(), skip_special_tokens=False))
        losses = numpy.array(losses)
        mean = losses.mean()
        result[text] = {
            "nats": mean,
            "standard_error": losses.std(ddof=1) / len(losses) ** 0.5,
            "perplexity": math.exp(mean),
            "bits_per_character": mean / math.log(2) * len(rows) * network.shape.context / characters,
            "tokens": len(rows) * network.shape.context,
        }
    return result


@torch.no_grad()
def traffic(network: Network, data: Path, text: str, most: int = 128) -> list[list[float]]:
    """[layer][expert]: share of a layer's traffic on a held-out text, times the number of experts (one: balanced)."""
    blocks = [layer.feed_forward for layer in network.layers]
    for block in blocks:
        block.traffic.zero_()
    for rows in windows(data / f"{text}.held-out.npy", network.shape.context, most).split(BATCH):
        network.losses(rows.to(network.embedding.device))
    return [(block.traffic / block.traffic.sum() * len(block.traffic)).tolist() for block in blocks]


@torch.no_grad()
def sample(network: Network, tokenizer: Tokenizer, prompt: str, length: int, temperature: float, seed: int) -> str:
    """`prompt` continued; whole recomputation for each token, which is enough for a few lines."""
    generator = torch.Generator().manual_seed(seed)
    ids = [0, *tokenizer.encode(prompt).ids]
    context = network.shape.context
    for _ in range(length):
        # One length for all steps (padding after the text is never seen), so that compiled
        # operations fit.
        seen = ids[-context:]
        row = torch.tensor([seen + [0] * (context - len(seen))], device=network.embedding.device)
        logits = network(row)[0, len(seen) - 1].float() @ network.embedding.T.float()
        share = (logits.cpu() / temperature).softmax(-1)
        token = torch.multinomial(share, 1, generator=generator).item()
        if token == 0:
            break
        ids.append(token)
    return tokenizer.decode(ids[1:])
