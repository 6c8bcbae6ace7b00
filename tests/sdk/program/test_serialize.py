"""A program's bytes: deterministic, and harmless whatever they say."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lepton_sdk.program import Clamp, Function, Padding, Program, Quantization, Tensor, Variable, serialize
from lepton_sdk.program.operations import Conv2d, Dense, Reshape
from lepton_sdk.program.reference import run
from lepton_sdk.program.table import rows, show
from lepton_sdk.program.tensors import constant
from lepton_sdk.program.training import SgdMomentum
from lepton_targets.errors import BadInputError, BundleFormatError, LeptonError, NewerFormatError


def small_program():
    random = np.random.default_rng(3)
    q = Quantization((0.5,), 3)
    tensors = (
        Tensor("x", (1, 6, 6, 2), "int8", q),
        Tensor("map", (1, 3, 3, 4), "int8", q),
        Tensor("flat", (1, 36), "int8", q),
        Tensor("y", (1, 5), "int8", q),
        constant("w1", random.integers(-127, 128, (4, 3, 3, 2)).astype(np.int8)),
        constant("m1", np.full(4, 0.01, np.float32)),
        constant("w2", random.integers(-127, 128, (5, 36)).astype(np.int8)),
        constant("m2", np.full(5, 0.01, np.float32)),
        constant("p", np.ones(3, np.float32)),
        constant("v", np.zeros(3, np.float32)),
        Tensor("g", (3,), "float32"),
        Tensor("lr", (1,), "float32"),
        Tensor("mu", (1,), "float32"),
    )
    infer = (
        Conv2d("x", "w1", None, "m1", "map", (2, 2), Padding(0, 1, 0, 1), clamp=Clamp(-128, 127)),
        Reshape("map", "flat"),
        Dense("flat", "w2", None, "m2", "y"),
    )
    return Program(
        {
            "infer": Function("infer", ("x",), ("y",), infer),
            "train": Function("train", ("g", "lr", "mu"), (), (SgdMomentum("p", "v", "g", "lr", "mu"),)),
        },
        {t.name: t for t in tensors},
        (Variable("p", True, "layer.p", (0,)), Variable("v")),
    )


def test_round_trip_keeps_meaning_and_bytes():
    program = small_program()
    content = serialize.dump(program)
    again = serialize.load(content)
    assert serialize.dump(again) == content
    assert again.variables == program.variables
    x = np.arange(72, dtype=np.int8).reshape(1, 6, 6, 2)
    np.testing.assert_array_equal(run(again, [x])[0], run(program, [x])[0])


def test_two_processes_write_the_same_bytes():
    code = (
        "import sys, hashlib; sys.path[:0] = [sys.argv[1]]; "
        "from test_serialize import small_program; from lepton_sdk.program import serialize; "
        "print(hashlib.sha256(serialize.dump(small_program())).hexdigest())"
    )
    folder = __file__.rpartition("/")[0]
    digests = {
        subprocess.run(
            [sys.executable, "-c", code, folder], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert len(digests) == 1


@given(st.data())
def test_altered_bytes_give_a_clear_error_or_a_program(data):
    content = bytearray(serialize.dump(small_program()))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    for candidate in (bytes(content), bytes(content[:cut])):
        try:
            program = serialize.load(candidate)
        except LeptonError:
            continue
        assert isinstance(program, Program)


def test_a_newer_version_is_refused_as_newer():
    content = bytearray(serialize.dump(small_program()))
    content[4] = 9
    with pytest.raises(NewerFormatError, match="version 9; this one reads 1"):
        serialize.load(bytes(content))
    with pytest.raises(BundleFormatError, match="starts with"):
        serialize.load(b"ELF?" + bytes(content[4:]))


def test_a_program_is_checked_when_it_is_made():
    program = small_program()
    infer = program.functions["infer"]
    backwards = Function("infer", infer.inputs, infer.outputs, infer.operations[::-1])
    with pytest.raises(BadInputError, match="reads 'flat' before anything defines it"):
        Program({"infer": backwards}, program.tensors, program.variables)
    wrong = {**program.tensors, "map": Tensor("map", (1, 4, 4, 4), "int8", Quantization((0.5,), 3))}
    with pytest.raises(BadInputError, match=r"step 0 \(Conv2d\): 'map' has shape .* expected \(1, 3, 3, 4\)"):
        Program({"infer": infer}, wrong, program.variables)
    with pytest.raises(BadInputError, match="which is no variable"):
        Program(program.functions, program.tensors, ())
    with pytest.raises(BadInputError, match="no function 'infr'; did you mean infer"):
        program.function("infr")


def test_the_table_names_every_step_and_counts_macs():
    program = small_program()
    assert [row["operation"] for row in rows(program)] == ["Conv2d", "Reshape", "Dense"]
    assert program.macs() == 9 * 4 * 18 + 5 * 36
    text = show(program)
    assert "infer(x: int8 1×6×6×2 (0.5, 3)) → y: int8 1×5 (0.5, 3)" in text
    assert "SgdMomentum" in text
