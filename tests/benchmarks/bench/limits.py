"""What one core of this machine does at most: multiplies by type, bytes from each level, an empty call."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import onnx
from onnx import helper

from lepton_compilers import compile
from lepton_compilers.backends.cpu.machine.memory import memory_levels, read_call
from lepton_compilers.backends.cpu.machine.peak import peak_call
from lepton_sdk import Session
from lepton_sdk.benchmark import measure
from lepton_targets.host import host

TYPES = ("int8", "float32", "bf16")


def measured(seconds: float) -> dict[str, Any]:
    """Rates a microsecond by the least times of loops that took turns for `seconds`, and the least call."""
    levels = memory_levels()
    reads = [read_call(levels, level) for level in levels]
    peaks = {dtype: found for dtype in TYPES if (found := peak_call(host().name, dtype)) is not None}
    session = _empty_network()
    calls = [session.bind(session.example_inputs())]
    taken = measure([*calls, *(one for one, _ in (*peaks.values(), *reads))], seconds)
    call, rates = taken[0], [latency.min for latency in taken[1:]]
    done = [count for _, count in (*peaks.values(), *reads)]
    a_us = [count / least for count, least in zip(done, rates)]
    return {
        "target": host().name,
        "macs_a_us": dict(zip(peaks, a_us)),
        "levels": [
            {"name": level.name, "bytes": level.nbytes, "bytes_a_us": rate}
            for level, rate in zip(levels, a_us[len(peaks) :])
        ],
        "call_us": call.min,
    }


def _empty_network() -> Session:
    """A network of one value and one rectifier: calling it costs what calling any network costs."""
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "empty", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "empty.onnx")
        onnx.save(model, path)
        return Session(compile(path, "host"))
