"""The two drawings of the card."""

import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "crumb"
from matplotlib import pyplot


def reports(log: Path) -> list[dict]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def training(logs: dict[str, Path], path: Path) -> None:
    """Training loss, and held-out loss per text, against tokens."""
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for (name, log), colour in zip(logs.items(), ("tab:blue", "tab:orange")):
        lines = reports(log)
        axes.plot([r["tokens"] / 1e6 for r in lines], [r["loss"] for r in lines], color=colour, alpha=0.35, label=f"{name}, training")
        judged = [r for r in lines if "held_out" in r]
        for text, style in zip(judged[0]["held_out"], ("o-", "s--")):
            axes.plot([r["tokens"] / 1e6 for r in judged], [r["held_out"][text] for r in judged], style, color=colour,
                      markersize=3, label=f"{name}, held out: {text}")
    axes.set(xlabel="million tokens", ylabel="nats a token", ylim=(None, 6.5))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    save(figure, path)


def traffic(shares: list[list[float]], path: Path) -> None:
    """Shares [layer][expert], one being even."""
    figure, axes = pyplot.subplots(figsize=(7, 3))
    image = axes.imshow(shares, cmap="viridis", vmin=0, aspect="auto")
    axes.set(xlabel="expert", ylabel="layer", xticks=range(len(shares[0])), yticks=range(len(shares)))
    figure.colorbar(image, label="traffic (1 = even)")
    save(figure, path)


def save(figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
