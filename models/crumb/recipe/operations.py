"""Operations whose stock forms are slow on a processor: gathers, matrix products by expert, attention, cross-entropy.

Each is exact, with its own backward pass; `check.py` holds them to autograd's.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK = 512  # tokens of cross-entropy at once


class Permute(torch.autograd.Function):
    """rows[source], a source of -1 giving zeros. `place` [rows, copies] says where each row went; backward gathers, where
    autograd's would scatter."""

    @staticmethod
    def forward(ctx, rows: Tensor, source: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(place)
        return take(rows, source)

    @staticmethod
    def backward(ctx, grad: Tensor):
        (place,) = ctx.saved_tensors
        out = take(grad, place[:, 0])
        for copy in range(1, place.shape[1]):
            out += take(grad, place[:, copy])
        return out, None, None


def take(rows: Tensor, source: Tensor) -> Tensor:
    absent = source < 0
    out = rows.index_select(0, source.clamp_min(0))
    return out.masked_fill_(absent[:, None], 0) if absent.any() else out


def by_expert(experts: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor, list[int]]:
    """Sorts tokens by their experts [tokens, chosen], `counts` choices an expert: (`source` the token of each row,
    `choice` which of all choices it is, `place` [tokens, chosen] the row of each choice, rows an expert). Every expert's rows are filled up to a multiple
    of 64 with -1: matrix products of ever new sizes would each be compiled anew by oneDNN."""
    flat = experts.flatten()
    order = flat.argsort(stable=True)
    padded = (counts + 63) // 64 * 64
    shift = (padded.cumsum(0) - padded) - (counts.cumsum(0) - counts)
    rows = torch.arange(len(order), device=flat.device) + shift[flat[order]]
    choice = torch.full((int(padded.sum()),), -1, device=flat.device)
    choice[rows] = order
    place = torch.empty_like(order)
    place[order] = rows
    source = torch.where(choice < 0, -1, choice // experts.shape[1])
    return source, choice, place.view_as(experts), padded.tolist()


class GroupedLinear(torch.autograd.Function):
    """rows [n, in], sorted by group, times weights [groups, out, in] of the group they belong to."""

    @staticmethod
    def forward(ctx, rows: Tensor, weights: Tensor, counts: list[int]) -> Tensor:
        low = weights.to(rows.dtype)
        out = rows.new_empty(len(rows), weights.shape[1])
        for part, result, weight in zip(rows.split(counts), out.split(counts), low):
            torch.mm(part, weight.T, out=result)
        ctx.save_for_backward(rows, low)
        ctx.counts = counts
        return out

    @staticmethod
    def backward(ctx, grad: Tensor):
        rows, low = ctx.saved_tensors
        rows_grad = torch.empty_like(rows)
        weights_grad = torch.empty_like(low)
        parts = (rows.split(ctx.counts), rows_grad.split(ctx.counts), grad.split(ctx.counts), low, weights_grad)
        for part, part_grad, out_grad, weight, weight_grad in zip(*parts):
            torch.mm(out_grad, weight, out=part_grad)
            torch.mm(out_grad.T, part, out=weight_grad)
        return rows_grad, weights_grad.float(), None


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Causal grouped-query attention; query [batch, heads, tokens, size], key and value [batch, kv heads, tokens, size]."""
    group = query.shape[1] // key.shape[1]
    if query.is_cuda:
        key, value = (part.repeat_interleave(group, 1) for part in (key, value))
        return F.scaled_dot_product_attention(query, key, value, is_causal=True)
    return CausalAttention.apply(query, key, value)


class CausalAttention(torch.autograd.Function):
    """`attention` on a processor: the stock flash kernel forward; backward one kv head's scores at a time, which stay in
    the cache, and one pass over them, where the stock kernel takes most of a training step."""

    @staticmethod
    def forward(ctx, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        group = query.shape[1] // key.shape[1]
        wide_key, wide_value = (part.repeat_interleave(group, 1) for part in (key, value))
        flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        out, sums = flash(query, wide_key, wide_value, 0.0, True)
        ctx.save_for_backward(query, key, value, out, sums)
        return out

    @staticmethod
    def backward(ctx, grad: Tensor):
        query, key, value, out, sums = ctx.saved_tensors
        batch, heads, tokens, size = query.shape
        kv_heads = key.shape[1]
        group = heads // kv_heads
        query_grad, key_grad, value_grad = (torch.empty_like(part) for part in (query, key, value))
        delta = (grad.float() * out.float()).sum(-1)
        hidden = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
        for b in range(batch):
            for h in range(kv_heads):
                part = slice(h * group, (h + 1) * group)
                q, g = (tensor[b, part].reshape(-1, size) for tensor in (query, grad))
                scores, slopes = q @ key[b, h].T, g @ value[b, h].T
                shape = (group, tokens, tokens)
                share, slope = scores_backward(
                    scores.view(shape), slopes.view(shape), sums[b, part], delta[b, part], hidden, size**-0.5
                )
                share, slope = share.view(-1, tokens), slope.view(-1, tokens)
                value_grad[b, h] = share.T @ g
                key_grad[b, h] = slope.T @ q
                query_grad[b, part] = (slope @ key[b, h]).view(group, tokens, size)
        return query_grad, key_grad, value_grad


@torch.compile(dynamic=False)
def scores_backward(scores: Tensor, slopes: Tensor, sums: Tensor, delta: Tensor, hidden: Tensor, scale: float):
    """(softmax, gradient of the scores) of [group, tokens, tokens] in one pass."""
    share = torch.where(hidden, 0.0, (scores.float() * scale - sums[..., None]).exp())
    slope = share * (slopes.float() - delta[..., None]) * scale
    return share.to(scores.dtype), slope.to(scores.dtype)


@torch.compile(dynamic=False)
def logits_backward(logits: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """(summed cross-entropy, its gradient) of logits [tokens, vocabulary]"""
    wide = logits.float()
    share = wide.log_softmax(-1)
    loss = -share.gather(-1, wanted).sum()
    hit = torch.arange(logits.shape[-1], device=logits.device) == wanted
    return loss, (share.exp() - hit.float()).to(logits.dtype)


class CrossEntropy(torch.autograd.Function):
    """Mean cross-entropy with a linear head, by blocks of tokens, so that no [tokens, vocabulary] array is kept."""

    @staticmethod
    def forward(ctx, hidden: Tensor, head: Tensor, wanted: Tensor) -> Tensor:
        weights = head.to(hidden.dtype)
        hidden_grad = torch.empty_like(hidden)
        head_grad = torch.zeros_like(head)
        total = torch.zeros((), device=hidden.device)
        for start in range(0, len(hidden), BLOCK):
            block = slice(start, start + BLOCK)
            loss, share = logits_backward(F.linear(hidden[block], weights), wanted[block, None])
            total += loss
            hidden_grad[block] = share @ weights
            head_grad += share.T @ hidden[block]
        ctx.save_for_backward(hidden_grad, head_grad)
        return total / len(hidden)

    @staticmethod
    def backward(ctx, grad: Tensor):
        hidden_grad, head_grad = ctx.saved_tensors
        scale = grad / len(hidden_grad)
        return hidden_grad * scale.to(hidden_grad.dtype), head_grad * scale, None
