"""What the layers of a compiled plan do: multiply-accumulates as carried out, bytes as they lie packed."""

from __future__ import annotations

import importlib.resources

from benchmarks.bench.roofline import Work
from lepton_compilers.backends.cpu.plans.plan import Call, Plan, Space
from lepton_compilers.backends.cpu.plans.signatures import Arguments, parameters


def works(plan: Plan) -> list[Work]:
    """The work of each layer; every byte that its calls touch counts once."""
    found = []
    for layer in plan.layers:
        calls = plan.calls[layer.first : layer.end]
        touched = {place.buffer: plan.buffers[place.buffer] for call in calls for place in call.places}
        weights = sum(b.nbytes for b in touched.values() if b.space in (Space.WEIGHTS, Space.VARIABLES))
        maps = sum(b.nbytes for b in touched.values()) - weights
        share = min((products_done(call) for call in calls), default=1.0)
        found.append(Work(layer.dtype, layer.macs * share, weights, maps))
    return found


def products_done(call: Call) -> float:
    """The products that a kernel carries out for each that its layer means: fewer by Winograd's method."""
    if "winograd" not in call.kernel:
        return 1.0
    given = Arguments(call, _parameters(call.kernel))
    oh, ow, m = given["oh"], given["ow"], given["m"]
    return -(-oh // m) * -(-ow // m) * (m + 2) ** 2 / (oh * ow * 9)


def _parameters(kernel: str) -> tuple[str, ...]:
    folder = importlib.resources.files("lepton_compilers.kernels")
    headers = sorted(file.name for file in folder.iterdir() if file.name.endswith(".h"))
    return next(found[kernel] for name in headers if kernel in (found := parameters(name)))
