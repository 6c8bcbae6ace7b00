"""Operators that Relax does not have, as calls in a Relax module: `lepton.<name>` with attributes by name.

They are calls of an external function whose results' types are stated, so every pass carries them along
unread; integerize makes each a `FloatKernel` of that name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm
from tvm import relax

from lepton_compilers.passes.graph import OWN, Expr, operator

_CALL = "relax.call_dps_packed"


def own_call(
    name: str, xs: Sequence[Expr], results: Sequence[tuple[Sequence[int], str]], **attributes: Any
) -> Expr:
    """lepton.`name`(xs), with the shape and the type of each result; attributes are numbers, text, lists."""
    types = [relax.TensorType([int(n) for n in extents], kind) for extents, kind in results]
    held = tvm.ir.make_node("ir.DictAttrs", **attributes) if attributes else None
    arguments = [relax.ExternFunc(OWN + name), relax.Tuple(list(xs))]
    stated = types[0] if len(types) == 1 else relax.TupleType(types)
    return tvm.ir.Call(tvm.ir.Op.get(_CALL), arguments, held, [stated])


def is_own(call: Expr) -> bool:
    """Whether an expression calls an operator of our own."""
    return (operator(call) or "").startswith(OWN)


def own_arguments(call: Expr) -> tuple[list[Expr], dict[str, Any]]:
    """The tensors and the attributes of such a call, attributes as plain values."""
    attributes = {} if call.attrs is None else {str(k): _plain(v) for k, v in call.attrs.items()}
    return list(call.args[1].fields), attributes


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | float | str):
        return str(value) if isinstance(value, str) else value
    return [_plain(item) for item in value]
