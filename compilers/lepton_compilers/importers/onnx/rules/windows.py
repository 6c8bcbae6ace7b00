"""How windows slide over maps, as the attributes of a layer say: extents, strides, padding, their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lepton_compilers.importers.onnx.values import Node
from lepton_targets.errors import BadInputError

LETTERS = {1: "W", 2: "HW", 3: "DHW"}
"""Axes that windows slide over, in layouts' letters."""

MOST_PLACES = 1024
"""Places of a window, each of which becomes layers of its own."""


@dataclass(frozen=True, slots=True)
class Window:
    """How a window slides: extents an axis; pads before and after each."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def padding(self) -> list[int]:
        """All befores, then all afters, as Relax writes them."""
        return [*self.before, *self.after]

    @property
    def reach(self) -> tuple[int, ...]:
        """Extents that one window spans."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation))


def window(n: Node, kernel: Sequence[int], size: Sequence[int]) -> Window:
    """The window of a layer on a map of this size, auto_pad worked out. BadInputError where none fits."""
    axes = len(size)
    stride = tuple(int(s) for s in n.attribute("strides", [1] * axes))
    dilation = tuple(int(d) for d in n.attribute("dilations", [1] * axes))
    pads = [int(p) for p in n.attribute("pads", [0] * (2 * axes))]
    kernel = tuple(int(k) for k in kernel)
    if not len(kernel) == len(stride) == len(dilation) == axes == len(pads) // 2 or len(pads) % 2:
        raise BadInputError(
            f"layer '{n.name}' ({n.operator}) slides over {axes} axes with attributes of others"
        )
    if (
        min((*kernel, *stride, *dilation), default=1) < 1
        or min(pads, default=0) < 0
        or max(pads, default=0) > 2**20
    ):
        raise BadInputError(
            f"layer '{n.name}' ({n.operator}) has kernels, strides, dilations or pads out of range"
        )
    auto = str(n.attribute("auto_pad", "NOTSET"))
    before, after = tuple(pads[:axes]), tuple(pads[axes:])
    if auto not in ("", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise BadInputError(
            f"layer '{n.name}' ({n.operator}) has auto_pad '{auto}'",
            "ONNX knows NOTSET, VALID, SAME_UPPER and SAME_LOWER",
        )
    if auto == "VALID":
        before = after = (0,) * axes
    elif auto in ("SAME_UPPER", "SAME_LOWER"):
        total = [
            max((-(-e // s) - 1) * s + (k - 1) * d + 1 - e, 0)
            for e, s, k, d in zip(size, stride, kernel, dilation)
        ]
        small, large = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
        before, after = (small, large) if auto == "SAME_UPPER" else (large, small)
    found = Window(kernel, stride, dilation, before, after)
    for e, b, a, r in zip(size, before, after, found.reach):
        if e + b + a < r:
            raise BadInputError(f"the window of layer '{n.name}' ({n.operator}) spans {r} of {e + b + a}")
    return found


def sliding_axes(n: Node) -> int:
    """How many axes the layer slides over. UnsupportedOperatorError where there are too many."""
    axes = len(n.shape()) - 2
    if axes not in LETTERS:
        raise n.refused(f"slides over {axes} axes", "1, 2 or 3")
    return axes


def rounds_up(n: Node) -> bool:
    """Whether a window that is not filled counts; auto_pad has the last word on the number of windows."""
    return bool(n.attribute("ceil_mode", 0)) and str(n.attribute("auto_pad", "NOTSET")) == "NOTSET"


def cut_to_fit(w: Window, size: Sequence[int]) -> Window:
    """With ceil_mode no window may begin in the padding behind: less of it, where one would."""
    after = []
    for e, k, s, b, a in zip(size, w.reach, w.stride, w.before, w.after):
        windows = -(-(e + b + a - k) // s) + 1
        # The last window begins at (windows − 1) · stride.
        after.append(a if (windows - 1) * s < e + b else max((windows - 2) * s + k - e - b, 0))
    return Window(w.kernel, w.stride, w.dilation, w.before, tuple(after))


def counts(w: Window, size: Sequence[int], ceil: bool) -> list[int]:
    """Windows along each axis."""
    found = []
    for e, r, s, b, a in zip(size, w.reach, w.stride, w.before, w.after):
        span = e + b + a - r
        found.append((-(-span // s) if ceil else span // s) + 1)
    return found
