"""The walk from a function's results back to its inputs, a layer at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tvm import relax

from lepton_compilers.integerize.chain import INTEGERS, Chain, read_chain
from lepton_compilers.integerize.draft import Draft
from lepton_compilers.integerize.float_kernel import float_kernel
from lepton_compilers.integerize.lower_float import Lowered, move
from lepton_compilers.integerize.lower_int8 import INTEGER_MOVES
from lepton_compilers.integerize.lower_int16 import INT16, other_numbers
from lepton_compilers.integerize.lower_sequence import TAKE, pointwise_table
from lepton_compilers.integerize.rules import FLOAT_OPERATORS, FLOAT_TABLES, INT8_TABLES, first
from lepton_compilers.integerize.states import add_states, assignments, state_names
from lepton_compilers.integerize.typed_calls import typed_call
from lepton_compilers.integerize.vision import arg_extreme
from lepton_compilers.passes.graph import (
    ADD,
    AVERAGE_POOL,
    CLIP,
    CONV2D,
    MATMUL,
    MAX_POOL,
    MULTIPLY,
    PAD,
    PERMUTE,
    QUANTIZE,
    RESHAPE,
    SOFTMAX,
    SUBTRACT,
    Graph,
    Var,
    described,
    dtype,
    is_constant,
    is_var,
    number,
    operands,
    operator,
    shape,
)
from lepton_compilers.peak import checked_memory
from lepton_sdk.program import Clamp, Operation, Program
from lepton_sdk.program.operations import ClampTo, Quantize
from lepton_targets.errors import UnsupportedOperatorError

LIMITS: Mapping[str, str] = {
    CONV2D: "conv2d takes constant weights",
    MATMUL: "matmul takes operands of two axes and more",
    ADD: "add takes no trainable parameter but a layer's bias",
    SOFTMAX: "softmax runs over the last axis",
    MAX_POOL: "max_pool2d takes no dilation",
    AVERAGE_POOL: "avg_pool2d takes no dilation, and no ceil_mode where padding counts",
    PAD: "pad fills with a constant",
}
"""What a supported operator asks of its layer, for the message where a layer does not give it."""

BINARY = (ADD, SUBTRACT, MULTIPLY, TAKE)
"""Layers whose first operand may be a constant; elsewhere it is the tensor that flows."""


def integerize(module: Any) -> Program:
    """The Program of a Relax module's `main`, as its function `infer`.

    What is quantised on all sides becomes int8 or int16 operations, what is not becomes float32 ones between
    Dequantize and Quantize. Parameters that `main` takes beyond its inputs become trainable variables, and
    activations then stay operations of their own; state becomes other variables (states.py). Raises
    UnsupportedOperatorError with every layer that has no operation, BadInputError for weights the arithmetic
    can't take and for more than memory holds.
    """
    main = module["main"]
    graph = Graph(main)
    inputs = int(main.attrs["num_input"])
    arrays = [tensor.numpy() for tensor in main.attrs["params"]] if "params" in main.attrs else []
    states = state_names(main)
    split = len(arrays) - len(states)
    names = [str(var.name) for var in graph.parameters[inputs:]]
    parameters = dict(zip(names[:split], arrays[:split], strict=True))
    draft = Draft(graph, inputs, parameters, [str(name) for name in main.attrs["output_names"]])
    add_states(draft, states, arrays[split:])
    ending, kept = assignments(draft, graph.results[len(draft.results) :])
    needed = {*draft.results, *kept}
    unsupported: list[str] = []
    refused: dict[str, None] = {}
    steps: list[tuple[Operation, ...]] = [ending]
    items: dict[Var, dict[int, Var]] = {}
    for binding in reversed(graph.bindings):
        var = binding.var
        if var not in needed or is_var(binding.value):
            continue
        if isinstance(binding.value, relax.TupleGetItem):
            source = graph.resolve(binding.value.tuple_value)
            items.setdefault(source, {})[int(binding.value.index)] = var
            needed.add(source)
            continue
        read = items.get(var, {})
        lowered = typed_call(draft, var, read) or _lowered(draft, var) or float_kernel(draft, var, read)
        if lowered is None:
            chain = read_chain(graph, parameters, var, draft.trainable)
            core = chain.core if chain else binding.value
            unsupported.append(f"layer '{var.name}' ({_reason(core)})")
            refused[operator(core) or ""] = None
            needed.update(v for v in operands(core) if draft.known(v) is None)
            continue
        steps.append(lowered.operations)
        needed.update(graph.resolve(read) for read in lowered.reads)
    if unsupported:
        raise UnsupportedOperatorError(
            f"the model has {len(unsupported)} layer{'s' if len(unsupported) > 1 else ''} with no operation",
            *reversed(unsupported),
            *(LIMITS[name] for name in refused if name in LIMITS),
            f"layers of other forms are supported: {_names(FLOAT_OPERATORS)}",
            "each with its limits: docs/operators.md",
        )
    return checked_memory(draft.program([op for step in reversed(steps) for op in step]))


def _lowered(draft: Draft, var: Var) -> Lowered | None:
    chain = read_chain(draft.graph, draft.parameters, var, draft.trainable)
    if chain is None:
        return None
    if chain.operator not in BINARY and _of_constants(chain.core):
        return _quantised_float(draft, chain) if chain.quantization is not None else None
    if dtype(var) == "float32":
        return first(draft, chain, FLOAT_TABLES)
    if dtype(var) not in INTEGERS:
        if chain.operator in (RESHAPE, PERMUTE):
            return move(draft, chain)
        return arg_extreme(draft, var)
    if chain.quantization is None:
        rule = INTEGER_MOVES.get(chain.operator)
        return rule(draft, chain) if rule and dtype(chain.core.args[0]) == dtype(var) else None
    if dtype(var) == "int8":
        lowered = pointwise_table(draft, chain) or first(draft, chain, INT8_TABLES)
    else:
        lowered = first(draft, chain, (INT16,))
    return lowered or other_numbers(draft, chain) or _quantised_float(draft, chain)


def _of_constants(core: Any) -> bool:
    """Whether what should flow through a layer is a constant."""
    return is_constant(core) or any(map(is_constant, tuple(getattr(core, "args", ()))[:1]))


def _quantised_float(draft: Draft, chain: Chain) -> Lowered | None:
    """A layer without an int8 form stays float; its result is quantised on the way out."""
    definition = draft.graph.definition(chain.result)
    bounds = None
    if operator(definition) == CLIP and draft.graph.operator(definition.args[0]) == QUANTIZE:
        definition, bounds = draft.graph.definition(definition.args[0]), definition.args[1:]
    if operator(definition) != QUANTIZE or dtype(definition.args[0]) != "float32":
        return None
    source = draft.graph.resolve(definition.args[0])
    if not is_var(source):
        return None
    x, y = draft.tensor(source), draft.tensor(chain.result, chain.quantization)
    if bounds is None:
        return Lowered((Quantize(x, y),), (source,))
    name, kind = f"{draft.layer(chain.result)}/quantised", dtype(chain.result)
    wide = draft.scratch(name, shape(chain.result), kind, chain.quantization)
    clamp = Clamp(*(int(number(bound)) for bound in bounds))
    return Lowered((Quantize(x, wide), ClampTo(wide, y, clamp)), (source,))


def _reason(core: Any) -> str:
    shapes = [str(shape(a)) for a in getattr(core, "args", ()) if dtype(a)]
    groups = int(getattr(core.attrs, "groups", 1)) if operator(core) == CONV2D else 1
    of = f" of {', '.join(shapes)}" if shapes else ""
    return described(core) + of + (f" in {groups} groups" if groups > 1 else "")


def _names(operators: Iterable[str]) -> str:
    return ", ".join(sorted({name.removeprefix("relax.").removeprefix("nn.") for name in operators}))
