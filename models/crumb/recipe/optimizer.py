"""Muon for matrices inside layers, AdamW for all else; one schedule for both.

Muon: Jordan et al. 2024 (momentum, then the nearest orthogonal matrix by a quintic Newton-Schulz iteration).
"""

import torch
from torch import Tensor

from network import Network

MUON_RATE, MUON_MOMENTUM, MUON_DECAY = 0.02, 0.95, 0.05
ADAM_RATES = {"embedding": 3e-3, "gate": 2e-3, "norm": 2e-3}
WARM_UP_TOKENS = 500_000
DECAY_SHARE = 0.3


def rate(tokens: int, total: int) -> float:
    """Share of the full rate: warm-up, constant, then linear to zero over the last part. Before that part it does not
    depend on `total`, so a run may be lengthened or shortened until then."""
    return min(1.0, (tokens + 1) / WARM_UP_TOKENS, max(0.0, (total - tokens) / (DECAY_SHARE * total)))


def orthogonalize(matrices: Tensor) -> Tensor:
    """Each of [..., rows, columns] to about U V^T of its singular value decomposition."""
    x = matrices.bfloat16()
    if transposed := x.shape[-2] > x.shape[-1]:
        x = x.mT.contiguous()
    x = x / (x.float().square().sum((-2, -1), keepdim=True).sqrt() + 1e-7).bfloat16()
    for _ in range(5):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x.mT if transposed else x


class Muon(torch.optim.Optimizer):
    """Matrices [..., rows, columns]; a parameter with `pieces` stacks as many matrices along its rows."""

    def __init__(self, parameters: list[Tensor]):
        super().__init__(parameters, {"lr": MUON_RATE})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"].lerp_(parameter.grad, 1 - MUON_MOMENTUM)
                update = parameter.grad.lerp(momentum, MUON_MOMENTUM)
                rows, columns = update.shape[-2:]
                pieces = getattr(parameter, "pieces", 1)
                update = orthogonalize(update.reshape(-1, rows // pieces, columns)).view_as(parameter)
                parameter.mul_(1 - group["lr"] * MUON_DECAY)
                parameter.add_(update.float(), alpha=-group["lr"] * max(1, rows / pieces / columns) ** 0.5)


def optimizers(network: Network) -> list[torch.optim.Optimizer]:
    groups = {"matrix": [], **{kind: [] for kind in ADAM_RATES}}
    for name, parameter in network.named_parameters():
        last = name.rsplit(".", 1)[-1]
        kind = "norm" if "norm" in last else last if last in ADAM_RATES else "matrix"
        groups[kind].append(parameter)
        if last == "up":
            parameter.pieces = 2
    adam = [{"params": groups[kind], "lr": value} for kind, value in ADAM_RATES.items() if groups[kind]]
    result = [Muon(groups["matrix"]), torch.optim.AdamW(adam, betas=(0.9, 0.95), weight_decay=0.0, fused=True)]
    for optimizer in result:
        for group in optimizer.param_groups:
            group["full_lr"] = group["lr"]
    return result


def set_rate(all_optimizers: list[torch.optim.Optimizer], share: float) -> None:
    for optimizer in all_optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["full_lr"] * share
