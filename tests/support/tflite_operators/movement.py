"""Networks of operators that move elements, in float32 and in int8."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as s

from support.tflite_network import Spec, constant
from support.tflite_operators.forms import MAP, Form, one_operator

Array = npt.NDArray[Any]
OPS, OPTIONS = s.BuiltinOperator, s.BuiltinOptions


Numbered = Callable[[str, tuple[int, ...]], Spec]


def add_moves(
    made: dict[str, tuple[bytes, tuple[Array, ...]]], tensor: Numbered, values: Callable[..., Array]
) -> None:
    """Operators that move elements, over tensors of whatever type `tensor` makes."""

    def add(
        name: str, form: Form, inputs: Sequence[Spec], outputs: Any, *shapes: tuple[int, ...], label: str = ""
    ) -> None:
        content = one_operator(name, form, inputs, outputs)
        made[label or name] = (content, tuple(values(shape) for shape in shapes))

    x = tensor("x", MAP)

    def whole(name: str, *numbers: int) -> Spec:
        return constant(name, np.array(numbers, np.int32))

    add(
        "SLICE",
        Form(version=2),
        [x, whole("b", 0, 1, 0, 2), whole("n", 1, 3, -1, 5)],
        tensor("y", (1, 3, 4, 5)),
        MAP,
    )
    strided = Form(s.StridedSliceOptionsT, {"beginMask": 1, "endMask": 5, "shrinkAxisMask": 8}, 2)
    lists = [whole("b", 0, 1, 1, 2), whole("e", 0, 6, 0, 3), whole("s", 1, 2, 1, 1)]
    add("STRIDED_SLICE", strided, [x, *lists], tensor("y", (1, 3, 3)), MAP)
    halves = [tensor("y0", (1, 6, 4, 4)), tensor("y1", (1, 6, 4, 4))]
    add(
        "SPLIT",
        Form(s.SplitOptionsT, {"numSplits": 2}, 2),
        [constant("axis", np.array(3, np.int32)), x],
        halves,
        MAP,
    )
    uneven = [tensor("y0", (1, 2, 4, 8)), tensor("y1", (1, 4, 4, 8))]
    axis = constant("axis", np.array(1, np.int32))
    add("SPLIT_V", Form(s.SplitVOptionsT, {"numSplits": 2}, 2), [x, whole("sizes", 2, 4), axis], uneven, MAP)
    pair = [tensor("a", (6, 8)), tensor("b", (6, 8))]
    add(
        "PACK",
        Form(s.PackOptionsT, {"valuesCount": 2, "axis": 1}, 2),
        pair,
        tensor("y", (6, 2, 8)),
        (6, 8),
        (6, 8),
    )
    parts = [tensor(f"y{i}", (1, 6, 8)) for i in range(4)]
    add("UNPACK", Form(s.UnpackOptionsT, {"num": 4, "axis": 2}, 2), [x], parts, MAP)
    joined = [tensor("a", MAP), tensor("b", (1, 6, 4, 3))]
    add(
        "CONCATENATION",
        Form(s.ConcatenationOptionsT, {"axis": -1}),
        joined,
        tensor("y", (1, 6, 4, 11)),
        MAP,
        (1, 6, 4, 3),
    )
    add(
        "GATHER",
        Form(s.GatherOptionsT, {"axis": 3}, 2),
        [x, whole("i", 7, 0, 3)],
        tensor("y", (1, 6, 4, 3)),
        MAP,
    )
    add("TILE", Form(version=2), [x, whole("m", 1, 2, 1, 3)], tensor("y", (1, 12, 4, 24)), MAP)
    add(
        "TRANSPOSE",
        Form(s.TransposeOptionsT, None, 2),
        [x, whole("p", 0, 3, 1, 2)],
        tensor("y", (1, 8, 6, 4)),
        MAP,
    )
    add("RESHAPE", Form(s.ReshapeOptionsT), [x, whole("shape", 1, -1)], tensor("y", (1, 192)), MAP)
    add("SQUEEZE", Form(s.SqueezeOptionsT, {"squeezeDims": [0]}), [x], tensor("y", (6, 4, 8)), MAP)
    add("EXPAND_DIMS", Form(s.ExpandDimsOptionsT), [x, whole("axis", 1)], tensor("y", (1, 1, 6, 4, 8)), MAP)
    add(
        "PAD",
        Form(s.PadOptionsT, None, 2),
        [x, constant("w", np.array([[0, 0], [1, 2], [0, 3], [0, 0]], np.int32))],
        tensor("y", (1, 9, 7, 8)),
        MAP,
    )
    for mode, name in ((0, "reflect"), (1, "symmetric")):
        widths = constant("w", np.array([[0, 0], [2, 3], [1, 0], [0, 2]], np.int32))
        form = Form(s.MirrorPadOptionsT, {"mode": mode}, 2)
        add("MIRROR_PAD", form, [x, widths], tensor("y", (1, 11, 5, 10)), MAP, label=f"MIRROR_PAD {name}")
    add(
        "SPACE_TO_DEPTH",
        Form(s.SpaceToDepthOptionsT, {"blockSize": 2}, 2),
        [x],
        tensor("y", (1, 3, 2, 32)),
        MAP,
    )
    add(
        "DEPTH_TO_SPACE",
        Form(s.DepthToSpaceOptionsT, {"blockSize": 2}, 2),
        [x],
        tensor("y", (1, 12, 8, 2)),
        MAP,
    )
    block, crops = whole("block", 2, 2), constant("crops", np.array([[0, 1], [1, 0]], np.int32))
    add(
        "BATCH_TO_SPACE_ND",
        Form(s.BatchToSpaceNDOptionsT, None, 2),
        [tensor("x", (4, 3, 2, 8)), block, crops],
        tensor("y", (1, 5, 3, 8)),
        (4, 3, 2, 8),
    )
    widths = constant("widths", np.array([[0, 2], [2, 0]], np.int32))
    add(
        "SPACE_TO_BATCH_ND",
        Form(s.SpaceToBatchNDOptionsT, None, 2),
        [x, block, widths],
        tensor("y", (4, 4, 3, 8)),
        MAP,
    )
