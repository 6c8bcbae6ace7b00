"""A module in forms that TVM itself compiles, for calibration: the same numbers under the same names."""

from __future__ import annotations

from typing import Any

from tvm import relax

from lepton_compilers.passes.graph import CONV2D_TRANSPOSE, Expr, Var, integers, operator
from lepton_compilers.passes.rewrite import Rewriter, rewrite


def runnable(module: Any) -> Any:
    """Transposed convolutions of NHWC maps on NCHW ones between two permutes: TVM lowers no others."""
    return rewrite(module, _visit)


def _visit(rewriter: Rewriter, var: Var, old: Expr) -> Expr | None:
    if operator(old) != CONV2D_TRANSPOSE or str(old.attrs.data_layout) != "NHWC":
        return None
    a, x = old.attrs, rewriter.mapped(old.args[0])
    turned = rewriter.emit(relax.op.permute_dims(x, [0, 3, 1, 2]), f"{var.name}/nchw")
    y = relax.op.nn.conv2d_transpose(
        turned,
        rewriter.mapped(old.args[1]),
        strides=integers(a.strides),
        padding=integers(a.padding),
        output_padding=integers(a.output_padding),
        dilation=integers(a.dilation),
        groups=int(a.groups),
        data_layout="NCHW",
        kernel_layout="IOHW",
    )
    return relax.op.permute_dims(rewriter.emit(y, f"{var.name}/turned"), [0, 2, 3, 1])
