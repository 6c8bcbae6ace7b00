"""PyTorch's operators → Relax: TVM's converters, rules before them, and what holds for every layer.

What depends on constants alone is computed by PyTorch itself, now. Results are bound under their layer's
name, several apart and not as one tuple, and every result's shape is held against PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import tvm
from tvm import relax
from tvm.relax.frontend.torch.exported_program_translator import ExportedProgramImporter

from lepton_compilers.importers.torch.operators import RECURRENT, spelt
from lepton_compilers.passes.graph import Expr, is_var, known_shape
from lepton_compilers.passes.rewrite import bind
from lepton_targets.errors import UnsupportedOperatorError

Node = Any
Convert = Callable[[Node], Any]

LARGEST_FOLDED = 2**24
OF_SHAPES = ("full_like.default",)
"""Operators that read nothing of their input but its shape."""


class TorchLayers(ExportedProgramImporter):  # type: ignore[misc]
    """TVM's importer, with `rules` where it takes less or means something else, by the operator's name.

    names: the layer of each node, which its result is bound under. constants: what placeholders stand for,
    where that is known; `values` has what follows from them too. `current` is the layer being converted.
    """

    def __init__(
        self,
        names: Mapping[Node, str],
        constants: Mapping[Node, torch.Tensor],
        rules: Mapping[str, Rule],
    ) -> None:
        self._layer, self.values, self.current, self._rules = names, dict(constants), "", rules
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
        ours = {name: partial(rule, self) for name, rule in self._rules.items()}
        converters = super().create_convert_map() | ours
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
        if random in getattr(node.target, "tags", ()) and name not in RECURRENT:
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


def _constant(tensor: torch.Tensor) -> Expr:
    return relax.const(np.array(tensor.numpy(), order="C"))


Rule = Callable[[TorchLayers, Node], Any]
"""(layers, node) to the node's result, or several."""
