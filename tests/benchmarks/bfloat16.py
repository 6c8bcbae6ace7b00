"""What `--precision bf16` gains and costs, beside float32 of our own, on this machine and one thread.

    python tests/benchmarks/bfloat16.py [NETWORK…]

Times of both bundles in turns, least of batches; then how far results are apart on random inputs, and the
accuracy on the labelled samples of KWS. Prints Markdown; without AVX512-BF16 it says so and stops.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import networks
import numpy as np

from lepton_compilers.backends.cpu.machine.peak import peak_call
from lepton_compilers.compilation import compile
from lepton_sdk import Session
from lepton_sdk.benchmark import measure
from lepton_sdk.evaluate import run_examples
from lepton_targets import get_target
from lepton_targets.host import runs_here

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.evaluation_data import FLOAT_NETWORKS, KWS_FLOAT, KWS_SCALE, KWS_ZERO_POINT, data_root

TARGET = "x86-64-avx512bf16"
LARGE = ("ResNet-50", "MobileNetV2")
PRECISIONS = ("float32", "bf16")
SECONDS = 6.0
EXAMPLES = 64


def models(folder: Path, wanted: list[str]) -> Iterator[tuple[str, Path]]:
    """Networks by name, the generated ones written to `folder`."""
    for name, stem in (*FLOAT_NETWORKS.items(), ("kws", KWS_FLOAT)):
        path = data_root() / "mlperf_tiny" / f"{stem}.tflite"
        if path.is_file() and (not wanted or name in wanted):
            yield name, path
    yield from networks.write_networks(folder, [n for n in LARGE if not wanted or n in wanted]).items()


def apart(sessions: dict[str, Session]) -> float:
    """Root mean square of the difference of first outputs over that of float32's, on noise."""
    (spec,) = sessions["float32"].inputs
    random = np.random.default_rng(0)
    count = EXAMPLES if np.prod(spec.shape) < 100_000 else 8
    x = random.normal(size=(count, *spec.shape[1:])).astype(np.float32)
    found = [next(iter(run_examples(sessions[p], {spec.name: x}).values())) for p in PRECISIONS]
    exact, rounded = (y.astype(np.float64) for y in found)
    return float(np.sqrt(np.mean((rounded - exact) ** 2) / np.mean(exact**2)))


def kws_accuracy(session: Session) -> tuple[float, np.ndarray]:
    """Share of the labelled samples that are right, and the predictions."""
    arrays = np.load(data_root() / "kws01" / "kws01.npz")
    (spec,) = session.inputs
    features = (arrays["features"].astype(np.float32) - KWS_ZERO_POINT) * np.float32(KWS_SCALE)
    outputs = run_examples(session, {spec.name: features.reshape(-1, *spec.shape[1:])})
    predicted = next(iter(outputs.values())).argmax(axis=-1)
    return float((predicted == arrays["labels"]).mean()), predicted


def main() -> None:
    """Print the table."""
    if not runs_here(get_target(TARGET)):
        print(f"this machine does not execute {TARGET}")
        return
    peak = peak_call(TARGET, "bf16")
    assert peak is not None
    print("| network | float32 µs | bf16 µs | times as fast | of the bf16 peak | apart | self-test allows |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, path in models(Path(folder), sys.argv[1:]):
            bundles = {p: compile(path, TARGET, precision=p) for p in PRECISIONS}
            sessions = {p: Session(bundle) for p, bundle in bundles.items()}
            for session in sessions.values():
                session.self_test()
            calls = [s.bind(s.example_inputs()) for s in sessions.values()]
            whole, half, loop = measure([*calls, peak[0]], SECONDS)
            share = (bundles["bf16"].program().macs() / half.min) / (peak[1] / loop.min)
            allowed = sessions["bf16"].outputs[0].tolerance
            print(
                f"| {name} | {whole.min:.1f} | {half.min:.1f} | {whole.min / half.min:.2f} | {share:.0%} "
                f"| {apart(sessions):.1e} | {allowed:.1e} |",
                flush=True,
            )
            if name == "kws":
                (a, all_a), (b, all_b) = (kws_accuracy(sessions[p]) for p in PRECISIONS)
                same = float((all_a == all_b).mean())
                print(f"\nKWS: {a:.1%} right in float32, {b:.1%} in bf16, the same class in {same:.1%}\n")


if __name__ == "__main__":
    main()
