"""The two networks: a mixture of experts in Qwen3-MoE's form, and its dense twin in Qwen3's form.

Master weights are float32; matrix products run in bfloat16, gates, softmax and norms in float32.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operations import CrossEntropy, GroupedLinear, Permute, attention, by_expert


@dataclass(frozen=True)
class Shape:
    vocabulary: int = 4096
    hidden: int = 256
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    head_size: int = 64
    experts: int = 16  # 0: dense
    chosen: int = 2
    inner: int = 128  # of one expert, or of the dense layer
    context: int = 512
    rope_theta: float = 10_000.0
    norm_epsilon: float = 1e-6

    def twin(self) -> "Shape":
        """The dense network that spends as many parameters on a token."""
        return Shape(**{**self.__dict__, "experts": 0, "chosen": 0, "inner": self.inner * self.chosen})


def matrix(*shape: int, deviation: float | None = None) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) * (deviation or shape[-1] ** -0.5))


class Experts(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.gate = matrix(shape.experts, shape.hidden, deviation=0.02)
        self.up = matrix(shape.experts, 2 * shape.inner, shape.hidden)  # gate_proj over up_proj
        self.down = matrix(shape.experts, shape.hidden, shape.inner)
        self.register_buffer("traffic", torch.zeros(shape.experts, dtype=torch.int64), persistent=False)
        self.balance = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        """x [tokens, hidden]; leaves the balancing loss in `balance` and adds to `traffic`."""
        chosen = self.shape.chosen
        logits = x.float() @ self.gate.T
        share = logits.softmax(-1)
        weights, experts = share.topk(chosen, -1)
        weights = weights / weights.sum(-1, keepdim=True)
        counts = experts.flatten().bincount(minlength=self.shape.experts)
        self.traffic += counts
        # Switch Transformer's loss, one when balanced, and ST-MoE's z-loss.
        self.balance = self.shape.experts * (counts / counts.sum() * share.mean(0)).sum()
        self.z = logits.logsumexp(-1).square().mean()
        source, choice, place, rows = by_expert(experts, counts)
        inner = swiglu(GroupedLinear.apply(Permute.apply(x, source, place), self.up, rows))
        outputs = GroupedLinear.apply(inner, self.down, rows)
        outputs = Permute.apply(outputs, place.flatten(), choice[:, None]).view(-1, chosen, x.shape[-1])
        return combine(outputs, weights)


class Dense(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.up = matrix(2 * shape.inner, shape.hidden)
        self.down = matrix(shape.hidden, shape.inner)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(swiglu(F.linear(x, self.up.bfloat16())), self.down.bfloat16())


class Layer(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.attention_norm = nn.Parameter(torch.ones(shape.hidden))
        self.query_norm = nn.Parameter(torch.ones(shape.head_size))
        self.key_norm = nn.Parameter(torch.ones(shape.head_size))
        self.query = matrix(shape.heads * shape.head_size, shape.hidden)
        self.key = matrix(shape.kv_heads * shape.head_size, shape.hidden)
        self.value = matrix(shape.kv_heads * shape.head_size, shape.hidden)
        self.output = matrix(shape.hidden, shape.heads * shape.head_size)
        self.feed_forward_norm = nn.Parameter(torch.ones(shape.hidden))
        self.feed_forward = Experts(shape) if shape.experts else Dense(shape)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        """x [batch, tokens, hidden] in bfloat16."""
        shape = self.shape
        batch, tokens, _ = x.shape
        normed = norm(x, self.attention_norm, shape)
        weights = torch.cat([self.query, self.key, self.value]).bfloat16()
        heads = F.linear(normed, weights).view(batch, tokens, -1, shape.head_size)
        query, key, value = heads.split([shape.heads, shape.kv_heads, shape.kv_heads], 2)
        query = rotate(norm(query, self.query_norm, shape), turn).transpose(1, 2)
        key = rotate(norm(key, self.key_norm, shape), turn).transpose(1, 2)
        mixed = attention(query, key, value.transpose(1, 2)).transpose(1, 2)
        x = x + F.linear(mixed.reshape(batch, tokens, -1), self.output.bfloat16())
        normed = norm(x, self.feed_forward_norm, shape)
        return x + self.feed_forward(normed.view(-1, shape.hidden)).view_as(x)


# Compiled, so that each is one pass over memory.
compiled = torch.compile(dynamic=False)
compiled_for_any_size = torch.compile(dynamic=True)


@compiled
def norm(x: Tensor, weight: Tensor, shape: Shape) -> Tensor:
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + shape.norm_epsilon) * weight).bfloat16()


@compiled
def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """RoPE on halves; x [batch, tokens, heads, head_size]."""
    cosine, sine = turn
    low, high = x.float().chunk(2, -1)
    return torch.cat([low * cosine - high * sine, high * cosine + low * sine], -1).bfloat16()


@compiled_for_any_size
def swiglu(x: Tensor) -> Tensor:
    gate, value = x.float().chunk(2, -1)
    return (F.silu(gate) * value).bfloat16()


@compiled
def combine(outputs: Tensor, weights: Tensor) -> Tensor:
    """outputs [tokens, chosen, hidden], weights [tokens, chosen]"""
    return (outputs.float() * weights[..., None]).sum(1).bfloat16()


class Network(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.embedding = matrix(shape.vocabulary, shape.hidden, deviation=0.02)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.final_norm = nn.Parameter(torch.ones(shape.hidden))
        for layer in self.layers:  # residual branches begin small
            for weight in (layer.output, layer.feed_forward.down):
                weight.data *= (2 * shape.layers) ** -0.5

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens [batch, length] -> normed hidden states [batch, length, hidden]; the head is the embedding."""
        shape = self.shape
        frequency = shape.rope_theta ** (-torch.arange(0, shape.head_size, 2, device=tokens.device) / shape.head_size)
        angle = torch.arange(tokens.shape[1], device=tokens.device)[:, None] * frequency
        turn = (angle.cos()[:, None], angle.sin()[:, None])
        x = F.embedding(tokens, self.embedding).bfloat16()
        for layer in self.layers:
            x = layer(x, turn)
        return norm(x, self.final_norm, shape)

    def losses(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(cross-entropy of predicting tokens[:, 1:], mean balancing loss, mean z-loss)."""
        hidden = self(tokens[:, :-1]).flatten(0, 1)
        loss = CrossEntropy.apply(hidden, self.embedding, tokens[:, 1:].flatten())
        parts = [layer.feed_forward for layer in self.layers if self.shape.experts]
        if not parts:
            return loss, torch.zeros(()), torch.zeros(())
        return loss, torch.stack([p.balance for p in parts]).mean(), torch.stack([p.z for p in parts]).mean()

    def counts(self) -> tuple[int, int]:
        """(all parameters, parameters a token meets)."""
        total = sum(parameter.numel() for parameter in self.parameters())
        if not self.shape.experts:
            return total, total
        idle = 1 - self.shape.chosen / self.shape.experts
        routed = sum(l.feed_forward.up.numel() + l.feed_forward.down.numel() for l in self.layers)
        return total, int(total - idle * routed)
