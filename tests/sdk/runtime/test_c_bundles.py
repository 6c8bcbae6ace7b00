"""The C runtime opens what the Python session opens: same choice, same bytes, as little trust in a file."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from lepton_sdk import Bundle, Session, runtime
from lepton_sdk.bundle import thin
from lepton_targets import CPUS, host
from support import bundles

FOLDER = Path(runtime.__file__).parent
OK, WRONG_MODEL, CANNOT_READ, ALTERED, NOT_HERE = 0, 5, 8, 9, 10


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver, with sanitizers: a hostile file must not reach what it does not own."""
    if shutil.which("gcc") is None:
        if os.environ.get("CI"):
            pytest.fail("gcc is not installed")
        pytest.skip("gcc is not installed")
    program = tmp_path_factory.mktemp("driver") / "driver"
    units = [FOLDER / f"lepton_{name}.c" for name in ("bundle", "runtime", "threads")]
    source = Path(__file__).parents[2] / "support" / "bundle_driver.c"
    flags = "-std=c99 -O1 -g1 -Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize-recover=all"
    command = ["gcc", *flags.split(), f"-I{FOLDER}", *map(str, units), str(source), "-pthread", "-ldl"]
    done = subprocess.run([*command, "-o", str(program)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


def statuses(driver: Path, *paths: Path) -> list[int]:
    done = subprocess.run([str(driver), *map(str, paths)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:3000]
    return [int(line) for line in done.stdout.split()]


def test_gives_the_sessions_bytes(driver: Path, tmp_path: Path) -> None:
    path = bundles.write(tmp_path / "tiny.lep")
    x = np.arange(-60, -50, dtype=np.int8).reshape(bundles.SHAPE)
    (tmp_path / "x").write_bytes(x.tobytes())
    command = [str(driver), "-r", str(path), str(tmp_path / "x"), str(tmp_path / "y"), "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == f"tiny|{host().name}|1|2|2|x|2|0.5|-3"
    assert (tmp_path / "y").read_bytes() == Session(path).run(x)["y"].tobytes()


def test_a_compiled_bundle_runs_on_threads(driver: Path, tmp_path: Path) -> None:
    from lepton_compilers.compilation import compile

    kws = Path(__file__).parents[2] / "data" / "kws_ref_model.tflite"
    path = tmp_path / "kws.lep"
    session = Session(compile(kws, ("x86-64", "host"), output=path))
    x = np.random.default_rng(0).integers(-128, 128, session.inputs[0].shape).astype(np.int8)
    (tmp_path / "x").write_bytes(x.tobytes())
    expected = session.run(x)[session.outputs[0].name].tobytes()
    for threads in ("1", "3"):
        command = [str(driver), "-r", str(path), str(tmp_path / "x"), str(tmp_path / "y"), threads]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.split("|")[:3] == ["kws_ref_model", session.target, "4"]
        assert (tmp_path / "y").read_bytes() == expected


def test_thin_bundles_and_foreign_ones(driver: Path, tmp_path: Path) -> None:
    other = "riscv64" if host().machine != "riscv64" else "x86-64"
    full = bundles.write(tmp_path / "full.lep", targets=(host().name, other))
    own, foreign = tmp_path / "own.lep", tmp_path / "foreign.lep"
    own.write_bytes(thin(Bundle.open(full), host().name))
    foreign.write_bytes(thin(Bundle.open(full), other))
    assert statuses(driver, full, own, foreign) == [OK, OK, NOT_HERE]


def test_damaged_files_are_refused(driver: Path, tmp_path: Path) -> None:
    whole = bundles.write(tmp_path / "tiny.lep").read_bytes()
    random, paths = np.random.default_rng(0), []
    for number in range(300):
        content = bytearray(whole)
        if number % 3 == 0:
            del content[int(random.integers(len(content))) :]
        elif number % 3 == 1:
            content[int(random.integers(len(content)))] ^= 1 << int(random.integers(8))
        else:
            start = int(random.integers(len(content)))
            content[start : start + 40] = random.bytes(int(random.integers(1, 80)))
        if bytes(content) != whole:
            path = tmp_path / f"{number}.lep"
            path.write_bytes(content)
            paths.append(path)
    found = statuses(driver, tmp_path / "missing.lep", *paths)
    # What lies between segments and in the signatures carries no meaning; only there a change may pass.
    assert set(found) <= {OK, WRONG_MODEL, CANNOT_READ, ALTERED}
    assert found.count(OK) < len(found) // 20
    assert ALTERED in found


def test_hostile_manifests_with_right_hashes_are_refused(driver: Path, tmp_path: Path) -> None:
    """Numbers that lie, under hashes that do not."""
    content = bundles.write(tmp_path / "tiny.lep").read_bytes()
    bundle = Bundle.open(tmp_path / "tiny.lep")
    text, paths = bundle.manifest_bytes, []
    numbers = [match.span() for match in re.finditer(rb"(?<=[:\[,])\d+", text)]
    for number, (start, end) in enumerate(numbers):
        for digit in (b"9", b"0", b"7"):
            manifest = text[:start] + digit * (end - start) + text[end:]
            old, new = bundle.digest.encode(), hashlib.sha256(manifest).hexdigest().encode()
            path = tmp_path / f"{number}-{digit.decode()}.lep"
            path.write_bytes(content.replace(text, manifest).replace(old, new))
            paths.append(path)
    assert len(paths) > 100
    assert set(statuses(driver, *paths)) <= {OK, WRONG_MODEL, CANNOT_READ, ALTERED}


def test_the_targets_are_those_of_the_table() -> None:
    text = runtime.source("lepton_targets.h")
    rows = re.findall(r'\{"([^"]+)", "([^"]+)",\s*((?:"[^"]*"\s*)+)\}', text)
    found = [(name, machine, "".join(re.findall(r'"([^"]*)"', features))) for name, machine, features in rows]
    assert found == [(cpu.name, cpu.machine, " ".join(cpu.features)) for cpu in CPUS]
