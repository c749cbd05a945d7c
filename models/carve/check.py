"""Holds the hand-written parts to the library's: `python3 check.py`; ends with an assertion where one is wrong."""

import numpy as np
import torch
import torch.nn.functional as F

import codes
from model import Attention, Gate, column_sums
from recover import CHUNK, Divergence


def same(name, found, wanted, tolerance):
    """Relative to the largest value, for the result and every gradient."""
    for index, (one, two) in enumerate(zip(found, wanted, strict=True)):
        error = ((one - two).abs().max() / two.abs().max()).item()
        assert error < tolerance, f"{name}, value {index}: relative error {error}"
        print(f"{name}, value {index}: relative error {error:.1e}")


def gradients(function, inputs):
    inputs = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    out = function(*inputs)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(7))
    return [out, *torch.autograd.grad((out * weight).sum(), inputs)]


def attention():
    query, key, value = (torch.randn(2, heads, 48, 16) for heads in (6, 2, 2))
    repeated = lambda q, k, v: F.scaled_dot_product_attention(
        q, k.repeat_interleave(3, 1), v.repeat_interleave(3, 1), is_causal=True
    )
    inputs = [query, key, value]
    same("attention", gradients(Attention.apply, inputs), gradients(repeated, inputs), 1e-5)


def divergence():
    student, teacher = torch.randn(CHUNK + 40, 16), torch.randn(CHUNK + 40, 16)
    head = torch.randn(96, 16)
    logarithms = lambda hidden: F.log_softmax(hidden @ head.T, -1)
    plain = lambda s: F.kl_div(logarithms(s), logarithms(teacher), log_target=True, reduction="batchmean")
    ours = lambda s: Divergence.apply(s, teacher, head)
    same("divergence", gradients(ours, [student]), gradients(plain, [student]), 1e-5)


def gate():
    """Chosen experts weigh about one; `fit` moves the gate and nothing else, towards the shares."""
    x = torch.randn(200, 16, requires_grad=True)
    gate = Gate(torch.randn(6, 16), 2, 1e-4)
    mask = gate(x.detach())
    assert ((mask > 0).sum(-1) == 2).all() and (mask[mask > 0] - 1).abs().max() < 1e-2
    inner = (x.detach() @ torch.randn(24, 16).T).exp()
    gate.columns = column_sums(torch.randn(8, 24), 3, 6)
    assert gate.columns.count_nonzero(1).tolist() == [3] * 6 and not gate.columns[:, :6].any()
    optimizer = torch.optim.Adam([gate.weight], lr=0.05)
    misfits = []
    for _ in range(60):
        gate.fit(x, inner)
        misfits.append(gate.misfit.item())
        optimizer.zero_grad()
        gate.misfit.backward()
        optimizer.step()
    assert x.grad is None and misfits[-1] < 0.8 * misfits[0], misfits
    print(f"gate: misfit from {misfits[0]:.3f} to {misfits[-1]:.3f}")


def rounding():
    values = np.random.default_rng(0).standard_normal((3, 5, 192)).astype(np.float32)
    values[1, 2, :64] = 0
    stored, scales = codes.encode(values)
    assert stored.shape == (3, 5, codes.BITS, 24) and scales.shape == (3, 5, 3)
    found = codes.decode(stored, scales)
    assert (found[1, 2, :64] == 0).all()
    error = np.sqrt(np.square(found - values).mean() / np.square(values).mean())
    assert error < 0.055, error  # half of that with 4 bits
    print(f"codes of five bits: relative error {error:.3f}")


if __name__ == "__main__":
    torch.manual_seed(0)
    attention()
    divergence()
    gate()
    rounding()
