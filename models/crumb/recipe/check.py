"""Holds the hand-written operations to autograd's: `python3 check.py`; ends with an assertion where one is wrong."""

import torch
from torch.nn import functional as F

import operations


def same(name: str, mine, reference, tolerance: float) -> None:
    """Relative to the largest value of the reference, for the result and every gradient."""
    for index, (a, b) in enumerate(zip(mine, reference)):
        error = ((a.float() - b.float()).abs().max() / b.float().abs().max()).item()
        assert error < tolerance, f"{name}, value {index}: relative error {error}"
        print(f"{name}, value {index}: relative error {error:.1e}")


def gradients(function, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    inputs = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    out = function(*inputs)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(7)).to(out.dtype)
    return [out, *torch.autograd.grad((out * weight).sum(), inputs)]


def main() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, heads, 96, 32) for heads in (4, 2, 2))
    wide = lambda q, k, v: F.scaled_dot_product_attention(
        q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1), is_causal=True
    )
    same("attention", gradients(operations.attention, [query, key, value]), gradients(wide, [query, key, value]), 1e-5)

    rows, weights, counts = torch.randn(50, 32), torch.randn(4, 24, 32), [20, 0, 13, 17]
    grouped = lambda r, w: operations.GroupedLinear.apply(r, w, counts)
    looped = lambda r, w: torch.cat([part @ w[i].T for i, part in enumerate(r.split(counts))])
    same("grouped linear", gradients(grouped, [rows, weights]), gradients(looped, [rows, weights]), 1e-5)

    experts = torch.rand(50, 4).topk(2, -1).indices
    source, choice, place, sizes = operations.by_expert(experts, experts.flatten().bincount(minlength=4))
    assert sum(sizes) == len(source) and all(size % 64 == 0 for size in sizes)
    there_and_back = lambda r: operations.Permute.apply(
        operations.Permute.apply(r, source, place) * 3, place.flatten(), choice[:, None]
    )
    same("permute", gradients(there_and_back, [rows]), gradients(lambda r: 3 * r.repeat_interleave(2, 0), [rows]), 1e-6)
    for row, token in enumerate(source.tolist()):
        assert token < 0 or row in place[token]

    hidden, head, wanted = torch.randn(600, 32), torch.randn(128, 32), torch.randint(0, 128, (600,))
    same("cross-entropy", gradients(lambda h, w: operations.CrossEntropy.apply(h, w, wanted), [hidden, head]),
         gradients(lambda h, w: F.cross_entropy(h @ w.T, wanted), [hidden, head]), 1e-5)


if __name__ == "__main__":
    main()
