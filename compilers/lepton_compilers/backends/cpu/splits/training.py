"""Cuts of training_portable.h, training_few_channels.h and training_updates.h.

Long sums over a batch fall into groups that stand in the plan already, added in one order: a group is a part,
and none changes a sum. Other gradients of weights fall into output channels, all else into images, rows or
elements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lepton_compilers.backends.cpu.plans.plan import Place
from lepton_compilers.backends.cpu.plans.signatures import Arguments
from lepton_compilers.backends.cpu.splits.cuts import Buffers, Cut, Rule, elements

_MACS_A_NS = 15
_UPDATED_A_NS = 10
_TOGETHER = 16
"""Channels or rows that kernels take at a time: a multiple of every instruction set's tile."""


def _channels(kernel: str, last: str, macs: Callable[[Arguments], int]) -> Rule:
    """Runs of output channels, by a kernel that takes their bounds behind the parameter `last`."""

    def rule(a: Arguments, buffers: Buffers) -> Cut:
        o = a["o"]
        ranged = a.inserted(last, begin=0, end=o)

        def part(first: int, count: int) -> tuple[Place | int, ...]:
            return ranged.changed(begin=first * _TOGETHER, end=min((first + count) * _TOGETHER, o))

        return Cut(-(-o // _TOGETHER), macs(a) / _MACS_A_NS, part, kernel)

    return rule


def _images(macs: Callable[[Arguments], int]) -> Rule:
    """A whole image: only the call's repetitions are parts."""

    def rule(a: Arguments, buffers: Buffers) -> Cut:
        return Cut(1, macs(a) / _MACS_A_NS, lambda first, count: a.changed())

    return rule


def _dense_grad_input(a: Arguments, buffers: Buffers) -> Cut:
    """Inputs: every part reads weights of its own."""
    inner = a["inner"]
    ranged = a.inserted("inner", columns=inner)

    def part(first: int, count: int) -> tuple[Place | int, ...]:
        begin = first * _TOGETHER
        columns = min(count * _TOGETHER, inner - begin)
        return ranged.changed(columns=columns, weight=begin * 4, dx=begin * 4)

    ns = a["rows"] * inner * a["o"] / _MACS_A_NS
    return Cut(-(-inner // _TOGETHER), ns, part, "dense_grad_input_range")


def _dense_update(a: Arguments, buffers: Buffers) -> Cut:
    o, inner = a["o"], a["inner"]

    def part(first: int, count: int) -> tuple[Place | int, ...]:
        begin = first * _TOGETHER
        rows = {name: begin * inner * 4 for name in ("parameter_", "velocity_")}
        return a.changed(o=min(count * _TOGETHER, o - begin), dy=begin * 4, **rows)

    return Cut(-(-o // _TOGETHER), a["rows"] * inner * o / _MACS_A_NS + inner * o / _UPDATED_A_NS, part)


def _conv_macs(a: Arguments) -> int:
    return a["oh"] * a["ow"] * a["kh"] * a["kw"] * a["o"] * a["c"]


def _depthwise_macs(a: Arguments) -> int:
    return a["oh"] * a["ow"] * a["kh"] * a["kw"] * a["o"] * 4


def _windows(a: Arguments) -> int:
    return a["oh"] * a["ow"] * a["kh"] * a["kw"] * a["c"] * 4


RULES: Mapping[str, Rule] = {
    "conv2d_grad_weight": _channels("conv2d_grad_weight_range", "dw", lambda a: a["images"] * _conv_macs(a)),
    "depthwise_grad_weight": _channels(
        "depthwise_grad_weight_range", "dw", lambda a: a["images"] * _depthwise_macs(a)
    ),
    "dense_grad_weight": _channels("dense_grad_weight_range", "o", lambda a: a["rows"] * a["inner"] * a["o"]),
    "conv2d_grad_input_strided": _images(_conv_macs),
    "depthwise_grad_input": _images(_depthwise_macs),
    "max_pool_grad": _images(_windows),
    "average_pool_grad": _images(_windows),
    "dense_grad_input": _dense_grad_input,
    "dense_update": _dense_update,
    "border_floats": _images(lambda a: a["h"] * a["row"]),
    "few_channels_grad_weight": _images(
        lambda a: a["images"] * a["oh"] * a["ow"] * a["o"] * a["kh"] * a["run"]
    ),
    "bias_grad": _images(lambda a: a["rows"] * a["c"] * 2),
    "relu_grad": elements({"dy_": 4, "y_": 4, "dx_": 4}, 8),
    "sgd_momentum": elements({"parameter_": 4, "velocity_": 4, "gradient_": 4}, 8),
}
