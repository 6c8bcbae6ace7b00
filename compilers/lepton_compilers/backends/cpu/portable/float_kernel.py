"""The row of `FloatKernel`: TVM lowers the Relax operator, its loops become a C function beside the plan."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from lepton_compilers.backends.answers import Answer, No, Yes
from lepton_compilers.backends.cpu.codegen.tir import c_target, function_source, pointer_function
from lepton_compilers.backends.cpu.lowering.draft import Draft
from lepton_compilers.backends.cpu.lowering.rows import Lowering, Rows
from lepton_compilers.quiet import quiet
from lepton_sdk.program import Tensor, Tensors
from lepton_sdk.program.float_kernel import FloatKernel, decoded
from lepton_targets.errors import MissingExtraError

HEADER = "mathematics.h"
_NO_NUMBERS = {"inf": "__builtin_inff()", "nan": '__builtin_nanf("")'}
Spec = tuple[tuple[int, ...], str]
"""Shape and dtype of a tensor."""


class NoKernel(Exception):
    """Why TVM has no plain loops for an operator."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A C function `name(uint8_t *…)`: inputs, outputs, then scratch of these sizes in bytes."""

    name: str
    source: str
    scratch: tuple[int, ...]


def accepts(op: FloatKernel, t: Tensors) -> Answer:
    """Whether TVM lowers the operator to loops that call nothing."""
    try:
        _kernel(op, t)
    except NoKernel as reason:
        return No(f"'{op.operator}' has no kernel here: {reason}")
    return Yes()


def emit(op: FloatKernel, draft: Draft) -> None:
    """One call of the kernel."""
    kernel = _kernel(op, draft.tensors)
    draft.source(kernel.name, kernel.source)
    xs = [draft.read(x) for x in op.xs]
    ys = [draft.write(y) for y in op.ys]
    draft.call(kernel.name, *xs, *ys, *(draft.scratch(n) for n in kernel.scratch))


def _kernel(op: FloatKernel, t: Tensors) -> Kernel:
    return kernel(op.operator, op.arguments, _specs(t, op.xs), _specs(t, op.ys))


def _specs(t: Tensors, names: tuple[str, ...]) -> tuple[Spec, ...]:
    tensors: list[Tensor] = [t[name] for name in names]
    return tuple((x.shape, x.dtype) for x in tensors)


@functools.lru_cache(maxsize=4096)
def kernel(operator: str, arguments: str, xs: tuple[Spec, ...], ys: tuple[Spec, ...]) -> Kernel:
    """The C function of an operator on tensors of these shapes. Raises NoKernel, MissingExtraError."""
    digest = hashlib.sha256(json.dumps([operator, arguments, xs, ys]).encode()).hexdigest()[:16]
    name = f"{operator.split('.')[-1]}_{digest}"
    try:
        import tvm
    except ImportError as error:
        raise MissingExtraError("compiling for a CPU", "compile", "apache-tvm") from error
    try:
        with quiet():
            loops = _loops(operator, arguments, xs, ys)
            body, scratch = _c_body(loops, f"loops_{name}")
    except (
        tvm.error.InternalError,
        tvm.error.OpError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
    ) as error:
        raise NoKernel((str(error).strip() or type(error).__name__).splitlines()[-1]) from error
    return Kernel(name, body + _entry(name, [*xs, *ys], scratch), tuple(_nbytes(s) for s in scratch))


@functools.cache
def _complete_c() -> None:
    """C's fabsf and fabs for TVM's fabs, the one function that its C target leaves unnamed."""
    from tvm import tirx

    def named(call: Any) -> Any:
        kind = str(call.ty.dtype)
        return tirx.call_pure_extern(kind, "fabs" if kind == "float64" else "fabsf", *call.args)

    tirx.register_intrin_lowering("tirx.fabs", target="c", f=named)


def _loops(operator: str, arguments: str, xs: tuple[Spec, ...], ys: tuple[Spec, ...]) -> Any:
    """The PrimFunc that Relax's legalisation gives."""
    import tvm
    from tvm import relax, tirx

    def number(value: float, dtype: str) -> Any:
        return tirx.const(int(value) if dtype.startswith(("int", "uint", "bool")) else value, dtype)

    variables = [relax.Var(f"x{i}", relax.TensorType(shape, dtype)) for i, (shape, dtype) in enumerate(xs)]
    args, attrs = decoded(
        arguments,
        variables,
        number,
        lambda extents: relax.ShapeExpr(extents),
        lambda items: relax.Tuple(items),
    )
    kind = json.loads(arguments)["kind"]
    made = tvm.ir.make_node(kind, **_fields(kind, attrs)) if kind else None
    call = tvm.ir.Call(tvm.ir.Op.get(operator), args, made)
    builder = relax.BlockBuilder()
    with builder.function("main", variables):
        builder.emit_func_output(builder.emit(call))
    module = relax.transform.LegalizeOps()(builder.finalize())
    functions = [f for f in module.functions.values() if isinstance(f, tirx.PrimFunc)]
    if len(functions) != 1:
        raise NoKernel("TVM does not lower it to loops")
    if len(functions[0].params) != len(xs) + len(ys):
        raise NoKernel(f"its loops take {len(functions[0].params)} buffers, {len(xs) + len(ys)} are at hand")
    return functions[0]


def _fields(kind: str, attrs: dict[str, Any]) -> dict[str, Any]:
    """Attribute values for TVM's object of that kind: numbers that it keeps as expressions become such."""
    from tvm import tirx
    from tvm.relax.op import op_attrs

    def boxed(value: Any, schema: str) -> Any:
        if isinstance(value, list):
            return [boxed(item, schema) for item in value]
        if "FloatImm" in schema:
            return tirx.FloatImm("float32", float(value))
        if ("Object" in schema or "Expr" in schema or "IntImm" in schema) and type(value) is int:
            return tirx.IntImm("int64", value)
        return value

    fields = getattr(op_attrs, kind.split(".")[-1]).__tvm_ffi_type_info__.fields
    schemas = {field.name: str(field.metadata.get("type_schema")) for field in fields}
    return {name: boxed(value, schemas[name]) for name, value in attrs.items()}


def _from_their_beginning(function: Any, buffers: Any) -> Any:
    """The function with buffers that begin at their pointers; scatters leave that open."""
    from tvm import tirx

    open_offsets = [b.elem_offset for b in buffers if isinstance(b.elem_offset, tirx.Var)]
    if not open_offsets:
        return function
    held = [tirx.Bind(offset, tirx.const(0, str(offset.ty.dtype))) for offset in open_offsets]
    return tirx.PrimFunc(function.params, tirx.SeqStmt([*held, function.body])).with_attr(
        dict(function.attrs.items())
    )


def _c_body(loops: Any, name: str) -> tuple[str, list[Spec]]:
    """C text of the loops, with every buffer they allocate made a parameter, and those buffers."""
    import tvm
    from tvm import tirx
    from tvm.s_tir import SBlock, SBlockRealize
    from tvm.s_tir import transform as schedule

    _complete_c()
    realize, root = loops.body, loops.body.block
    lifted = list(root.alloc_buffers)
    block = SBlock(
        root.iter_vars,
        root.reads,
        root.writes,
        root.name_hint,
        root.body,
        root.init,
        [],
        root.match_buffers,
        root.annotations,
    )
    body = SBlockRealize(realize.iter_values, realize.predicate, block)
    function = tirx.PrimFunc([*loops.params, *lifted], body)
    function = function.with_attr({"global_symbol": name, "tirx.noalias": True, "s_tir": True})
    module = tirx.transform.BindTarget(c_target())(tvm.IRModule({name: function}))
    lower = [
        schedule.CanonicalizeLoop(),
        schedule.LowerInitBlock(),
        schedule.PlanAndUpdateBufferAllocationLocation(),
        schedule.ConvertBlocksToOpaque(),
        schedule.CompactBufferAllocation(),
        schedule.LowerMatchBuffer(),
        schedule.LowerOpaqueBlock(),
        tirx.transform.StmtSimplify(),
    ]
    lowered = tvm.ir.transform.Sequential(lower)(module)[name]
    plain = pointer_function(name, lowered.params, [lowered.body])
    source = function_source({name: _from_their_beginning(plain, lowered.params)})
    # As TVM prints them.
    source = re.sub(r"(?<![\w.])(inf|nan)f?\b(?!\()", lambda m: _NO_NUMBERS[m[1]], source)
    if "half" in source or "TVMBackend" in source:
        raise NoKernel("it needs types or memory that plain C code does not have")
    return source, [(tuple(int(n) for n in b.shape), str(b.dtype)) for b in lifted]


def _entry(name: str, given: list[Spec], scratch: list[Spec]) -> str:
    """The function that a plan calls: bytes in, typed pointers on."""
    every = [dtype for _, dtype in (*given, *scratch)]
    parameters = ", ".join(f"uint8_t *p{i}" for i in range(len(every)))
    arguments = ", ".join(f"({_c_type(dtype)} *)p{i}" for i, dtype in enumerate(every))
    return f"\nLEPTON_KERNEL void {name}({parameters}) {{\n  loops_{name}({arguments});\n}}\n"


def _c_type(dtype: str) -> str:
    return {"float32": "float", "float64": "double", "bool": "bool"}.get(dtype, f"{dtype}_t")


def _nbytes(spec: Spec) -> int:
    shape, dtype = spec
    size = 1 if dtype in ("bool", "int8", "uint8") else int("".join(c for c in dtype if c.isdigit())) // 8
    for n in shape:
        size *= n
    return size


LOWERINGS: Rows = {FloatKernel: (Lowering(accepts, emit, HEADER),)}
