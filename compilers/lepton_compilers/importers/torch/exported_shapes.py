"""Input shapes of an exported program, fixed: as asked, as exported, and an open batch of 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lepton_compilers.peak import checked_size
from lepton_targets.errors import BadInputError, nearest

INPUT_TYPES = ("float32", "int32", "int64", "bool")

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def fix_input_shapes(program: ExportedProgram, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Give the program's inputs static shapes, which tracing it anew then carries through the graph.

    shapes: as asked, by input name. Raises BadInputError for unknown inputs, inputs that are no float32
    tensor, shapes that the export does not allow, and extents left open (but a batch).
    """
    import torch

    nodes = _tensor_inputs(program)
    for name in shapes:
        if name not in nodes:
            raise BadInputError(
                f"the model has no input '{name}'{nearest(name, nodes)}", f"inputs: {', '.join(nodes)}"
            )
    exported = {name: [_expression(n) for n in node.meta["val"].shape] for name, node in nodes.items()}
    known: dict[Any, int] = {}
    for name, asked in shapes.items():
        _learn(name, exported[name], [int(n) for n in asked], known)
    for extents in exported.values():
        if extents and _open(extents[0], known) and extents[0].is_Symbol:
            known[extents[0]] = 1
    _check_ranges(program, known)
    for name, node in nodes.items():
        extents = [n if isinstance(n, int) else n.subs(known) for n in exported[name]]
        _check_extents(name, exported[name], extents, shapes.get(name))
        fixed = [int(n) for n in extents]
        checked_size(f"input '{name}'", fixed, "float32")
        example = node.meta["val"]
        with example.fake_mode:
            node.meta["val"] = torch.empty(fixed, dtype=example.dtype)
        node.meta.pop("tensor_meta", None)
        _forget_multiples(example.fake_mode)
    program.range_constraints.clear()


def _forget_multiples(mode: Any) -> None:
    """Tracing stumbles over ranges of `2*s0`, which loading a file leaves there; nothing is open any more."""
    ranges = {} if mode.shape_env is None else mode.shape_env.var_to_range
    for extent in [extent for extent in ranges if not extent.is_Symbol]:
        del ranges[extent]


def _tensor_inputs(program: ExportedProgram) -> dict[str, Any]:
    import torch

    names = program.graph_signature.user_inputs
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    found = {}
    for name in names:
        value = nodes[name].meta.get("val") if isinstance(name, str) and name in nodes else name
        if not isinstance(value, torch.Tensor):
            raise BadInputError(
                f"an input of the PyTorch model is {value!r} and no tensor",
                "export a module whose forward takes tensors alone, with such values set in it",
            )
        kind = str(value.dtype).removeprefix("torch.")
        if kind not in INPUT_TYPES:
            raise BadInputError(f"input '{name}' is {kind}", f"supported inputs: {', '.join(INPUT_TYPES)}")
        found[name] = nodes[name]
    return found


def _expression(extent: Any) -> Any:
    return extent if isinstance(extent, int) else extent.node.expr


def _open(extent: Any, known: Mapping[Any, int]) -> bool:
    return not isinstance(extent, int) and bool(extent.free_symbols - set(known))


def _learn(name: str, exported: list[Any], asked: list[int], known: dict[Any, int]) -> None:
    """What an asked shape says of the export's open extents."""
    if len(asked) != len(exported) or min(asked, default=1) < 1:
        raise BadInputError(f"input '{name}' is {_shown(exported)} in the file, {asked} was asked")
    for extent, n in zip(exported, asked):
        unknown = set() if isinstance(extent, int) else extent.free_symbols - set(known)
        if len(unknown) == 1:
            known |= _solved(extent.subs(known), n, unknown.pop())
        if not isinstance(extent, int) and extent.subs(known) != n:
            raise BadInputError(
                f"input '{name}' is {_shown(exported)} in the file, which fits no other shapes;"
                f" {asked} was asked"
            )


def _solved(expression: Any, n: int, symbol: Any) -> dict[Any, int]:
    """The symbol's value where the expression is n; nothing where that is no whole number."""
    import sympy

    found = [x for x in sympy.solve(expression - n, symbol) if x.is_Integer]
    return {symbol: int(found[0])} if len(found) == 1 else {}


def _check_ranges(program: ExportedProgram, known: Mapping[Any, int]) -> None:
    for symbol, n in known.items():
        allowed = program.range_constraints.get(symbol)
        if allowed is None:
            continue
        # PyTorch writes 2 as the least where it only did not look at 0 and 1.
        if (n < allowed.lower and allowed.lower > 2) or n > allowed.upper:
            raise BadInputError(
                f"the extent {symbol} of an input is {n}; the model was exported for {allowed.lower} to"
                f" {allowed.upper}",
                "fix it within that range:  --shape NAME=1,3,224,224",
            )


def _check_extents(name: str, exported: list[Any], extents: list[Any], asked: tuple[int, ...] | None) -> None:
    opened = [axis for axis, n in enumerate(extents) if not isinstance(n, int) and not n.is_Integer]
    if opened:
        wanted = ",".join("N" if axis in opened else str(n) for axis, n in enumerate(extents))
        raise BadInputError(
            f"input '{name}' leaves extent {opened[0]} of its shape open", f"fix it:  --shape {name}={wanted}"
        )
    if asked is not None and [int(n) for n in extents] != [int(n) for n in asked]:
        raise BadInputError(f"input '{name}' is {_shown(exported)} in the file, {list(asked)} was asked")


def _shown(extents: list[Any]) -> str:
    return "[" + ", ".join(str(n) for n in extents) + "]"
