"""From a plan to C: a TIR function of kernel calls with literal arguments, printed by TVM's C generator."""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterable
from typing import Any

from lepton_compilers.backends.cpu.plan import Call, Place, Plan, Space
from lepton_targets.errors import MissingExtraError

HEADER_ORDER = (
    "portable.h",
    "mathematics.h",
    "elementwise.h",
    "int16.h",
    "training_portable.h",
    "avx512vnni.h",
)
"""A header may use what stands in earlier ones."""
STANDS_ON = {"int16.h": {"elementwise.h"}}
"""Headers that need another than portable.h."""

_PROLOGUE = ("#include", "#define TVM_EXPORTS", "void* __tvm_ffi__library_ctx", "// tvm target")
"""Lines of TVM's output that serve its own runtime, which generated code does not have."""


def kernel_header(name: str) -> str:
    """Text of a file under kernels/."""
    return importlib.resources.files("lepton_compilers.kernels").joinpath(name).read_text(encoding="utf-8")


def c_source(plans: Iterable[Plan], headers: Iterable[str]) -> str:
    """One self-contained C file that exports `lepton_<function>` for every plan."""
    named = {"portable.h", *headers}
    wanted = named.union(*(STANDS_ON.get(name, ()) for name in named))
    unknown = wanted - {*HEADER_ORDER}
    if unknown:
        raise ValueError(f"headers {sorted(unknown)} have no place in HEADER_ORDER")
    held = list(plans)
    parts = [kernel_header(name) for name in HEADER_ORDER if name in wanted]
    # Functions share the kernels that were generated for them.
    parts += {name: text for plan in held for name, text in plan.sources.items()}.values()
    for plan in held:
        parts += [_body_source(plan), _entry_source(plan)]
    return "\n".join(parts)


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


def _entry_source(plan: Plan) -> str:
    """The C ABI: unpack the pointer arrays, call the body, return 0."""
    arguments = ["(uint8_t *)arena", "(uint8_t *)weights", "(uint8_t *)variables"]
    arguments += [f"(uint8_t *)inputs[{i}]" for i in range(plan.n_inputs)]
    arguments += [f"(uint8_t *)outputs[{i}]" for i in range(plan.n_outputs)]
    return f"""
__attribute__((visibility("default"))) int {symbol(plan.function)}(
    void *arena, const void *weights, void *variables,
    const void *const *inputs, void *const *outputs, const void *parallel) {{
  (void)parallel;
  body_{plan.function}({", ".join(arguments)});
  return 0;
}}
"""


def _body_source(plan: Plan) -> str:
    try:
        import tvm  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("compiling for a CPU", "compile", "apache-tvm") from error
    return function_source(f"body_{plan.function}", _prim_func(plan))


def c_target() -> Any:
    """TVM's target for plain C."""
    import tvm

    target = tvm.target.Target({"kind": "c"})
    return target.with_host(target)


def pointer_function(name: str, buffers: Iterable[Any], statements: Iterable[Any]) -> Any:
    """A PrimFunc with a plain C signature: a pointer a buffer, typed as it is."""
    from tvm import tirx
    from tvm.ir import PointerType, PrimType

    held = list(buffers)
    pointers = [tirx.Var(f"{b.name}_p", PointerType(PrimType(str(b.dtype)), "global")) for b in held]
    declared = [tirx.DeclBuffer(b, data=p) for b, p in zip(held, pointers, strict=True)]
    attributes = {"global_symbol": name, "tirx.noalias": True, "s_tir": True}
    return tirx.PrimFunc(pointers, tirx.SeqStmt([*declared, *statements])).with_attr(attributes)


def function_source(name: str, function: Any) -> str:
    """C text of one PrimFunc, without what serves TVM's own runtime."""
    import tvm

    passes = tvm.tirx.transform
    module = passes.BindTarget(c_target())(tvm.IRModule({name: function}))
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
    return "\n".join(lines)


def _prim_func(plan: Plan) -> Any:
    """The plan as a PrimFunc: a uint8_t pointer a space, in the order of `_spaces`."""
    from tvm import tirx

    buffers, extents = {}, _extents(plan)
    for space, index in _spaces(plan):
        name = str(space) + (str(index) if space in (Space.INPUT, Space.OUTPUT) else "")
        buffers[space, index] = tirx.decl_buffer([extents.get((space, index), 1)], "uint8", name)
    statements = [_statement(plan, call, buffers, number) for number, call in enumerate(plan.calls)]
    if not plan.calls:
        statements.append(tirx.Evaluate(tirx.const(0, "int32")))
    return pointer_function(f"body_{plan.function}", buffers.values(), statements)


def _extents(plan: Plan) -> dict[tuple[Space, int], int]:
    """Bytes that each pointer must reach."""
    extents: dict[tuple[Space, int], int] = {(Space.ARENA, 0): max(plan.arena_bytes, 1)}
    for buffer in plan.buffers.values():
        if buffer.space is not Space.ARENA:
            key = (buffer.space, buffer.index)
            extents[key] = max(extents.get(key, 1), buffer.offset + buffer.nbytes)
    return extents


def _statement(plan: Plan, call: Call, buffers: dict[tuple[Space, int], Any], number: int) -> Any:
    from tvm import tirx

    def literal(value: int) -> Any:
        return tirx.const(value, "int32")

    variable = tirx.Var(f"i{number}", "int32")

    def argument(value: Place | int) -> Any:
        if isinstance(value, int):
            return literal(value)
        buffer = plan.buffers[value.buffer]
        offset = literal(plan.offset(value))
        if value.step and call.times > 1:
            offset = offset + variable * literal(value.step)
        return tirx.address_of(tirx.BufferLoad(buffers[buffer.space, buffer.index], [offset]))

    once = tirx.Evaluate(tirx.call_extern("void", call.kernel, *map(argument, call.arguments)))
    if call.times == 1:
        return once
    return tirx.For(variable, literal(0), literal(call.times), tirx.ForKind.SERIAL, once)
