"""The dense model and its carved twin in torch: the same code with and without gates.

A feed-forward network is computed at its full width; a mask over groups of neurons stands for routing, which gives exactly
what the chosen experts give. Corrections of low rank go beside the frozen matrices. Gates, softmax and top-k are float32.
"""

import torch
import torch.nn.functional as F
from torch import nn

MATRICES = ("query", "key", "value", "output", "gated", "up", "down")


def rms_norm(x, weight, epsilon):
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    scale = torch.rsqrt(norm.square() / x.shape[-1] + epsilon)
    return x * scale.to(x.dtype) * weight.to(x.dtype)


def causal_shares(scaled, key, length):
    """Softmax of causal scores, [key-value heads, query heads of each times length, length]."""
    future = torch.full((length, length), -torch.inf, dtype=scaled.dtype).triu(1)
    scores = torch.bmm(scaled, key.transpose(1, 2))
    scores.view(len(scores), -1, length, length).add_(future)
    return torch.softmax(scores, -1)


class Attention(torch.autograd.Function):
    """Causal attention, key and value heads shared by neighbouring query heads. The library's gradient is the slowest part of
    a step on a processor; this one works with whole matrices of scores, which is fine for short windows."""

    @staticmethod
    def forward(context, query, key, value):
        context.save_for_backward(query, key, value)
        together = (query.shape[0] * key.shape[1], -1, query.shape[3])
        scaled = (query * query.shape[3] ** -0.5).reshape(together)
        share = causal_shares(scaled, key.reshape(together), query.shape[2])
        return torch.bmm(share, value.reshape(together)).view(query.shape)

    @staticmethod
    def backward(context, outer):
        query, key, value = context.saved_tensors
        length, width = query.shape[2:]
        scale = width**-0.5
        together = (query.shape[0] * key.shape[1], -1, width)
        outer, scaled = outer.reshape(together), (query * scale).reshape(together)
        flat_key, flat_value = key.reshape(together), value.reshape(together)
        share = causal_shares(scaled, flat_key, length)
        to_share = torch.bmm(outer, flat_value.transpose(1, 2))
        to_scores = torch._softmax_backward_data(to_share, share, -1, query.dtype)
        to_query = torch.bmm(to_scores, flat_key).view(query.shape) * scale
        to_key = torch.bmm(to_scores.transpose(1, 2), scaled).view(key.shape)
        return to_query, to_key, torch.bmm(share.transpose(1, 2), outer).view(value.shape)


class Linear(nn.Module):
    """A frozen matrix with an optional correction `right` after `left`."""

    def __init__(self, weight, rank, generator):
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        outputs, inputs = weight.shape
        self.rank = rank
        if rank:
            left = torch.randn(rank, inputs, generator=generator) / inputs**0.5
            self.left = nn.Parameter(left)
            self.right = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, x):
        y = F.linear(x, self.weight)
        if self.rank:
            y = y + F.linear(F.linear(x, self.left.to(x.dtype)), self.right.to(x.dtype))
        return y


class Gate(nn.Module):
    """Chooses `chosen` of the routed groups; every chosen one weighs about one.

    That is `chosen * softmax(temperature * logits)` over the chosen, with its exact gradient. A gradient that also pretends that
    groups left out are heard (a sigmoid around the border) was tried: that recovery made the model worse.
    """

    def __init__(self, weight, chosen, temperature):
        super().__init__()
        self.weight = nn.Parameter(weight.float())
        self.chosen = chosen
        # softplus keeps the temperature positive; this is its inverse.
        self.raw_temperature = nn.Parameter(torch.tensor(float(temperature)).expm1().log())
        self.traffic = torch.zeros(weight.shape[0], dtype=torch.int64)
        self.columns = None  # as `column_sums` returns them
        self.misfit = None

    def temperature(self):
        return F.softplus(self.raw_temperature)

    def forward(self, x):
        logits = F.linear(x.float(), self.weight)
        best, index = logits.topk(self.chosen, dim=-1)
        weights = self.chosen * torch.softmax(self.temperature() * best, dim=-1)
        mask = torch.zeros_like(logits).scatter(-1, index, weights)
        if not torch.is_grad_enabled():
            self.traffic += torch.bincount(index.flatten(), minlength=len(self.traffic))
        return mask

    def fit(self, x, inner):
        """Leaves in `misfit` the soft cross-entropy of the logits from the routed groups' shares of the contribution that all
        activations `inner` would make; its gradient goes to the gate alone."""
        with torch.no_grad():
            contribution = F.linear(inner.square(), self.columns).float()
            target = contribution / contribution.sum(-1, keepdim=True)
        logits = F.linear(x.detach().float(), self.weight)
        self.misfit = F.cross_entropy(logits.flatten(0, -2), target.flatten(0, -2))


class Layer(nn.Module):
    def __init__(self, shape, arrays, index, rank, generator, dtype):
        super().__init__()
        self.shape = shape
        for name in MATRICES:
            weight = torch.from_numpy(arrays[f"{index}.{name}"]).to(dtype)
            ranks = rank.get(name, 0)
            setattr(self, name, Linear(weight, ranks, generator))
        self.attention_norm = nn.Parameter(torch.from_numpy(arrays[f"{index}.attention_norm"]).clone())
        self.feed_norm = nn.Parameter(torch.from_numpy(arrays[f"{index}.feed_norm"]).clone())
        self.gate = None
        self.group = None

    def attend(self, x, cosine, sine):
        shape = self.shape
        batch, length, _ = x.shape
        split = lambda y, heads: y.view(batch, length, heads, shape.head_dim).transpose(1, 2)
        query = rotate(split(self.query(x), shape.heads), cosine, sine)
        key = rotate(split(self.key(x), shape.kv_heads), cosine, sine)
        value = split(self.value(x), shape.kv_heads)
        y = Attention.apply(query, key, value)
        return self.output(y.transpose(1, 2).reshape(batch, length, -1))

    def inner(self, x):
        return F.silu(self.gated(x)) * self.up(x)

    def feed(self, x):
        inner = self.inner(x)
        if self.gate is not None:
            mask = self.gate(x).to(x.dtype)
            batch, length, width = inner.shape
            groups = inner.view(batch, length, width // self.group, self.group)
            shared = groups.shape[2] - mask.shape[-1]
            if torch.is_grad_enabled():
                self.gate.fit(x, inner)
            mask = F.pad(mask, (shared, 0), value=1.0)
            inner = (groups * mask.unsqueeze(-1)).view(batch, length, width)
        return self.down(inner)

    def forward(self, x, cosine, sine):
        epsilon = self.shape.epsilon
        x = x + self.attend(rms_norm(x, self.attention_norm, epsilon), cosine, sine)
        return x + self.feed(rms_norm(x, self.feed_norm, epsilon))


def column_sums(down, group, routed):
    """[routed, neurons] that makes squared activations into each routed group's contribution: squared norms of its columns."""
    norms = down.float().square().sum(0)
    place = torch.arange(len(norms)) // group - (len(norms) // group - routed)
    return (norms * (place == torch.arange(routed)[:, None])).to(down.dtype)


def rotate(x, cosine, sine):
    one, two = x.chunk(2, -1)
    return torch.cat((one * cosine - two * sine, two * cosine + one * sine), -1)


class Model(nn.Module):
    """The dense model; `carve` makes it the carved one."""

    def __init__(self, shape, arrays, rank=None, seed=0, dtype=torch.bfloat16):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.shape = shape
        self.dtype = dtype
        self.embedding = nn.Parameter(torch.from_numpy(arrays["embedding"]).to(dtype), requires_grad=False)
        self.layers = nn.ModuleList(
            Layer(shape, arrays, index, rank or {}, generator, dtype) for index in range(shape.layers)
        )
        self.final_norm = nn.Parameter(torch.from_numpy(arrays["final_norm"]).clone())
        self._angles = {}

    def carve(self, gates, group, chosen, temperature):
        """Routes the groups after the shared ones: `gates` has a matrix [routed, hidden] for each layer."""
        for layer, weight in zip(self.layers, gates, strict=True):
            layer.gate = Gate(torch.as_tensor(weight), chosen, temperature)
            layer.gate.columns = column_sums(layer.down.weight, group, len(weight))
            layer.group = group

    def angles(self, length):
        if length not in self._angles:
            half = torch.arange(0, self.shape.head_dim, 2, dtype=torch.float32) / self.shape.head_dim
            angles = torch.outer(torch.arange(length).float(), self.shape.rope_base**-half)
            self._angles[length] = (angles.cos().to(self.dtype), angles.sin().to(self.dtype))
        return self._angles[length]

    def forward(self, tokens):
        """The last hidden states after the final norm."""
        x = F.embedding(tokens, self.embedding)
        cosine, sine = self.angles(tokens.shape[1])
        for layer in self.layers:
            x = layer(x, cosine, sine)
        return rms_norm(x, self.final_norm, self.shape.epsilon)

    def logits(self, hidden):
        return F.linear(hidden, self.embedding)

    def trained(self):
        """Names and tensors of what recovery changes."""
        return {name: tensor for name, tensor in self.named_parameters() if tensor.requires_grad}
