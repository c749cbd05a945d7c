"""Recovery: the carved model learns the dense model's next-token distributions (KL divergence, dense as the target).

Gates, norms and the corrections of low rank learn; the dense matrices stay. The divergence hardly tells a gate which expert it
should have chosen, so gates also go on learning their experts' true shares of the contribution, at the inputs that the carved
model itself makes. It can be interrupted: a checkpoint is written every few minutes, and the same call goes on from it.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

CHUNK = 256  # positions whose logits are in memory at a time
SAVE_SECONDS = 180.0


@dataclass(frozen=True)
class Settings:
    """The rate rises over `warm_up` steps, stays, and falls to zero over the last `fall` of the steps, or of the minutes if
    those end earlier."""

    steps: int = 300
    minutes: float = float("inf")
    batch: int = 2
    positions: float = 1.0  # share of each window's positions that the loss looks at
    left_rate: float = 1e-3
    right_rate: float = 2.5e-3
    misfit: float = 1.0  # weight of the gates' own loss, summed over layers
    gate_rate: float = 0.01  # of the weight's root mean square, as the next
    norm_rate: float = 0.002
    warm_up: int = 5
    fall: float = 0.6
    seed: int = 0


@torch.compile(dynamic=False)
def compare(wanted, found):
    """The summed KL divergence of logits `found` from logits `wanted`, and its gradient, in one pass."""
    kind = found.dtype
    wanted, found = F.log_softmax(wanted.float(), dim=-1), F.log_softmax(found.float(), dim=-1)
    probability = wanted.exp()
    divergence = (probability * (wanted - found)).sum()
    return divergence, (found.exp() - probability).to(kind)


class Divergence(torch.autograd.Function):
    """Mean KL divergence of the student's distributions from the teacher's, from last hidden states and a common head.

    Its gradient is computed along with it, chunk by chunk, so that no logits are kept."""

    @staticmethod
    def forward(context, student, teacher, head):
        gradient = torch.empty_like(student)
        total = 0.0
        for start in range(0, len(student), CHUNK):
            part = slice(start, start + CHUNK)
            divergence, difference = compare(F.linear(teacher[part], head), F.linear(student[part], head))
            total += divergence.item()
            gradient[part] = difference @ head
        context.save_for_backward(gradient / len(student))
        return torch.tensor(total / len(student))

    @staticmethod
    def backward(context, outer):
        (gradient,) = context.saved_tensors
        return gradient * outer.to(gradient.dtype), None, None


def optimizer_of(model, settings):
    groups = []
    for name, tensor in model.trained().items():
        size = tensor.detach().square().mean().sqrt().item()
        if name.endswith(".left"):
            rate = settings.left_rate
        elif name.endswith(".right"):
            rate = settings.right_rate
        elif name.endswith("gate.weight"):
            rate = settings.gate_rate * size
        elif name.endswith("raw_temperature"):
            rate = 0.01
        else:
            rate = settings.norm_rate * size
        groups.append({"params": [tensor], "lr": rate, "rate": rate})
    return torch.optim.Adam(groups, betas=(0.9, 0.98))


def factor(step, passed, settings):
    """`passed` is the part of steps or of time that is behind."""
    return min(1.0, (step + 1) / settings.warm_up, (1 - passed) / settings.fall)


def save(path, model, optimizer, step, log):
    """The checkpoint appears whole or not at all."""
    scratch = path.with_suffix(".part")
    state = {name: tensor.detach() for name, tensor in model.trained().items()}
    torch.save({"trained": state, "optimizer": optimizer.state_dict(), "step": step, "log": log}, scratch)
    scratch.replace(path)


def load(path, model, optimizer):
    state = torch.load(path, weights_only=True)
    trained = model.trained()
    with torch.no_grad():
        for name, tensor in state["trained"].items():
            trained[name].copy_(tensor)
    rates = [group["rate"] for group in optimizer.param_groups]
    optimizer.load_state_dict(state["optimizer"])
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["rate"] = rate  # of the settings now, not of those then
    return state["step"], state["log"]


def one_step(student, teacher, optimizer, tokens, settings, step, passed):
    with torch.no_grad():
        target = teacher(tokens)
    found = student(tokens)
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
    length = tokens.shape[1]
    chosen = torch.randperm(length, generator=generator)[: round(length * settings.positions)].sort().values
    loss = Divergence.apply(found[:, chosen].flatten(0, 1), target[:, chosen].flatten(0, 1), teacher.embedding)
    misfit = sum(layer.gate.misfit for layer in student.layers)
    optimizer.zero_grad()
    (loss + settings.misfit * misfit).backward()
    trained = student.trained().items()
    torch.nn.utils.clip_grad_norm_([tensor for name, tensor in trained if not name.endswith("gate.weight")], 1.0)
    for group in optimizer.param_groups:
        group["lr"] = group["rate"] * factor(step, passed, settings)
    optimizer.step()
    return loss.item(), misfit.item() / len(student.layers)


def recover(student, teacher, windows, folder, settings):
    """Trains on `windows` in order; returns the log, one entry for each step."""
    path = Path(folder) / "checkpoint.pt"
    optimizer = optimizer_of(student, settings)
    step, log = load(path, student, optimizer) if path.exists() else (0, [])
    if len(windows) < settings.steps * settings.batch:
        raise SystemExit(f"{len(windows)} windows, {settings.steps} steps of {settings.batch} need more")
    first, began, saved = step, time.monotonic(), time.monotonic()
    spent = sum(entry["seconds"] for entry in log)
    while (passed := max(step / settings.steps, (spent + time.monotonic() - began) / (60 * settings.minutes))) < 1:
        before = time.monotonic()
        tokens = windows[step * settings.batch : (step + 1) * settings.batch]
        loss, misfit = one_step(student, teacher, optimizer, tokens, settings, step, passed)
        step += 1
        now = time.monotonic()
        log.append({"tokens": step * tokens.numel(), "seconds": now - before, "divergence": loss, "misfit": misfit})
        if step % 5 == 0:
            recent = [entry["divergence"] for entry in log[-10:]]
            pace = (now - began) / (step - first)
            left = min((settings.steps - step) * pace, 60 * settings.minutes - spent - (now - began)) / 60
            print(
                f"step {step} of {settings.steps}: divergence {sum(recent) / len(recent):.4f}, "
                f"{tokens.numel() / pace:.0f} tokens/s, {left:.0f} min left",
                flush=True,
            )
        if now - saved > SAVE_SECONDS:
            save(path, student, optimizer, step, log)
            saved = now
    save(path, student, optimizer, step, log)
    (Path(folder) / "recovery.json").write_text(json.dumps({"settings": asdict(settings), "log": log}))
    return log
