"""Functions and layers of PyTorch, in groups that share an input: every supported operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as f

from support.torch_networks import Function, settled

Case = tuple[tuple[int, ...], nn.Module]


class Together(nn.Module):
    """The results of several functions and modules of one input, each flattened to floats."""

    def __init__(self, *parts: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            part if isinstance(part, nn.Module) else Function(lambda self, x, part=part: part(x))
            for part in parts
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [part(x).float() for part in self.parts]


class Result(nn.Module):
    """One of several results of a module."""

    def __init__(self, module: nn.Module, *path: int, given: int = 1) -> None:
        super().__init__()
        self.module, self.path, self.given = module, path, given

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.module(*[x] * self.given)
        for place in self.path:
            found = found[place]
        return found


MAP, ROWS, SEQUENCE = (2, 4, 6, 6), (3, 12), (2, 4, 12)


def _with(function: Callable[..., Any], **parts: Any) -> nn.Module:
    return Function(function, **parts)


def _set(x: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    y[:, 0] = 1.0
    return y


def cases() -> Mapping[str, Case]:
    """Input shape and module of each group, its random weights the same at every call."""
    torch.manual_seed(0)
    groups: dict[str, Case] = {
        "signs and roundings": (
            MAP,
            Together(torch.abs, torch.neg, torch.sign, torch.ceil, torch.floor, torch.round, torch.trunc,
                     lambda x: torch.round(x, decimals=2)),
        ),
        "exponentials": (
            MAP,
            Together(torch.exp, torch.expm1, torch.erf, torch.sigmoid, torch.tanh,
                     *(lambda x, g=g: g(x.abs() + 1.1)
                       for g in (torch.log, torch.log2, torch.log10, torch.log1p, torch.sqrt, torch.rsqrt,
                                 torch.reciprocal, torch.acosh))),
        ),
        "angles": (
            MAP,
            Together(torch.sin, torch.cos, torch.tan, torch.sinh, torch.cosh, torch.atan, torch.asinh,
                     lambda x: torch.atanh(x * 0.1), lambda x: torch.asin(x * 0.1),
                     lambda x: torch.acos(x * 0.1), lambda x: torch.atan2(x, x * x + 1)),
        ),
        "activations": (
            MAP,
            Together(f.relu, f.relu6, f.hardtanh, f.hardswish, f.hardsigmoid, f.silu, f.gelu,
                     lambda x: f.gelu(x, approximate="tanh"), f.elu, lambda x: f.celu(x, 0.5), f.selu,
                     lambda x: f.leaky_relu(x, 0.3), f.mish, f.hardshrink, lambda x: f.softshrink(x, 0.2),
                     lambda x: f.softplus(x, beta=2, threshold=1), f.logsigmoid, f.softsign, nn.PReLU(4),
                     nn.GLU(1), nn.Dropout(0.5)),
        ),
        "bounds": (
            MAP,
            Together(lambda x: x.clamp(-0.2, 0.3), lambda x: x.clamp_min(0.3), lambda x: x.clamp_max(0.3),
                     lambda x: torch.maximum(x, x * x), lambda x: torch.minimum(x, x * x)),
        ),
        "sums": (
            MAP,
            Together(lambda x: x + 1, lambda x: torch.add(x, x.relu(), alpha=3), lambda x: 1 - x,
                     lambda x: torch.sub(x, x.relu(), alpha=0.5), lambda x: 2 * x * x, lambda x: x / 255,
                     lambda x: x / (x.abs() + 1), lambda x: torch.lerp(x, x * 2, 0.3),
                     lambda x: torch.addcmul(x, x, x, value=0.5), lambda x: torch.addcdiv(x, x, x.abs() + 1),
                     lambda x: x.relu().add_(1).mul_(2)),
        ),
        "powers and remainders": (
            MAP,
            Together(lambda x: x**2, lambda x: x**3, lambda x: 2**x, lambda x: x.abs() ** x,
                     lambda x: torch.remainder(x, 0.7), lambda x: torch.fmod(x, 0.7),
                     lambda x: torch.div(x, 0.3, rounding_mode="floor"),
                     lambda x: torch.div(x, 0.3, rounding_mode="trunc")),
        ),
        "choices": (
            MAP,
            Together(lambda x: torch.where(x > 0, x, x * 0.1), lambda x: x.masked_fill(x <= 0, -1.0),
                     lambda x: (x > 0) & (x < 1) | ~(x >= -1), lambda x: (x == x) & ~torch.isnan(x),
                     lambda x: torch.logical_and(x > 0, x != 1), torch.nan_to_num,
                     lambda x: (x > 2).any(1)),
        ),
        "reductions": (
            MAP,
            Together(torch.sum, torch.mean, torch.prod, torch.amax, lambda x: x.sum((1, 3), keepdim=True),
                     lambda x: x.mean((2, 3)), lambda x: x.mean(0), lambda x: x.amin(1), lambda x: x.max(),
                     lambda x: x.max(1)[0], lambda x: x.min(2)[0], lambda x: x.argmax(1),
                     lambda x: x.std(1), lambda x: x.var((2, 3), correction=0),
                     lambda x: torch.linalg.vector_norm(x, dim=1), lambda x: f.normalize(x, dim=1),
                     lambda x: x.logsumexp(1), lambda x: x.cumsum(1), lambda x: x.cumprod(1),
                     lambda x: f.cosine_similarity(x, x * 2 + 1, dim=1)),
        ),
        "orders": (MAP, Together(lambda x: x.topk(2, 1)[0], lambda x: x.sort(1)[0])),
        "shapes": (
            MAP,
            Together(lambda x: x.permute(0, 2, 3, 1).reshape(2, -1), lambda x: x.transpose(1, -1),
                     lambda x: x.flatten(2), lambda x: x.movedim(1, -1), lambda x: x.unflatten(1, (2, 2)),
                     lambda x: x[:, :1].squeeze(1).unsqueeze(-1), lambda x: f.pixel_shuffle(x, 2),
                     lambda x: x.view(2, 2, 2, 6, 6).transpose(1, 2).reshape(2, 4, 6, 6)),
        ),
        "parts": (
            MAP,
            Together(lambda x: x[:, 1:-1, ::2, -3:], lambda x: x[..., -2], lambda x: x[:, [2, 0, 1]],
                     lambda x: torch.cat(x.split([1, 3], 1)[::-1], 1), lambda x: x.chunk(4, -1)[1],
                     lambda x: x.unbind(1)[-1], lambda x: x.diagonal(0, 2, 3), torch.tril,
                     lambda x: x.triu(1), lambda x: x.index_select(1, torch.tensor([2, 0])),
                     lambda x: x.gather(1, x.argmax(1, keepdim=True)), _set),
        ),
        "repetitions": (
            MAP,
            Together(lambda x: x[:, :1].expand(-1, 4, -1, -1) + x, lambda x: x.repeat(1, 2, 1, 3),
                     lambda x: x.tile(2, 1), lambda x: x.flip((2, 3)), lambda x: x.roll((1, -2), (2, 3)),
                     lambda x: torch.stack([x, x.relu()], 1), lambda x: torch.cat([x, x * 2], -1),
                     lambda x: torch.cat([x, torch.zeros(2, 1, 6, 6)], 1), lambda x: x + torch.arange(6)),
        ),
        "convolutions": (
            MAP,
            Together(nn.Conv2d(4, 6, 3, 2, 1), nn.Conv2d(4, 8, 3, groups=4, bias=False),
                     nn.Conv2d(4, 6, 3, groups=2, dilation=2), nn.Conv2d(4, 6, 4, padding="same"),
                     nn.Conv2d(4, 3, 3, padding=1, padding_mode="reflect"),
                     nn.ConvTranspose2d(4, 3, 3, 2, 1, output_padding=1),
                     nn.ConvTranspose2d(4, 4, 3, 2, groups=2, bias=False)),
        ),
        "one-dimensional": (
            (2, 4, 9),
            Together(nn.Conv1d(4, 3, 3, 2, 1), nn.Conv1d(4, 8, 4, groups=4, padding="same"),
                     nn.ConvTranspose1d(4, 3, 4, 2, 1), nn.MaxPool1d(2, ceil_mode=True),
                     nn.AvgPool1d(3, 2, 1), nn.AdaptiveAvgPool1d(4), nn.BatchNorm1d(4)),
        ),
        "three-dimensional": (
            (1, 2, 4, 4, 4),
            Together(nn.Conv3d(2, 3, 2), nn.MaxPool3d(2), nn.AvgPool3d(2)),
        ),
        "pools": (
            (1, 4, 9, 9),
            Together(nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2, 2, ceil_mode=True),
                     nn.MaxPool2d(1, 3, ceil_mode=True),
                     nn.MaxPool2d(2, dilation=2), nn.AvgPool2d(3, 2, 1), nn.AvgPool2d(2, 2, ceil_mode=True),
                     nn.AvgPool2d(3, 2, 1, ceil_mode=True), nn.AvgPool2d(3, 2, 1, count_include_pad=False),
                     nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d(3), nn.AdaptiveAvgPool2d(4),
                     nn.AdaptiveAvgPool2d((1, 3)), nn.AdaptiveMaxPool2d(1), nn.AdaptiveMaxPool2d(3)),
        ),
        "borders and sizes": (
            MAP,
            Together(lambda x: f.pad(x, (1, 2, 3, 0), value=0.5), nn.ReflectionPad2d(1),
                     nn.ReplicationPad2d(1),
                     lambda x: f.pad(x, (0, 0, 0, 0, 1, 2)), nn.Upsample(scale_factor=2),
                     nn.Upsample(size=(9, 13)), nn.Upsample(scale_factor=1.5, mode="bilinear"),
                     nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
                     nn.Upsample(scale_factor=2, mode="bicubic")),
        ),
        "normalisations": (
            MAP,
            Together(nn.BatchNorm2d(4, eps=1e-3),
                     nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, affine=False)),
                     nn.LayerNorm(6), nn.LayerNorm((6, 6), elementwise_affine=False), nn.GroupNorm(2, 4),
                     nn.InstanceNorm2d(4, affine=True), nn.RMSNorm(6)),
        ),
        "products": (
            ROWS,
            Together(nn.Linear(12, 5), nn.Linear(12, 5, bias=False), lambda x: x @ x.mT,
                     lambda x: torch.mm(x, x.mT),
                     _with(lambda self, x: torch.addmm(self.b, x, self.w, alpha=2, beta=0.5),
                           w=nn.Parameter(torch.randn(12, 5)), b=nn.Parameter(torch.randn(5))),
                     nn.Sequential(nn.Linear(12, 4), nn.BatchNorm1d(4), nn.Softmax(-1)), nn.LogSoftmax(1)),
        ),
        "batched products": (
            SEQUENCE,
            Together(nn.Linear(12, 5), lambda x: torch.bmm(x, x.mT),
                     lambda x: torch.einsum("bij,bkj->bki", x, x),
                     lambda x: torch.baddbmm(x @ x.mT, x, x.mT, alpha=0.5, beta=2), nn.Softmax(1)),
        ),
        "recurrent": (
            SEQUENCE,
            Together(Result(nn.LSTM(12, 5, 2, batch_first=True), 0), Result(nn.LSTM(12, 5), 1, 1),
                     Result(nn.LSTM(12, 5, bidirectional=True), 1, 0), Result(nn.LSTM(12, 5, bias=False), 0),
                     Result(nn.GRU(12, 5, 2, bidirectional=True), 0),
                     Result(nn.GRU(12, 5, batch_first=True), 1),
                     Result(nn.RNN(12, 5), 0), Result(nn.RNN(12, 5, nonlinearity="relu"), 1)),
        ),
        "recurrent in steps": (
            SEQUENCE,
            Together(Result(nn.LSTM(12, 5, proj_size=3), 0), Result(nn.GRU(12, 5), 0)),
        ),
        "attention": (
            SEQUENCE,
            Together(Result(nn.MultiheadAttention(12, 3, batch_first=True), 0, given=3),
                     nn.TransformerEncoderLayer(12, 3, 24, batch_first=True),
                     lambda x: f.scaled_dot_product_attention(x, x, x, is_causal=True),
                     lambda x: f.scaled_dot_product_attention(x, x, x, scale=0.1)),
        ),
        "tables": (
            SEQUENCE,
            Together(_with(lambda self, x: self.table(x.argmax(-1)), table=nn.Embedding(12, 5)),
                     lambda x: f.one_hot(x.argmax(-1), 12),
                     lambda x: torch.zeros(2, 4, 12).scatter(1, x.argmax(1, keepdim=True), 1.0)),
        ),
    }  # fmt: skip
    return {name: (shape, settled(module)) for name, (shape, module) in groups.items()}
