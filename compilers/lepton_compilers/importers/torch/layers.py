"""PyTorch's operators → Relax: TVM's converters, and cures where they say something else than PyTorch.

TVM drops `alpha` of sums and the bound of clamp_max, divides where a factor does, and binds several results
as one tuple. What depends on constants alone is computed by PyTorch itself, now, and every result's shape is
held against PyTorch's. Convolutions and pools: windows.py. Quantize, dequantize: quantized.py.
LSTM, GRU: recurrent.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import tvm
from tvm import relax
from tvm.relax.frontend.torch.exported_program_translator import ExportedProgramImporter

from lepton_compilers.importers.torch import quantized, recurrent, windows
from lepton_compilers.importers.torch.operators import spelt
from lepton_compilers.passes.graph import Expr, is_var, known_shape
from lepton_compilers.passes.rewrite import bind
from lepton_targets.errors import UnsupportedOperatorError

Node = Any
Convert = Callable[[Node], Any]

CHECKS = (
    *("_assert_async.msg", "_assert_async.default", "_assert_scalar.default"),
    *("_assert_tensor_metadata.default", "sym_constrain_range_for_size.default"),
)
LARGEST_FOLDED = 2**24
OF_SHAPES = ("full_like.default",)
"""Operators that read nothing of their input but its shape."""


class TorchLayers(ExportedProgramImporter):  # type: ignore[misc]
    """TVM's importer with the cures above.

    names: the layer of each node, which its result is bound under. constants: what placeholders stand for,
    where that is known; `values` has what follows from them too. `current` is the layer being converted.
    """

    def __init__(self, names: Mapping[Node, str], constants: Mapping[Node, torch.Tensor]) -> None:
        self._layer, self.values, self.current = names, dict(constants), ""
        super().__init__()

    def function(self, nodes: Sequence[Node], inputs: Mapping[Node, Expr], attributes: dict[str, Any]) -> Any:
        """The module whose `main` computes the graph. inputs: its variables, by the node they stand for."""
        self.block_builder = relax.BlockBuilder()
        known = {node.name: _constant(tensor) for node, tensor in self.values.items()}
        with self.block_builder.function("main", list(inputs.values()), attrs=attributes):
            with self.block_builder.dataflow():
                environment = known | {node.name: var for node, var in inputs.items()}
                results = self._translate_fx_graph(None, nodes, environment)
                result = results[0] if len(results) == 1 else relax.Tuple(list(results))
                output = self.block_builder.emit_output(result)
            self.block_builder.emit_func_output(output)
        return self.block_builder.get()

    def arguments(self, node: Node, *defaults: Any) -> list[Any]:
        """A node's positional arguments in Relax, the last of them by default as `defaults` say.

        defaults: for as many of the last arguments of the operator's schema.
        """
        given = list(self.retrieve_args(node))
        total = len(node.target._schema.arguments)
        optional = total - len(defaults)
        return given[:total] + list(defaults[max(0, len(given) - optional) :])

    def emit(self, expr: Expr) -> Expr:
        """A variable bound to the expression."""
        return self.block_builder.emit(expr)

    def refused(self, node: Node, reason: str) -> UnsupportedOperatorError:
        """What to raise for a layer whose form has no place here."""
        return UnsupportedOperatorError(f"layer '{self.current}' ({spelt(node.target)}) {reason}")

    def create_convert_map(self) -> dict[str, Convert]:
        """A converter for each operator, by the name that torch.export gives it."""
        converters = super().create_convert_map() | self._cures()
        return {name: self._bound(convert) for name, convert in converters.items()}

    def _bound(self, convert: Convert) -> Convert:
        """The converter, its result bound under the layer's name and of the shape that PyTorch gives it."""

        def apply(node: Node) -> Any:
            self.current = layer = self._layer.get(node, node.name)
            if self._is_known(node):
                return _constant(self._computed(node))
            result = convert(node)
            if is_var(result) and isinstance(result.ty, relax.TupleType):
                gathered = self.block_builder.lookup_binding(result)
                result = tuple(gathered.fields) if isinstance(gathered, tvm.ir.Tuple) else result
            if isinstance(result, tuple | list):
                return result
            if isinstance(result, tvm.ir.Call):
                result = self.emit(result)
            expected = getattr(node.meta.get("val"), "shape", None)
            found = known_shape(result) if hasattr(result, "ty") else None
            if expected is not None and found is not None and tuple(expected) != found:
                raise self.refused(node, f"comes out as {found}, and PyTorch gives {tuple(expected)}")
            fresh = is_var(result) and not any(result is self.env.get(n) for n in node.all_input_nodes)
            return bind(self.block_builder, result, layer) if fresh else result

        return apply

    def _is_known(self, node: Node) -> bool:
        """Whether the layer computes a tensor of at most LARGEST_FOLDED numbers from constants alone.

        Integers that stand for quantised numbers stay integers: what dequantizes them is not computed now.
        """
        result = node.meta.get("val")
        name, random = node.target.__name__, torch.Tag.nondeterministic_seeded
        # A recurrent layer's dropout is for training.
        if random in getattr(node.target, "tags", ()) and name not in recurrent.RULES:
            raise self.refused(node, "draws at random; a compiled model gives one result for one input")
        if not isinstance(result, torch.Tensor) or result.numel() > LARGEST_FOLDED:
            return False
        if name.startswith("dequantize"):
            return False
        return name in OF_SHAPES or all(n in self.values for n in node.all_input_nodes)

    def _computed(self, node: Node) -> torch.Tensor:
        def value(source: Node) -> torch.Tensor:
            held = self.values.get(source)
            return torch.empty(source.meta["val"].shape) if held is None else held

        arguments, named = torch.fx.map_arg((node.args, node.kwargs), value)
        with torch.no_grad():
            result = node.target(*arguments, **named)
        if result.is_floating_point():
            # The infinity of a mask that is added is float32's largest number in a program.
            result = result.clamp(torch.finfo(result.dtype).min, torch.finfo(result.dtype).max)
        self.values[node] = result
        return result

    def _cures(self) -> dict[str, Convert]:
        return {
            **{f"add.{form}": self._added(relax.op.add) for form in ("Tensor", "Scalar")},
            **{f"sub.{form}": self._added(relax.op.subtract) for form in ("Tensor", "Scalar")},
            **{f"div.{form}": self._quotient for form in ("Tensor", "Scalar")},
            "clamp_max.default": self._clamp_above,
            "relu6.default": lambda node: relax.op.clip(self.env[node.args[0]], 0, 6),
            "hardsigmoid.default": lambda node: _hard_sigmoid(self.env[node.args[0]]),
            "hardswish.default": self._hard_swish,
            "layer_norm.default": self._layer_normalised,
            "amax.default": self._extreme(relax.op.max),
            "amin.default": self._extreme(relax.op.min),
            "max.dim": self._extreme_and_place(relax.op.max, relax.op.argmax),
            "min.dim": self._extreme_and_place(relax.op.min, relax.op.argmin),
            "stack.default": self._stacked,
            "_unsafe_view.default": self._reshape,
            **dict.fromkeys(CHECKS, lambda node: ()),
            **{name: partial(rule, self) for name, rule in windows.RULES.items()},
            **{name: partial(rule, self) for name, rule in quantized.RULES.items()},
            **{name: partial(rule, self) for name, rule in recurrent.RULES.items()},
        }

    def _added(self, op: Callable[[Expr, Expr], Expr]) -> Convert:
        def convert(node: Node) -> Expr:
            a, b = self.retrieve_args(node)[:2]
            return self._of_two(op, a, self._times(b, node.kwargs.get("alpha", 1)))

        return convert

    def _quotient(self, node: Node) -> Expr:
        """A division by a number is a multiplication, for which there is an operation."""
        a, b = self.retrieve_args(node)[:2]
        if isinstance(b, int | float) and b != 0:
            return self._of_two(relax.op.multiply, a, 1 / b)
        return self._of_two(relax.op.divide, a, b)

    def _of_two(self, op: Callable[[Expr, Expr], Expr], a: Any, b: Any) -> Expr:
        """Integers beside floats become floats, as PyTorch promotes them."""
        kinds = [str(x.ty.dtype) for x in (a, b) if hasattr(x, "ty")]
        kind = "float32" if "float32" in kinds or isinstance(b, float) else kinds[0]
        operands = []
        for x in (a, b):
            if not hasattr(x, "ty"):
                operands.append(relax.const(x, kind))
            else:
                operands.append(x if str(x.ty.dtype) == kind else self.emit(relax.op.astype(x, kind)))
        return op(*operands)

    def _times(self, x: Any, factor: float) -> Any:
        if factor == 1:
            return x
        return self.emit(self._of_two(relax.op.multiply, x, factor)) if hasattr(x, "ty") else x * factor

    def _clamp_above(self, node: Node) -> Expr:
        return relax.op.clip(self.env[node.args[0]], -math.inf, float(node.args[1]))

    def _hard_swish(self, node: Node) -> Expr:
        x = self.env[node.args[0]]
        return relax.op.multiply(x, _hard_sigmoid(x))

    def _layer_normalised(self, node: Node) -> Expr:
        x, extents, scale, shift, epsilon, _ = self.arguments(node, None, None, 1e-5, None)
        scale = relax.const(np.ones(extents, np.float32)) if scale is None else scale
        shift = relax.const(np.zeros(extents, np.float32)) if shift is None else shift
        axes = list(range(-len(extents), 0))
        return relax.op.nn.layer_norm(x, scale, shift, axes=axes, epsilon=float(epsilon))

    def _extreme(self, reduce: Callable[..., Expr]) -> Convert:
        def convert(node: Node) -> Expr:
            x, axes, keep = self.arguments(node, None, False)
            return reduce(x, list(axes) if axes else None, keepdims=bool(keep))

        return convert

    def _extreme_and_place(self, reduce: Callable[..., Expr], find: Callable[..., Expr]) -> Convert:
        def convert(node: Node) -> tuple[Expr, Expr]:
            x, axis, keep = self.arguments(node, False)
            return self.emit(reduce(x, axis, keepdims=bool(keep))), self.emit(find(x, axis, bool(keep)))

        return convert

    def _stacked(self, node: Node) -> Expr:
        """Parts with an axis of one more, joined along it."""
        parts, axis = self.arguments(node, 0)
        return relax.op.concat([self.emit(relax.op.expand_dims(part, axis)) for part in parts], axis)


def _constant(tensor: torch.Tensor) -> Expr:
    return relax.const(np.array(tensor.numpy(), order="C"))


def _hard_sigmoid(x: Expr) -> Expr:
    """clip(x / 6 + 1/2, 0, 1); TVM divides, for which there is no operation."""
    sixth, half = relax.const(1 / 6, x.ty.dtype), relax.const(0.5, x.ty.dtype)
    return relax.op.clip(relax.op.add(relax.op.multiply(x, sixth), half), 0, 1)
