"""Whole recurrent layers → Lstm and Gru: float32 calls, and the int8 forms that the quantiser writes.

Arguments: x, weight, recurrent weights, bias, a Gru's recurrent bias where the reset comes after the product,
then first states. `…_int8` reads dequantised x and weights, has no first states, and gives the hidden states
alone; an Lstm's last argument is then the cell's scale.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lepton_compilers.integerize.accumulators import check_weights
from lepton_compilers.integerize.chain import Chain
from lepton_compilers.integerize.draft import Draft
from lepton_compilers.integerize.known import Array, Known
from lepton_compilers.integerize.lower_float import Lowered, Rule
from lepton_compilers.passes.graph import Expr, Var, operator, shape, value
from lepton_sdk.program import Operation, Quantization, TensorId, arithmetic_sequence
from lepton_sdk.program.recurrent import Gru, Lstm

LSTM = ("lepton.lstm", "lepton.lstm_reverse")
GRU = ("lepton.gru", "lepton.gru_reverse", "lepton.gru_reset_first", "lepton.gru_reset_first_reverse")
RECURRENT = (*LSTM, *GRU)
QUANTISED = "_int8"


def arguments(call: Expr) -> tuple[Expr, ...]:
    """What stands behind the name of such an operation."""
    return tuple(call.args[1].fields)


def constants(call: Expr) -> int:
    """How many arguments behind x are constants."""
    return 4 if "gru" in str(operator(call)) and "reset_first" not in str(operator(call)) else 3


def is_reverse(call: Expr) -> bool:
    """Whether the layer walks from the last step to the first."""
    return "_reverse" in str(operator(call))


def recurrent_call(draft: Draft, var: Var, call: Expr, items: Mapping[int, Var]) -> Lowered | None:
    """The float32 operation; first states may be constants."""
    x, *rest = arguments(call)
    held = [draft.known(expr) for expr in rest[: constants(call)]]
    if draft.known(x) is not None:
        return None
    name = draft.layer(items[min(items)]) if items else draft.layer(var)
    parts = ("weight", "recurrent", "bias", "recurrent_bias")
    names = [draft.float_constant(f"{name}/{p}", what) for p, what in zip(parts, held) if what is not None]
    if len(names) != len(held):
        return None
    first, reads = _first_states(draft, name, rest[constants(call) :])
    op: Operation
    if operator(call) in LSTM:
        steps, batch, units = _extents(call)
        y = draft.tensor(items[0]) if 0 in items else _scratch(draft, name, (steps, batch, units))
        c = draft.tensor(items[1]) if 1 in items else _scratch(draft, f"{name}/cell", (batch, units))
        h, state = (first[0], first[1]) if first else (None, None)
        weight, recurrent, bias = names
        whole = (draft.tensor(x), weight, recurrent, bias)
        op = Lstm(*whole, h, state, None, None, None, None, y, c, is_reverse(call))
    else:
        recurrent_bias = names.pop() if constants(call) == 4 else None
        weight, recurrent, bias = names
        whole = (draft.tensor(x), weight, recurrent, bias)
        h, y = first[0] if first else None, draft.tensor(var)
        op = Gru(*whole, recurrent_bias, h, None, None, None, None, y, is_reverse(call))
    return Lowered((op,), (x, *reads))


def _extents(call: Expr) -> tuple[int, int, int]:
    steps, batch, _ = shape(arguments(call)[0])
    return steps, batch, shape(arguments(call)[2])[1]


def _scratch(draft: Draft, name: str, extents: tuple[int, ...]) -> TensorId:
    return draft.scratch(f"{name}/unread", extents, "float32")


def _first_states(draft: Draft, name: str, states: list[Expr]) -> tuple[list[TensorId], list[Var]]:
    names, reads = [], []
    for state in states:
        what = draft.known(state)
        if what is not None:
            names.append(draft.float_constant(f"{name}/first", what))
        else:
            names.append(draft.tensor(state))
            reads.append(state)
    return names, reads


def _int8_recurrent(draft: Draft, chain: Chain) -> Lowered | None:
    call, out = chain.core, chain.quantization
    given = arguments(call)
    source = draft.dequantised(given[0])
    weights = [draft.known(expr) for expr in given[1:3]]
    if out is None or source is None or (chain.integer_low, chain.integer_high) != (-128, 127):
        return None
    (x, x_quantization), (weight, recurrent) = source, weights
    if weight is None or recurrent is None:
        return None
    name, lstm = draft.layer(chain.result), str(operator(call)).startswith("lepton.lstm")
    rows, inner = _scales(weight), _scales(recurrent)
    check_weights(name, weight.values, None, x_quantization)
    check_weights(name, recurrent.values, None, out)
    steps = np.float64(arithmetic_sequence.GATE_STEPS)

    def held(part: str, array: Array, quantization: Quantization | None = None) -> TensorId:
        return draft.constant(f"{name}/{part}", array, quantization)

    names = (
        held("weight", weight.values, Quantization(tuple(float(s) for s in rows), 0, 0)),
        held("recurrent", recurrent.values, Quantization(tuple(float(s) for s in inner), 0, 0)),
        held("bias", (value(given[3]).astype(np.float64) * steps).astype(np.float32)),
    )
    integers = (
        held("multiplier", arithmetic_sequence.gate_multiplier(x_quantization.scale, rows)),
        held("recurrent_multiplier", arithmetic_sequence.gate_multiplier(out.scale, inner)),
        held("sigmoid", arithmetic_sequence.gate_table("sigmoid")),
        held("tanh", arithmetic_sequence.gate_table("tanh")),
    )
    x_tensor, y = draft.tensor(x, x_quantization), draft.tensor(chain.result, out)
    op: Operation
    if lstm:
        extents = shape(chain.result)[1:]
        cell = Quantization((float(value(given[4])),))
        c = draft.scratch(f"{name}/cell", extents, "int16", cell)
        op = Lstm(x_tensor, *names, None, None, *integers, y, c, is_reverse(call))
    else:
        bias = None
        if constants(call) == 4:
            bias = held("recurrent_bias", (value(given[4]).astype(np.float64) * steps).astype(np.float32))
        op = Gru(x_tensor, *names, bias, None, *integers, y, is_reverse(call))
    return Lowered((op,), (x,))


def _scales(weight: Known) -> Array:
    """One scale a row."""
    scales = weight.channel_scales(0)
    assert scales is not None  # the quantiser wrote one a row
    return scales


RECURRENT_INT8: Mapping[str, Rule] = {name + QUANTISED: _int8_recurrent for name in RECURRENT}
