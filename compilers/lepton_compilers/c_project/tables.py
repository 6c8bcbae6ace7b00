"""What a model says about itself, as C: the constants behind a `lepton_model`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lepton_compilers.backends.cpu import CSources
from lepton_compilers.c_project.identity import ModelIdentity
from lepton_compilers.golden import Vector, tolerances
from lepton_sdk.layer_times import step_title
from lepton_sdk.program import Program, Tensor
from lepton_targets import Cpu

TYPES = {
    "bool": "LEPTON_BOOL",
    "int8": "LEPTON_INT8",
    "uint8": "LEPTON_UINT8",
    "int16": "LEPTON_INT16",
    "int32": "LEPTON_INT32",
    "float32": "LEPTON_FLOAT32",
    "int64": "LEPTON_INT64",
}
_BYTES_A_LINE = 24


def header(program: Program, sources: CSources, name: str) -> str:
    """NAME.h: the model's symbol, and sizes and shapes of every input and output as macros and comments."""
    lines = [f"/* The model '{name}'. */", f"#ifndef {name.upper()}_H", f"#define {name.upper()}_H"]
    lines += ['#include "lepton_runtime.h"', "", "#ifdef __cplusplus", 'extern "C" {', "#endif", ""]
    for function in program.functions.values():
        for role, tensors in (("input", function.inputs), ("output", function.outputs)):
            for index, tensor in enumerate(program.tensors[t] for t in tensors):
                macro = f"{name}_{function.name}_{role}{index}_BYTES".upper()
                lines += [f"/* {function.name}, {role} {_described(tensor)} */"]
                lines += [f"#define {macro} {tensor.nbytes}"]
    lines += ["", f"extern const lepton_model {name};", ""]
    lines += ["/* The generated functions, in the interface of lepton_code. */"]
    lines += [_prototype(entry.symbol) + ";" for entry in sources.functions.values()]
    lines += _timed(sources)
    return "\n".join([*lines, "", "#ifdef __cplusplus", "}", "#endif", "#endif", ""])


def tables(
    program: Program,
    cpu: Cpu,
    sources: CSources,
    vectors: Sequence[Vector],
    identity: ModelIdentity,
    weights_as_array: bool,
) -> str:
    """NAME_tables.c: everything behind the model's symbol but code and weights."""
    name, variables = identity.name, sources.variables
    parts = [f'#include "{name}.h"\n']
    if sources.weights and weights_as_array:
        parts.append(f"extern const uint8_t {name}_weights[];\n")
    entries = []
    for function in program.functions.values():
        if function.name not in sources.functions:
            continue
        entry = sources.functions[function.name]
        allowed = tolerances(program, function.name, tuple(vectors))
        names = []
        for role, tensors in (("inputs", function.inputs), ("outputs", function.outputs)):
            table = f"{function.name}_{role}"
            limits = allowed if role == "outputs" else {}
            parts.append(_tensor_table(table, [program.tensors[t] for t in tensors], limits))
            names += [str(len(tensors)), table if tensors else "0"]
        fields = f'"{function.name}", {entry.symbol}, {entry.arena_bytes}, {", ".join(names)}'
        entries.append(f"    {{{fields}}},\n")
    parts.append(f"static const lepton_function functions[] = {{\n{''.join(entries)}}};\n")
    block = "0, 0, 0, 0, 0"
    if variables is not None:
        held = [program.tensors[variable.tensor] for variable in program.variables]
        parts.append(_tensor_table("variables", held, {}))
        offsets = ", ".join(str(variables.offsets[t.name]) for t in held)
        parts.append(f"static const size_t variable_offsets[] = {{{offsets}}};\n")
        parts.append(_bytes("first_values", variables.initial))
        block = f"first_values, {len(variables.initial)}, {len(held)}, variables, variable_offsets"
    parts.append(_step_titles(program, sources))
    parts += [_labels(identity.labels), _goldens(program, list(sources.functions), vectors)]
    labels = f"{len(identity.labels)}, {'labels' if identity.labels else '0'}"
    goldens = f"{len(vectors)}, {'goldens' if vectors else '0'}"
    blob = f"{name}_weights" if sources.weights and weights_as_array else "0"
    parts.append(
        f"const lepton_model {name} = {{\n"
        f'    LEPTON_ABI, "{name}", "{cpu.name}", {len(entries)}, functions,\n'
        f"    {blob}, {len(sources.weights)},\n"
        f"    {block},\n    {labels}, {goldens}}};\n"
    )
    return "\n".join(part for part in parts if part)


def data_array(symbol: str, content: bytes) -> str:
    """A C file that defines `symbol` as these bytes, 64-byte aligned."""
    return f"#include <stdint.h>\n\nextern const uint8_t {symbol}[];\n" + _bytes(symbol, content, "const")


def _prototype(symbol: str) -> str:
    return (
        f"int {symbol}(void *arena, const void *weights, void *variables, const void *const *inputs,\n"
        "    void *const *outputs, const lepton_parallel *parallel)"
    )


def _timed(sources: CSources) -> list[str]:
    """Declarations of the timed functions and what their steps are, for programs that define LEPTON_TIMED."""
    lines = ["", "#ifdef LEPTON_TIMED", '#include "lepton_stamps.h"']
    lines += ["/* A function's six arguments and a lepton_stamps, by one pointer to the seven addresses. */"]
    for name, entry in sources.functions.items():
        macro = f"{entry.symbol}_STEPS".upper()
        lines += [f"int {entry.symbol}_timed(void *const *arguments);"]
        lines += [f"#define {macro} {len(sources.steps[name])}"]
        lines += [f"extern const char *const {entry.symbol}_steps[];"]
    return [*lines, "#endif"]


def _step_titles(program: Program, sources: CSources) -> str:
    parts = []
    for name, entry in sources.functions.items():
        titles = [_string(step_title(step, program, name)) for step in sources.steps[name]] or ["0"]
        listed = ",\n    ".join(titles)
        parts.append(f"const char *const {entry.symbol}_steps[] = {{\n    {listed}}};\n")
    return f"#ifdef LEPTON_TIMED\n{''.join(parts)}#endif\n"


def _described(tensor: Tensor) -> str:
    shape, q = "×".join(map(str, tensor.shape)) or "scalar", tensor.quantization
    text = f"'{_in_comment(tensor.name)}': {tensor.dtype} {shape}"
    return text if q is None or len(q.scales) != 1 else f"{text}, {q.scales[0]!r} * (q - {q.zero_point})"


def _tensor_table(table: str, tensors: Sequence[Tensor], allowed: dict[str, float | None]) -> str:
    if not tensors:
        return ""
    lines, rows = [], []
    for index, tensor in enumerate(tensors):
        shape, q = f"{table}_shape{index}", tensor.quantization
        extents = ", ".join(map(str, tensor.shape)) or "1"
        lines.append(f"static const int32_t {shape}[] = {{{extents}}};\n")
        quantised = "0, 0, 0, -1"
        if q is not None:
            scales = f"{table}_scales{index}"
            values = ", ".join(_float(scale) for scale in q.scales)
            lines.append(f"static const float {scales}[] = {{{values}}};\n")
            axis = -1 if q.axis is None else q.axis
            quantised = f"{len(q.scales)}, {scales}, {q.zero_point}, {axis}"
        tolerance = allowed.get(tensor.name)
        limit = _float(-1.0 if tolerance is None else tolerance)
        text = f"{_string(tensor.name)}, {TYPES[tensor.dtype]}, {len(tensor.shape)}, {shape}, {tensor.nbytes}"
        rows.append(f"    {{{text}, {quantised}, {limit}}},\n")
    return f"{''.join(lines)}static const lepton_tensor {table}[] = {{\n{''.join(rows)}}};\n"


def _labels(labels: Sequence[str]) -> str:
    listed = ", ".join(map(_string, labels))
    return f"static const char *const labels[] = {{{listed}}};\n" if labels else ""


def _goldens(program: Program, functions: Sequence[str], vectors: Sequence[Vector]) -> str:
    if not vectors:
        return ""
    parts, rows = [], []
    for number, vector in enumerate(vectors):
        lists = []
        for role, arrays in (("inputs", vector.inputs), ("outputs", vector.outputs)):
            names = [f"golden{number}_{role}{index}" for index in range(len(arrays))]
            parts += [_bytes(n, np.ascontiguousarray(a).tobytes()) for n, a in zip(names, arrays)]
            listed = f"golden{number}_{role}"
            parts.append(f"static const void *const {listed}[] = {{{', '.join(names) or '0'}}};\n")
            lists.append(listed)
        rows.append(f"    {{{functions.index(vector.function)}, {', '.join(lists)}}},\n")
    return f"{''.join(parts)}static const lepton_golden goldens[] = {{\n{''.join(rows)}}};\n"


def _bytes(name: str, content: bytes, linkage: str = "static const") -> str:
    lines = [
        "  " + ",".join(map(str, content[start : start + _BYTES_A_LINE])) + ",\n"
        for start in range(0, len(content), _BYTES_A_LINE)
    ]
    return f"{linkage} uint8_t {name}[] __attribute__((aligned(64))) = {{\n{''.join(lines) or '0'}}};\n"


def _float(value: float) -> str:
    """A float32 literal with every bit."""
    return f"{float(np.float32(value)).hex()}f"


def _string(text: str) -> str:
    """A C string literal of the text's UTF-8."""
    plain = "".join(
        chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in text.encode("utf-8")
    )
    return f'"{plain}"'


def _in_comment(text: str) -> str:
    return text.replace("*/", "* /").replace("\\", "/").replace("\n", " ")
