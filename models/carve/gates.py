"""Fits a layer's gate: logits without bias whose softmax comes near each routed expert's share of the contribution."""

import torch
import torch.nn.functional as F


def expert_shares(share, order, group_size, shared_groups):
    """[tokens, routed experts], summing to one for each token."""
    routed = share[:, torch.from_numpy(order.astype("int64"))[shared_groups * group_size :]]
    mass = routed.view(len(share), -1, group_size).sum(-1)
    return mass / mass.sum(1, keepdim=True)


def fit_gate(inputs, target, steps=40, rate=0.01, ridge=1e-2, seed=0):
    """The gate's matrix [experts, hidden] in float32: first the logarithms by least squares, then soft cross-entropy."""
    generator = torch.Generator().manual_seed(seed)
    x = inputs.float()
    scale = x.square().mean().sqrt()
    x = x / scale
    logarithms = (target + 1e-3).log()
    logarithms = logarithms - logarithms.mean(1, keepdim=True)
    gram = x.T @ x / len(x)
    gram.diagonal().add_(ridge * gram.diagonal().mean())
    start = torch.linalg.solve(gram, x.T @ logarithms / len(x))
    weight = start.T.contiguous().requires_grad_()
    optimizer = torch.optim.Adam([weight], lr=rate, betas=(0.9, 0.98))
    batch = min(2048, len(x))
    for step in range(steps):
        for entry in optimizer.param_groups:
            entry["lr"] = rate * (1 - step / steps)
        first = int(torch.randint(len(x) - batch + 1, (1,), generator=generator))
        part = slice(first, first + batch)
        loss = F.cross_entropy(x[part] @ weight.T, target[part])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (weight / scale).detach()


def kept_share(inputs, target, weight, chosen):
    """Of the routed contribution, the part that the gate's choice keeps, and the part that the best choice would."""
    picked = (inputs.float() @ weight.T).topk(chosen, dim=1).indices
    gate = target.gather(1, picked).sum(1).mean()
    best = target.topk(chosen, dim=1).values.sum(1).mean()
    return gate.item(), best.item()
