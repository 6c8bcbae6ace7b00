"""A bundle small enough to read: an int8 table and an SGD step, as a Program and as C of the same meaning."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lepton_sdk import bundle as b
from lepton_sdk.program import Function, Program, Quantization, Tensor, Variable, serialize
from lepton_sdk.program.operations import Table
from lepton_sdk.program.tensors import constant
from lepton_sdk.program.training import SgdMomentum
from lepton_targets import host

SHAPE = (1, 10)
TABLE = np.arange(-128, 128).astype(np.int8)[::-1].copy()
WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)

SOURCE = r"""
typedef signed char i8;
int lepton_infer(void *arena, const void *weights, void *variables, const void *const *inputs,
                 void *const *outputs, const void *parallel) {
    const i8 *x = inputs[0], *table = weights;
    i8 *y = outputs[0];
    if ((unsigned long)arena % 64 || (unsigned long)weights % 64 || parallel) return 7;
    for (int i = 0; i < 10; i++) y[i] = table[x[i] + 128];
    return 0;
}
int lepton_train(void *arena, const void *weights, void *variables, const void *const *inputs,
                 void *const *outputs, const void *parallel) {
    const float *g = inputs[0], *rate = inputs[1], *momentum = inputs[2];
    float *w = variables, *v = (float *)((char *)variables + 64);
    for (int i = 0; i < 6; i++) { v[i] = momentum[0] * v[i] + g[i]; w[i] -= rate[0] * v[i]; }
    return 0;
}
int lepton_fails(void *a, const void *w, void *v, const void *const *i, void *const *o, const void *p) {
    return 3;
}
int lepton_nothing(void *a, const void *w, void *v, const void *const *i, void *const *o, const void *p) {
    return 0;
}
"""


@functools.cache
def machine_code(source: str = SOURCE) -> bytes:
    """A freestanding shared object for this machine."""
    flags = "-O2 -ffreestanding -fno-sanitize=all -fno-stack-protector -ffp-contract=off -nostdlib"
    compiler = [sys.executable, "-m", "ziglang", "cc", "-target", host().zig, *flags.split()]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "code.c").write_text(source)
        command = [*compiler, "-shared", "-fPIC", "-s", "-o", "code.so", "code.c"]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
        return Path(folder, "code.so").read_bytes()


def program() -> Program:
    """`infer`: y = TABLE[x]. `train`: one SGD step of `w` by the given gradient."""
    q = Quantization((0.5,), -3)
    tensors = [
        Tensor("x", SHAPE, "int8", q),
        constant("table", TABLE),
        Tensor("y", SHAPE, "int8", q),
        constant("w", WEIGHT),
        constant("w.velocity", np.zeros((2, 3), np.float32)),
        Tensor("gradient", (2, 3), "float32"),
        Tensor("learning_rate", (), "float32"),
        Tensor("momentum", (), "float32"),
    ]
    step = SgdMomentum("w", "w.velocity", "gradient", "learning_rate", "momentum")
    return Program(
        {
            "infer": Function("infer", ("x",), ("y",), (Table("x", "table", "y"),)),
            "train": Function("train", ("gradient", "learning_rate", "momentum"), (), (step,)),
        },
        {tensor.name: tensor for tensor in tensors},
        (Variable("w", True, "layer.weight", (1, 0)), Variable("w.velocity")),
    )


def manifest(targets: tuple[str, ...] = ()) -> b.Manifest:
    """The manifest of `program` with code for these targets (this machine's where none is named)."""
    q = b.Quantization((0.5,), -3)
    x, y = b.TensorSpec("x", SHAPE, "int8", q), b.TensorSpec("y", SHAPE, "int8", q)
    gradient = b.TensorSpec("gradient", (2, 3), "float32")
    scalars = (b.TensorSpec("learning_rate", (), "float32"), b.TensorSpec("momentum", (), "float32"))
    entries = {"infer": b.EntryPoint("lepton_infer", 256), "train": b.EntryPoint("lepton_train", 0)}
    block = b.VariableBlock("variables", 128, {"w": 0, "w.velocity": 64})
    return b.Manifest(
        name="tiny",
        kind="mixed",
        model=b.ModelSource("onnx", "ab" * 32),
        provenance=b.Provenance("lepton-edge 0.1.0", "0.0", {"quantize": "int8"}),
        functions={
            "infer": b.FunctionInterface((x,), (y,)),
            "train": b.FunctionInterface((gradient, *scalars), ()),
        },
        artifacts=tuple(
            b.Artifact(target, f"code.{target}", "weights", entries, block)
            for target in targets or (host().name,)
        ),
        golden=(b.GoldenRecord("infer", "golden", {"x": (0, 10)}, {"y": (64, 10)}),),
        variables=(
            b.VariableSpec("w", (2, 3), "float32", True, "layer.weight", (1, 0)),
            b.VariableSpec("w.velocity", (2, 3), "float32", False),
        ),
        labels=("no", "yes"),
    )


def segments(targets: tuple[str, ...] = ()) -> dict[str, bytes]:
    """The bytes that `manifest` names. Code of other machines is this machine's, with the name behind."""
    x = np.arange(-5, 5, dtype=np.int8).reshape(SHAPE)
    golden = x.tobytes().ljust(64, b"\0") + TABLE[x.astype(int) + 128].tobytes()
    variables = WEIGHT.tobytes().ljust(64, b"\0") + bytes(64)
    code = machine_code()
    named = targets or (host().name,)
    return {
        "program": serialize.dump(program()),
        "weights": TABLE.tobytes(),
        "golden": golden,
        "variables": variables,
        **{f"code.{t}": code if t == host().name else code + t.encode() for t in named},
    }


def write(
    path: Path,
    *,
    targets: tuple[str, ...] = (),
    key: Path | None = None,
    manifest_changes: Mapping[str, object] | None = None,
    segment_changes: Mapping[str, bytes] | None = None,
) -> Path:
    """The tiny bundle at `path`, with fields of its manifest or segments replaced."""
    changed = manifest(targets).replace(**(manifest_changes or {}))
    return b.write_bundle(path, changed, {**segments(targets), **(segment_changes or {})}, key)
