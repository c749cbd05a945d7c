"""Trains one network: resumable, seeded, one line of JSON a report."""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path

import torch

from batches import Batches, windows
from network import Network, Shape
from optimizer import optimizers, rate, set_rate

BATCH = 8  # windows a step
BALANCE, Z = 0.01, 1e-3  # weights of the balancing loss and of the z-loss
REPORT_EVERY, JUDGE_EVERY, SAVE_SECONDS = 25, 250, 240
JUDGED_WINDOWS = 24


@torch.no_grad()
def judge(network: Network, path: Path, most: int = JUDGED_WINDOWS) -> float:
    """Mean cross-entropy in nats a token on windows of a held-out text."""
    rows = windows(path, network.shape.context, most).split(BATCH)
    device = network.embedding.device
    return sum(network.losses(part.to(device))[0].item() * len(part) for part in rows) / sum(map(len, rows))


def save(path: Path, state: dict) -> None:
    """Whole or not at all."""
    temporary = path.with_suffix(".partial")
    with open(temporary, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def train(shape: Shape, texts: list[str], data: Path, out: Path, total: int, seed: int, device: str) -> Network:
    """Trains on `total` tokens, going on from `out`.pt if it is there; reports in `out`.jsonl."""
    torch.manual_seed(seed)
    network = Network(shape)
    network.to(device)
    all_optimizers = optimizers(network)
    saved, log = out.with_suffix(".pt"), out.with_suffix(".jsonl")
    step = 0
    if saved.exists():
        state = torch.load(saved, map_location=device, weights_only=True)
        if state["shape"] != asdict(shape) or state["seed"] != seed:
            raise SystemExit(f"{saved} is of another shape or seed; remove it or choose another folder")
        network.load_state_dict(state["network"])
        for optimizer, part in zip(all_optimizers, state["optimizers"]):
            optimizer.load_state_dict(part)
        step = state["step"]
    batches = Batches([data / f"{text}.train.npy" for text in texts], shape.context, BATCH, seed)
    tokens_a_step = BATCH * shape.context
    steps = total // tokens_a_step
    kept = [line for line in log.read_text().splitlines() if json.loads(line)["step"] <= step] if log.exists() else []
    last_save = time.monotonic()
    with open(log, "w") as reports:
        reports.writelines(line + "\n" for line in kept)
        losses, since = [], time.monotonic()
        while step < steps:
            set_rate(all_optimizers, rate(step * tokens_a_step, total))
            loss, balance, z = network.losses(batches.step(step).to(device))
            (loss + BALANCE * balance + Z * z).backward()
            for optimizer in all_optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            step += 1
            losses.append(loss.item())
            if step % REPORT_EVERY == 0 or step == steps:
                seconds = (time.monotonic() - since) / len(losses)
                report = {"step": step, "tokens": step * tokens_a_step, "loss": sum(losses) / len(losses),
                          "balance": balance.item(), "tokens_a_second": tokens_a_step / seconds}
                if step % JUDGE_EVERY == 0 or step == steps:
                    report["held_out"] = {text: judge(network, data / f"{text}.held-out.npy") for text in texts}
                reports.write(json.dumps(report) + "\n")
                reports.flush()
                left = (steps - step) * seconds / 60
                print(f"{out.name} {step}/{steps} loss {report['loss']:.4f} balance {report['balance']:.3f} "
                      f"{report.get('held_out', '')} {report['tokens_a_second']:.0f} tok/s, {left:.0f} min left", flush=True)
                losses, since = [], time.monotonic()
            if time.monotonic() - last_save > SAVE_SECONDS or step == steps:
                save(saved, {"shape": asdict(shape), "seed": seed, "step": step, "network": network.state_dict(),
                             "optimizers": [optimizer.state_dict() for optimizer in all_optimizers]})
                last_save = time.monotonic()
    return network
