"""Convolutions, pools and products of matrices: the layers that have typed operations in two dimensions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tvm import relax

from lepton_compilers.importers.onnx.rules.movement import reshaped
from lepton_compilers.importers.onnx.values import Converter, Node, Result
from lepton_compilers.passes.graph import Expr, dtype, shape
from lepton_targets.errors import BadInputError

op = relax.op

LETTERS = {1: "W", 2: "HW", 3: "DHW"}
CONVOLUTIONS = {1: op.nn.conv1d, 2: op.nn.conv2d, 3: op.nn.conv3d}
TRANSPOSED = {1: op.nn.conv1d_transpose, 2: op.nn.conv2d_transpose, 3: op.nn.conv3d_transpose}
MAX_POOLS = {1: op.nn.max_pool1d, 2: op.nn.max_pool2d, 3: op.nn.max_pool3d}
AVERAGE_POOLS = {1: op.nn.avg_pool1d, 2: op.nn.avg_pool2d, 3: op.nn.avg_pool3d}


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


def _axes(n: Node) -> int:
    axes = len(n.shape()) - 2
    if axes not in LETTERS:
        raise n.refused(f"slides over {axes} axes", "1, 2 or 3")
    return axes


def convolved(n: Node, x: Expr, weight: Expr, bias: Expr | None) -> Expr:
    """Convolution as the node's attributes say."""
    size, axes = shape(x)[2:], _axes(n)
    if len(shape(weight)) != axes + 2:
        raise BadInputError(
            f"layer '{n.name}' has weights of {len(shape(weight))} axes on a map of {axes + 2}"
        )
    w = window(n, shape(weight)[2:], size)
    groups = int(n.attribute("group", 1))
    if groups < 1 or shape(x)[1] != shape(weight)[1] * groups or shape(weight)[0] % groups:
        raise BadInputError(
            f"layer '{n.name}' has weights {shape(weight)} in {groups} groups on {shape(x)[1]} channels"
        )
    y = CONVOLUTIONS[axes](
        x, weight, strides=list(w.stride), padding=w.padding, dilation=list(w.dilation), groups=groups
    )
    return y if bias is None else op.add(n.emit(y), channelwise(n, bias, axes))


def channelwise(n: Node, vector: Expr, axes: int) -> Expr:
    """A number a channel, stretched over the map's axes."""
    return n.emit(reshaped(n, vector, [1, math.prod(shape(vector)), *[1] * axes]))


def _conv(n: Node) -> Result:
    return convolved(n, n[0], n[1], n[2] if n.has(2) else None)


def _conv_transpose(n: Node) -> Result:
    axes, x, weight = _axes(n), n[0], n[1]
    size, kernel = n.shape()[2:], shape(weight)[2:]
    stride = [int(s) for s in n.attribute("strides", [1] * axes)]
    dilation = [int(d) for d in n.attribute("dilations", [1] * axes)]
    extra = [int(e) for e in n.attribute("output_padding", [0] * axes)]
    pads = [int(p) for p in n.attribute("pads", [0] * (2 * axes))]
    groups = int(n.attribute("group", 1))
    if len(kernel) != axes or not len(stride) == len(dilation) == len(extra) == axes or len(pads) != 2 * axes:
        raise BadInputError(
            f"layer '{n.name}' (ConvTranspose) slides over {axes} axes with attributes of others"
        )
    if min((*stride, *dilation, groups)) < 1 or min((*extra, *pads)) < 0:
        raise BadInputError(
            f"layer '{n.name}' (ConvTranspose) has strides, dilations, groups or pads out of range"
        )
    full = [(e - 1) * s + (k - 1) * d + 1 + o for e, s, k, d, o in zip(size, stride, kernel, dilation, extra)]
    auto, wanted = str(n.attribute("auto_pad", "NOTSET")), n.attribute("output_shape", None)
    if wanted is not None or auto in ("SAME_UPPER", "SAME_LOWER"):
        wanted = (
            [int(w) for w in wanted][-axes:] if wanted is not None else [e * s for e, s in zip(size, stride)]
        )
        total = [f - w for f, w in zip(full, wanted)]
        extra = [o + max(-t, 0) for o, t in zip(extra, total)]
        total = [max(t, 0) for t in total]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        # Where all is said by the output's shape, the odd row goes first, unless SAME_UPPER is asked for.
        pads = [*small, *large] if auto == "SAME_UPPER" else [*large, *small]
    elif auto == "VALID":
        pads = [0] * (2 * axes)
    n.sized([n.shape()[0], shape(weight)[1] * groups, *full], n.kind())
    # Where output_padding reaches beyond the stride, zeros are added behind.
    beyond = [max(o - s + 1, 0) for o, s in zip(extra, stride)]
    y = (
        TRANSPOSED[axes](
            x,
            weight,
            strides=stride,
            padding=[0] * (2 * axes),
            output_padding=[o - b for o, b in zip(extra, beyond)],
            dilation=dilation,
            groups=groups,
            data_layout="NC" + LETTERS[axes],
            kernel_layout="IO" + LETTERS[axes],
        )
        if any(beyond)
        else TRANSPOSED[axes](
            x,
            weight,
            strides=stride,
            padding=pads,
            output_padding=extra,
            dilation=dilation,
            groups=groups,
            data_layout="NC" + LETTERS[axes],
            kernel_layout="IO" + LETTERS[axes],
        )
    )
    if any(beyond):
        y = n.emit(y)
        y = n.emit(op.nn.pad(y, [0, 0, 0, 0, *(w for b in beyond for w in (0, b))]))
        for i in range(axes):
            end = shape(y)[2 + i] - pads[axes + i]
            y = n.emit(op.strided_slice(y, [2 + i], [pads[i]], [end]))
    return y if not n.has(2) else op.add(n.emit(y), channelwise(n, n[2], axes))


def _kernel(n: Node) -> list[int]:
    kernel = n.attribute("kernel_shape", None)
    if kernel is None:
        raise BadInputError(f"layer '{n.name}' ({n.operator}) has no kernel_shape")
    return [int(k) for k in kernel]


def _max_pool(n: Node) -> Result:
    if len(n.wanted) > 1 and n.wanted[1]:
        from lepton_compilers.importers.onnx.rules.window_extras import max_pool_with_places

        return max_pool_with_places(n)
    axes = _axes(n)
    w = window(n, _kernel(n), n.shape()[2:])
    ceil = rounds_up(n)
    w = cut_to_fit(w, n.shape()[2:]) if ceil else w
    return MAX_POOLS[axes](
        n[0],
        pool_size=list(w.kernel),
        strides=list(w.stride),
        padding=w.padding,
        dilation=list(w.dilation),
        ceil_mode=ceil,
    )


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


def _average_pool(n: Node) -> Result:
    axes = _axes(n)
    w = window(n, _kernel(n), n.shape()[2:])
    ceil = rounds_up(n)
    w = cut_to_fit(w, n.shape()[2:]) if ceil else w
    counted = bool(n.attribute("count_include_pad", 0))
    if any(d != 1 for d in w.dilation) or (ceil and axes != 2) or (ceil and counted):
        from lepton_compilers.importers.onnx.rules.window_extras import gathered_average

        return gathered_average(n, w, ceil, counted)
    return AVERAGE_POOLS[axes](
        n[0],
        pool_size=list(w.kernel),
        strides=list(w.stride),
        padding=w.padding,
        dilation=list(w.dilation),
        ceil_mode=ceil,
        count_include_pad=counted,
    )


def _global(mean: bool) -> Converter:
    def rule(n: Node) -> Result:
        axes = list(range(2, len(n.shape())))
        reduce = op.mean if mean else op.max
        return reduce(n[0], axis=axes, keepdims=True)

    return rule


def _gemm(n: Node) -> Result:
    """alpha·A·B + beta·C with the factors at B and C, which are constants as a rule and take them up."""
    a, b = n[0], n[1]
    a = n.emit(op.permute_dims(a, [1, 0])) if n.attribute("transA", 0) else a
    b = n.emit(op.permute_dims(b, [1, 0])) if n.attribute("transB", 0) else b
    if len(shape(a)) != 2 or len(shape(b)) != 2 or shape(a)[1] != shape(b)[0]:
        raise BadInputError(f"layer '{n.name}' (Gemm) multiplies {shape(a)} by {shape(b)}")
    result = n.emit(op.matmul(a, _scaled(n, b, float(n.attribute("alpha", 1.0)))))
    return result if not n.has(2) else op.add(result, _scaled(n, n[2], float(n.attribute("beta", 1.0))))


def _scaled(n: Node, x: Expr, factor: float) -> Expr:
    return x if factor == 1.0 else n.emit(op.multiply(x, n.scalar(factor, dtype(x))))


def _matmul(n: Node) -> Result:
    a, b = n.shape(), n.shape(1)
    if not a or not b or a[-1] != (b[-2] if len(b) > 1 else b[-1]):
        raise BadInputError(f"layer '{n.name}' (MatMul) multiplies {a} by {b}")
    return op.matmul(n[0], n[1])


def _einsum(n: Node) -> Result:
    """Sums of products by their letters; the result's extents are checked before it is made."""
    equation = str(n.attribute("equation", "")).replace(" ", "")
    operands = [n[i] for i in range(len(n.inputs))]
    letters = dict(zip(equation.partition("->")[0].replace(",", ""), (e for x in operands for e in shape(x))))
    if (
        "..." in equation
        or "->" not in equation
        or any(c not in letters for c in equation.partition("->")[2])
    ):
        return _plain_einsum(n, equation, operands)
    n.sized([letters[c] for c in equation.partition("->")[2]], n.kind())
    return op.einsum(operands, equation)


def _plain_einsum(n: Node, equation: str, operands: list[Expr]) -> Result:
    """With the dots written out as letters and the result's letters named."""
    inputs, arrow, output = equation.partition("->")
    free = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in equation]
    terms = inputs.split(",")
    if len(terms) != len(operands):
        raise BadInputError(f"layer '{n.name}' (Einsum) names {len(terms)} operands of {len(operands)}")
    most = max((len(shape(x)) - len(t) + 3 for t, x in zip(terms, operands) if "..." in t), default=0)
    dots = "".join(free[:most])
    written = [t.replace("...", dots[most - (len(shape(x)) - len(t) + 3) :]) for t, x in zip(terms, operands)]
    if not arrow:
        once = sorted(c for c in set(inputs) - set(".,") if inputs.count(c) == 1)
        output = ("..." if most else "") + "".join(once)
    return op.einsum(operands, f"{','.join(written)}->{output.replace('...', dots)}")


RULES: Mapping[str, Converter] = {
    "AveragePool": _average_pool,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Einsum": _einsum,
    "Gemm": _gemm,
    "GlobalAveragePool": _global(mean=True),
    "GlobalMaxPool": _global(mean=False),
    "MatMul": _matmul,
    "MaxPool": _max_pool,
}
