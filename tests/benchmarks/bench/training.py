"""A training step beside PyTorch's: ours and all of PyTorch's forms take turns in this process."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.bench.inference import OURS, ratios
from benchmarks.bench.pytorch_steps import steps
from benchmarks.bench.trained_networks import TRAINED
from lepton_compilers import compile
from lepton_compilers.backends.cpu.machine.peak import peak_call
from lepton_sdk import Session
from lepton_sdk.benchmark import measure
from lepton_targets.errors import LeptonError


def measured(network: str, batch: int, threads: int, seconds: float) -> dict[str, Any]:
    """Times of a step by form, our ratio to PyTorch's fastest, the share of a core's peak.

    `refused`: why the network can't be trained by our compiler, where it can't; nothing is measured then.
    """
    warnings.filterwarnings("ignore")
    chosen = TRAINED[network]
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    module = chosen.make()
    example = torch.randn(1, *chosen.shape)
    try:
        exported = torch.export.export(module.eval(), (example,))
        session = Session(compile(exported, "host", trainable="all", batch=batch), threads=threads)
    except LeptonError as error:
        return {"refused": str(error).splitlines()[0], "latency_us": {}}
    assert session.bundle is not None
    random = np.random.default_rng(0)
    features = random.standard_normal((batch, *chosen.shape)).astype(np.float32)
    labels = random.integers(0, chosen.classes, batch)
    rates = (np.full(1, 1e-3, np.float32), np.full(1, 0.9, np.float32))
    arrays = (features, labels.astype(np.int32), *rates)
    inputs = {spec.name: array for spec, array in zip(session.interface("train").inputs, arrays)}
    calls: dict[str, Callable[[], object]] = {OURS: session.bind(inputs, function="train")}
    theirs, left_out = steps(module.train(), torch.from_numpy(features), torch.from_numpy(labels))
    for form, reason in left_out.items():
        print(f"PyTorch {form} left out: {reason}", file=sys.stderr)
    peak = peak_call(session.target, "float32") if threads == 1 else None
    taken = measure([*calls.values(), *theirs.values(), *([peak[0]] if peak else [])], seconds)
    times = {name: latency.to_json() for name, latency in zip((*calls, *theirs), taken)}
    macs = session.bundle.program().macs("train")
    row: dict[str, Any] = {
        "refused": None,
        "target": session.target,
        "macs": macs,
        "threads_used": session.threads,
        "latency_us": times,
        "left_out": left_out,
        "versions": {"torch": torch.__version__},
        "peak_fraction": None,
        **ratios(times, list(theirs)),
    }
    if peak is not None:
        row["peak_fraction"] = (macs / times[OURS]["min"]) / (peak[1] / taken[-1].min)
    return row
