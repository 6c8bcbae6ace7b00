"""From a plan to C: a TIR function of kernel calls with literal arguments, printed by TVM's C generator.

Calls that fall into parts become a function of the part's index; regions.py writes what forks them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lepton_compilers.backends.cpu.codegen import regions
from lepton_compilers.backends.cpu.codegen.specialised import Specialised
from lepton_compilers.backends.cpu.codegen.stamped import STAMP, timed_entry_source, timed_source
from lepton_compilers.backends.cpu.codegen.steps import stretches
from lepton_compilers.backends.cpu.plans.headers import kernel_header, ordered_headers
from lepton_compilers.backends.cpu.plans.plan import Call, Place, Plan, Space
from lepton_sdk.engines.stamps import READINGS_BEFORE
from lepton_sdk.runtime import source
from lepton_targets.errors import MissingExtraError

_PROLOGUE = ("#include", "#define TVM_EXPORTS", "void* __tvm_ffi__library_ctx", "// tvm target")
"""Lines of TVM's output that serve its own runtime, which generated code does not have."""


def c_source(plans: Sequence[Plan], headers: Iterable[str]) -> str:
    """One self-contained C file that exports `lepton_<function>` for every plan, and the pool of threads.

    Beside each stands `lepton_<function>_timed`, which tells when its steps end (runtime/lepton_stamps.h).
    """
    parts = [source("lepton_parallel.h"), *map(kernel_header, ordered_headers(headers))]
    shared = Specialised(plans)
    parts += _functions(plans, {plan.function: symbol(plan.function) for plan in plans}, shared)
    parts += [_bound_source(symbol(plan.function)) for plan in plans]
    timed = (_timed_source(plan, shared, symbol(plan.function)) for plan in plans)
    parts.append(timed_source(timed, source("lepton_stamps.h")))
    if any(map(regions.forks, plans)):
        parts.append(regions.pool_source())
    return "\n".join(parts)


def c_unit(plans: Sequence[Plan], headers: Iterable[str], symbols: Mapping[str, str]) -> str:
    """One C file that includes its headers from `kernels/` and defines `symbols`, by function.

    With LEPTON_TIMED it defines `symbol`_timed for each too.
    """
    included = ["lepton_parallel.h", *(f"kernels/{name}" for name in ordered_headers(headers))]
    shared = Specialised(plans)
    parts = [*(f'#include "{name}"' for name in included), *_functions(plans, symbols, shared)]
    timed = (_timed_source(plan, shared, symbols[plan.function]) for plan in plans)
    parts += ["#ifdef LEPTON_TIMED", timed_source(timed, '#include "lepton_stamps.h"') + "#endif", ""]
    return "\n".join(parts)


def _functions(plans: Sequence[Plan], symbols: Mapping[str, str], shared: Specialised) -> list[str]:
    # Functions share the kernels that were generated for them.
    parts = [*{name: text for plan in plans for name, text in plan.sources.items()}.values()]
    parts.append(shared.source())
    for plan in plans:
        parts += [*_body_sources(plan, shared), _entry_source(plan, symbols[plan.function])]
    return parts


def symbol(function: str) -> str:
    """Name of a function's entry in the shared object."""
    return f"lepton_{function}"


def _spaces(plan: Plan) -> list[tuple[Space, int]]:
    """The generated function's pointers, in order."""
    return [
        (Space.ARENA, 0),
        (Space.WEIGHTS, 0),
        (Space.VARIABLES, 0),
        *((Space.INPUT, i) for i in range(plan.n_inputs)),
        *((Space.OUTPUT, i) for i in range(plan.n_outputs)),
    ]


def _names(plan: Plan) -> list[str]:
    """C names of the pointers, in the order of `_spaces`."""
    return [
        str(space) + (str(index) if space in (Space.INPUT, Space.OUTPUT) else "")
        for space, index in _spaces(plan)
    ]


def _entry_source(plan: Plan, name: str) -> str:
    """The C ABI: unpack the pointer arrays, call the body, return 0.

    Protected, not default: what calls it in the same object then needs no relocation.
    """
    values = _pointers(plan)
    if regions.forks(plan):
        start = f"  struct pointers_{plan.function} pointers = {{{', '.join(values)}, parallel}};\n"
        values.append("(uint8_t *)&pointers")
    else:
        start = "  (void)parallel;\n"
    return f"""
__attribute__((visibility("protected"))) int {name}(
    void *arena, const void *weights, void *variables,
    const void *const *inputs, void *const *outputs, const lepton_parallel *parallel) {{
{start}  body_{plan.function}({", ".join(values)});
  return 0;
}}
"""


def _pointers(plan: Plan) -> list[str]:
    """The pointers' values in the C ABI, in the order of `_spaces`."""
    values = ["(uint8_t *)arena", "(uint8_t *)weights", "(uint8_t *)variables"]
    values += [f"(uint8_t *)inputs[{i}]" for i in range(plan.n_inputs)]
    return values + [f"(uint8_t *)outputs[{i}]" for i in range(plan.n_outputs)]


def _bound_source(name: str) -> str:
    """The same call by one pointer to its six arguments: a foreign-function interface pays for each."""
    return f"""
__attribute__((visibility("default"))) int {name}_bound(void *const *a) {{
  const lepton_parallel *parallel = (const lepton_parallel *)a[5];
  return {name}(a[0], a[1], a[2], (const void *const *)a[3], (void *const *)a[4], parallel);
}}
"""


def _body_sources(plan: Plan, shared: Specialised) -> list[str]:
    """What parts do, what forks them, and the function's body that calls both forks and kernels."""
    try:
        import tvm  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("compiling for a CPU", "compile", "apache-tvm") from error
    forked, function = regions.forks(plan), plan.function
    name = f"body_{function}"
    body = function_source({name: _body_function(plan, shared, forked, name)})
    if not forked:
        return [body]
    names = {number: regions.part_name(function, number) for number in forked}
    parts = {names[n]: _part_function(plan, shared, names[n], fork.parts) for n, fork in forked.items()}
    return [function_source(parts), regions.fork_source(function, _names(plan), forked), body]


def _timed_source(plan: Plan, shared: Specialised, entry: str) -> str:
    """The body again with readings of a clock, and the entry that calls it."""
    forked, name = regions.forks(plan), f"timed_{plan.function}"
    body = function_source({name: _body_function(plan, shared, forked, name, stamped=True)})
    inner = plan.function if forked else None
    return body + timed_entry_source(entry, name, _pointers(plan), inner)


def c_target() -> Any:
    """TVM's target for plain C."""
    import tvm

    target = tvm.target.Target({"kind": "c"})
    return target.with_host(target)


def pointer_function(name: str, buffers: Iterable[Any], statements: Iterable[Any], *more: Any) -> Any:
    """A PrimFunc with a plain C signature: a pointer a buffer, typed as it is; `more`: further parameters."""
    from tvm import tirx
    from tvm.ir import PointerType, PrimType

    held = list(buffers)
    pointers = [tirx.Var(f"{b.name}_p", PointerType(PrimType(str(b.dtype)), "global")) for b in held]
    declared = [tirx.DeclBuffer(b, data=p) for b, p in zip(held, pointers, strict=True)]
    attributes = {"global_symbol": name, "tirx.noalias": True, "s_tir": True}
    body = tirx.SeqStmt([*declared, *statements])
    return tirx.PrimFunc([*pointers, *more], body).with_attr(attributes)


def function_source(functions: Mapping[str, Any]) -> str:
    """C text of PrimFuncs by name, without what serves TVM's own runtime."""
    import tvm

    passes = tvm.tirx.transform
    module = passes.BindTarget(c_target())(tvm.IRModule(dict(functions)))
    lower = [
        passes.StmtSimplify(),
        passes.FlattenBuffer(),
        passes.NarrowDataType(32),
        passes.RemoveNoOp(),
        passes.LowerIntrin(),
    ]
    module = tvm.ir.transform.Sequential(lower)(module)
    source = tvm.get_global_func("target.build.c")(module, tvm.target.Target({"kind": "c"})).inspect_source()
    lines = [line for line in source.splitlines() if not line.startswith(_PROLOGUE)]
    # What is called is defined above; a second declaration as inline would contradict LEPTON_SHARED.
    return "\n".join(line for line in lines if not (line.startswith("TVM_DLL ") and line.endswith(";")))


class _Frame:
    """A buffer for each of a generated function's pointers, uint8_t, in the order of `_spaces`."""

    def __init__(self, plan: Plan, shared: Specialised) -> None:
        from tvm import tirx

        self.plan, self.shared, extents = plan, shared, _extents(plan)
        self.buffers = {
            key: tirx.decl_buffer([extents.get(key, 1)], "uint8", name)
            for key, name in zip(_spaces(plan), _names(plan), strict=True)
        }

    def call(self, call: Call, index: Any) -> Any:
        """One repetition of a kernel call; index: which."""
        from tvm import tirx

        def argument(value: Place | int) -> Any:
            if isinstance(value, int):
                return _literal(value)
            buffer = self.plan.buffers[value.buffer]
            offset = _literal(self.plan.offset(value))
            if value.step and call.times > 1:
                offset = offset + index * _literal(value.step)
            return tirx.address_of(tirx.BufferLoad(self.buffers[buffer.space, buffer.index], [offset]))

        name, arguments = self.shared.name(call), call.arguments
        if name is not None:
            arguments = call.places
        return tirx.Evaluate(tirx.call_extern("void", name or call.kernel, *map(argument, arguments)))


def _literal(value: int) -> Any:
    from tvm import tirx

    return tirx.const(value, "int32")


def _body_function(
    plan: Plan, shared: Specialised, forked: Mapping[int, regions.Fork], name: str, stamped: bool = False
) -> Any:
    """Every call in order; those in `forked`, by the number of the first, through their forks.

    stamped: it takes one pointer more, to a lepton_stamps, and reads its clock around the steps.
    """
    from tvm import tirx

    frame, statements = _Frame(plan, shared), []
    buffers = list(frame.buffers.values())
    # The last pointer leads to all of them, for the forks.
    pointers = tirx.decl_buffer([1], "uint8", "pointers")
    stamps = tirx.decl_buffer([1], "uint8", "stamps")
    reading = tirx.call_extern("void", STAMP, tirx.address_of(tirx.BufferLoad(stamps, [_literal(0)])))
    ends = {stretch.end for stretch in stretches(plan)} if stamped else set()
    if stamped:
        statements += [tirx.Evaluate(reading)] * READINGS_BEFORE
    inside = {number for fork in forked.values() for number in range(fork.first + 1, fork.end)}
    for number, call in enumerate(plan.calls):
        if number in inside:
            continue
        if number in forked:
            address = tirx.address_of(tirx.BufferLoad(pointers, [_literal(0)]))
            fork = regions.fork_name(plan.function, number)
            statements.append(tirx.Evaluate(tirx.call_extern("void", fork, address)))
        elif call.times == 1:
            statements.append(frame.call(call, None))
        else:
            i, kind = tirx.Var(f"i{number}", "int32"), tirx.ForKind.SERIAL
            statements.append(tirx.For(i, _literal(0), _literal(call.times), kind, frame.call(call, i)))
        if (forked[number].end if number in forked else number + 1) in ends:
            statements.append(tirx.Evaluate(reading))
    if not statements:
        statements.append(tirx.Evaluate(_literal(0)))
    buffers += [pointers] * bool(forked) + [stamps] * stamped
    return pointer_function(name, buffers, statements)


def _part_function(plan: Plan, shared: Specialised, name: str, parts: Sequence[Call]) -> Any:
    """Part `index` of a call: which of its forms, and which repetition of it."""
    from tvm import tirx

    frame, index = _Frame(plan, shared), tirx.Var("index", "int32")
    *others, last = parts
    first = sum(part.times for part in others)
    statement = frame.call(last, index - _literal(first))
    for part in reversed(others):
        inside = index < _literal(first)
        first -= part.times
        statement = tirx.IfThenElse(inside, frame.call(part, index - _literal(first)), statement)
    return pointer_function(name, frame.buffers.values(), [statement], index)


def _extents(plan: Plan) -> dict[tuple[Space, int], int]:
    """Bytes that each pointer must reach."""
    extents: dict[tuple[Space, int], int] = {(Space.ARENA, 0): max(plan.arena_bytes, 1)}
    for buffer in plan.buffers.values():
        if buffer.space is not Space.ARENA:
            key = (buffer.space, buffer.index)
            extents[key] = max(extents.get(key, 1), buffer.offset + buffer.nbytes)
    return extents
