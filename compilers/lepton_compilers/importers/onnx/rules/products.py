"""Products of matrices, and sums of products by their letters."""

from __future__ import annotations

from collections.abc import Mapping

from tvm import relax

from lepton_compilers.importers.onnx.values import Converter, Node, Result
from lepton_compilers.passes.graph import Expr, dtype, shape
from lepton_targets.errors import BadInputError

op = relax.op


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
    "Einsum": _einsum,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
