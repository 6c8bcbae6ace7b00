"""The walk over an ONNX graph that makes Relax calls of it, a node at a time, in the graph's order.

Shapes are known all along, so what only they and constants decide is computed on the way (fold.py).
A node is then converted by its rule (rules/), else expanded by the body that ONNX defines it by. What
nothing can convert is noted, and the walk goes on, so that all of it is told at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import tvm
from onnx import helper, numpy_helper
from tvm import relax

from lepton_compilers.importers.onnx.control import laid_out
from lepton_compilers.importers.onnx.fold import folded, onnx_dtype, result_types
from lepton_compilers.importers.onnx.rules import CONVERTERS, DOMAINS
from lepton_compilers.importers.onnx.scope import reason_against
from lepton_compilers.importers.onnx.values import (
    HALVES,
    Array,
    Node,
    Scope,
    Value,
    attribute_values,
    carrier,
    constant,
    known_value,
)
from lepton_compilers.passes.graph import dtype, is_constant, known_shape, shape
from lepton_compilers.passes.own_operators import own_call
from lepton_compilers.peak import checked_size
from lepton_sdk.program.tensors import DTYPES
from lepton_targets.errors import BadInputError, UnsupportedOperatorError

DEEPEST = 12
"""Bodies within bodies."""
MOST_NODES = 50_000
"""Nodes visited in all, repetitions of loops included."""


class Walk:
    """One import. `current` is the node being converted; `unsupported` what nothing converts, in order."""

    def __init__(self, builder: Any, model: Any, opset: int) -> None:
        self.builder = builder
        self.opset = opset
        self.current = ""
        self.unsupported: list[str] = []
        self.visited = 0
        self._functions = {(f.domain, f.name): f for f in model.functions}

    def nodes(self, nodes: Iterable[Any], scope: Scope, opset: int, prefix: str = "", depth: int = 0) -> None:
        """Convert nodes in order; their results join the scope."""
        if depth > DEEPEST:
            raise BadInputError(f"layer '{self.current}' nests more than {DEEPEST} bodies")
        for node in nodes:
            self.visited += 1
            if self.visited > MOST_NODES:
                raise BadInputError(
                    f"the ONNX model runs more than {MOST_NODES} nodes once its loops are laid out"
                )
            name = prefix + (node.name or next((n for n in node.output if n), node.op_type))
            if not prefix or depth == 0:
                self.current = name
            self._node(node, name, scope, opset, depth)

    def _node(self, node: Any, name: str, scope: Scope, opset: int, depth: int) -> None:
        inputs = []
        for wanted in node.input:
            if wanted and wanted not in scope:
                raise BadInputError(f"layer '{name}' reads '{wanted}', which nothing before it makes")
            if wanted and scope[wanted] is None:
                scope.update({output: None for output in node.output if output})
                return
            inputs.append(scope[wanted] if wanted else None)
        try:
            results = self._results(node, name, inputs, scope, opset, depth)
        except UnsupportedOperatorError as error:
            self._note(str(error))
            results = None
        if results is None:
            scope.update({output: None for output in node.output if output})
            return
        for output, result in zip(node.output, results):
            if output:
                scope[output] = result
        missing = [output for output in node.output[len(results) :] if output]
        if missing:
            raise BadInputError(f"layer '{name}' ({node.op_type}) does not give its result '{missing[0]}'")

    def _note(self, line: str) -> None:
        if line not in self.unsupported:
            self.unsupported.append(line)

    def _results(
        self, node: Any, name: str, inputs: list[Value | None], scope: Scope, opset: int, depth: int
    ) -> Sequence[Value | None] | None:
        kind, domain = node.op_type, "" if node.domain == "ai.onnx" else node.domain
        held = self._decided(node, inputs, scope, opset, depth)
        if held is not None:
            return held
        function = self._functions.get((domain, kind))
        if function is not None:
            versions = {o.domain: o.version for o in function.opset_import}
            return self._body(function, node, name, inputs, versions.get("", opset), depth)
        read = Node(
            name,
            kind,
            opset,
            tuple(inputs),
            attribute_values(node),
            tuple(bool(o) for o in node.output),
            self.builder,
        )
        rule = (CONVERTERS if domain == "" else DOMAINS.get(domain, {})).get(kind)
        if rule is not None:
            answer = rule(read)
            if answer is not NotImplemented:
                return self._values(node, read, answer)
        against = reason_against(domain, kind)
        if against is not None:
            self._note(f"layer '{name}' ({kind}): {against}")
            return None
        body = _schema_body(node, inputs, domain, opset)
        if body is not None:
            return self._body(body, node, name, inputs, opset, depth)
        self._note(f"layer '{name}' ({domain + '.' if domain else ''}{kind})")
        return None

    def _decided(
        self, node: Any, inputs: list[Value | None], scope: Scope, opset: int, depth: int
    ) -> Sequence[Value | None] | None:
        """Results that constants and shapes decide; None where the input's values count."""
        if node.op_type == "Constant":
            return [known_value(_constant(node))]
        if node.op_type in ("Shape", "Size") and inputs and inputs[0] is not None:
            extents = inputs[0].shape
            if node.op_type == "Size":
                return [known_value(np.array(int(np.prod(extents, dtype=np.int64)), np.int64))]
            held = attribute_values(node)
            cut = extents[held.get("start", 0) : held.get("end")]
            return [known_value(np.array(cut, np.int64))]
        if node.op_type in ("If", "Loop", "Scan"):
            return laid_out(
                node,
                inputs,
                opset,
                self.builder,
                lambda graph, given, prefix: self._graph(graph, given, scope, opset, prefix, depth + 1),
            )
        if any(v is not None and v.array is None for v in inputs):
            return None
        arrays = folded(node, inputs, opset)
        return None if arrays is None else [known_value(a) for a in arrays]

    def _graph(
        self, graph: Any, given: Scope, scope: Scope, opset: int, prefix: str, depth: int
    ) -> list[Value | None]:
        """The results of a graph inside a node. given: its inputs; scope: what it sees around it."""
        inner = dict(scope)
        inner.update({i.name: known_value(numpy_helper.to_array(i)) for i in graph.initializer})
        inner.update(given)
        self.nodes(graph.node, inner, opset, prefix, depth)
        missing = [o.name for o in graph.output if o.name not in inner]
        if missing:
            raise BadInputError(f"the body of layer '{prefix[:-1]}' does not make its output '{missing[0]}'")
        return [inner[o.name] for o in graph.output]

    def _body(
        self, function: Any, node: Any, name: str, inputs: list[Value | None], opset: int, depth: int
    ) -> list[Value | None]:
        """The results of a function's body, its attributes those of the node that calls it."""
        given = {a.name: a for a in node.attribute}
        for default in function.attribute_proto:
            given.setdefault(default.name, default)
        inner: Scope = {"": None}
        for place, wanted in enumerate(function.input):
            held = inputs[place] if place < len(inputs) else None
            inner[wanted] = held if held is not None else _ABSENT
        nodes = [_with_attributes(n, given, inner) for n in function.node]
        self.nodes(nodes, inner, opset, f"{name}/", depth + 1)
        return [inner.get(output) for output in function.output]

    def _values(self, node: Any, read: Node, answer: Any) -> list[Value | None]:
        answers = list(answer) if isinstance(answer, tuple) else [answer]
        if len(node.output) > 1 and len(answers) == 1 and isinstance(answers[0], tvm.ir.Call):
            held = self.builder.emit(answers[0])
            several = isinstance(held.ty, relax.TupleType)
            answers = [relax.TupleGetItem(held, i) for i in range(len(held.ty.fields))] if several else [held]
        halves = any(v is not None and v.kind in HALVES for v in read.inputs)
        stated = result_types(node, read.inputs, read.opset) if halves else None
        half = next((v.kind for v in read.inputs if v is not None and v.kind in HALVES), "float32")
        values: list[Value | None] = []
        for place, item in enumerate(answers):
            if item is None or isinstance(item, Value):
                values.append(item)
                continue
            if isinstance(item, np.ndarray | np.generic):
                values.append(known_value(np.asarray(item)))
                continue
            given = any(v is not None and v.expr is not None and v.expr.same_as(item) for v in read.inputs)
            expr = item if given or is_constant(item) else self.builder.emit(item, name_hint=read.name)
            extents = known_shape(expr)
            if extents is None or not isinstance(expr.ty, relax.TensorType):
                raise read.refused("gives a result whose shape depends on its input's values")
            kind = dtype(expr)
            if kind == "float32" and halves:
                output = node.output[place] if place < len(node.output) else ""
                kind = (stated or {}).get(output, (None, half))[1] or half
                kind = kind if kind in HALVES else "float32"
            if 0 in extents:
                values.append(Value(kind, array=np.zeros(extents, onnx_dtype(kind))))
                continue
            checked_size(f"layer '{read.name}'", extents, dtype(expr))
            values.append(Value(kind, expr=expr))
        return values


_ABSENT = Value("absent")
"""An input that a function's caller leaves out."""


def graph_input(builder: Any, var: Any, kind: str) -> Value:
    """A graph's input: halves are read into float32."""
    if kind == "float16":
        return Value(kind, expr=builder.emit(own_half("from_float16", var, "float32"), name_hint=var.name))
    return Value(kind, expr=var)


def output_expression(
    builder: Any, name: str, value: Value | None, parameters: Sequence[Any], others: Sequence[Any]
) -> Any:
    """An output of the graph, in its source's element type; what is constant, given or twice is copied."""
    if value is None:
        raise BadInputError(f"nothing makes the output '{name}'")
    kind = carrier(value.kind)
    if kind not in DTYPES:
        raise UnsupportedOperatorError(
            f"output '{name}' is {value.kind}, an element type that no target computes"
        )
    if 0 in value.shape:
        raise UnsupportedOperatorError(f"output '{name}' has the shape {value.shape}: there is nothing in it")
    if value.array is not None:
        expr = builder.emit(own_copy(constant(value.array.astype(kind))), name_hint=name)
    elif value.expr is None:
        expr = builder.emit(own_call("centre", [value.centred], [(value.shape, "uint8")]), name_hint=name)
    else:
        expr = value.expr
    if value.kind in HALVES and value.array is None:
        expr = builder.emit(own_half(f"round_{value.kind}", expr, "float32"), name_hint=name)
    if value.kind == "float16":
        return builder.emit(own_half("to_float16", expr, "float16"), name_hint=name)
    if any(expr.same_as(other) for other in (*parameters, *others)):
        expr = builder.emit(own_copy(expr), name_hint=name)
    return expr


def own_copy(x: Any) -> Any:
    """The same numbers in a tensor of their own."""
    return own_call("copy", [x], [(shape(x), dtype(x))])


def own_half(name: str, x: Any, kind: str) -> Any:
    """A conversion from or to the bytes of a half."""
    return own_call(name, [x], [(shape(x), kind)])


def _constant(node: Any) -> Array:
    held = attribute_values(node)
    if "value" in held:
        return np.asarray(numpy_helper.to_array(held["value"]))
    for name, kind in (
        ("value_int", np.int64),
        ("value_float", np.float32),
        ("value_ints", np.int64),
        ("value_floats", np.float32),
        ("value_string", np.object_),
        ("value_strings", np.object_),
    ):
        if name in held:
            return np.array(held[name], kind)
    raise UnsupportedOperatorError(
        f"layer '{node.name}' (Constant) is sparse or empty", "supported: dense values"
    )


def _schema_body(node: Any, inputs: list[Value | None], domain: str, opset: int) -> Any:
    """The function body that ONNX defines the operator by; None where there is none."""
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, domain)
    except onnx.defs.SchemaError:
        return None
    if schema.has_context_dependent_function:
        types = []
        for value in inputs:
            proto = onnx.TypeProto()
            if value is not None:
                proto = helper.make_tensor_type_proto(
                    helper.np_dtype_to_tensor_dtype(onnx_dtype(value.kind)), value.shape
                )
            types.append(proto.SerializeToString())
        versions = [v for v in schema.context_dependent_function_opset_versions if v <= opset]
        if not versions:
            return None
        text = schema.get_context_dependent_function_with_opset_version(
            max(versions), node.SerializeToString(), types
        )
        return _parsed_function(text, schema)
    if schema.has_function:
        versions = [v for v in schema.function_opset_versions if v <= opset]
        if not versions:
            return None
        return _parsed_function(schema.get_function_with_opset_version(max(versions)), schema)
    return None


def _parsed_function(text: bytes, schema: Any) -> Any:
    function = onnx.FunctionProto()
    function.ParseFromString(text)
    stated = {a.name for a in function.attribute_proto}
    for name, attribute in schema.attributes.items():
        if name not in stated and attribute.default_value.name:
            function.attribute_proto.append(attribute.default_value)
    return function


def _with_attributes(node: Any, given: Mapping[str, Any], scope: Scope) -> Any:
    """A body's node with the caller's attributes put in, inputs that the caller left out taken away."""
    fresh = onnx.NodeProto()
    fresh.CopyFrom(node)
    del fresh.attribute[:]
    for attribute in node.attribute:
        if not attribute.ref_attr_name:
            fresh.attribute.append(attribute)
        elif attribute.ref_attr_name in given:
            taken = fresh.attribute.add()
            taken.CopyFrom(given[attribute.ref_attr_name])
            taken.name = attribute.name
    for place, wanted in enumerate(node.input):
        if wanted and scope.get(wanted) is _ABSENT:
            fresh.input[place] = ""
    return fresh
