"""Bundles: what is written is what is read, in every process, and thin ones keep their signature."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lepton_sdk.bundle import Bundle, GoldenRecord, Segment, generate_key, thin, write_bundle
from lepton_sdk.bundle.format import ALIGNMENT
from lepton_sdk.bundle.parsing import parse_manifest
from lepton_targets import host
from lepton_targets.errors import (
    BadInputError,
    BundleFormatError,
    SignatureError,
    UnavailableError,
    UsageError,
)
from support import bundles


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return bundles.write(tmp_path / "tiny.lep")


def test_what_is_written_is_read(path: Path) -> None:
    opened = Bundle.open(path)
    assert opened.manifest.replace(segments=()) == bundles.manifest()
    for name, content in bundles.segments().items():
        assert opened.segment(name) == content
    assert opened.program().macs() == bundles.program().macs()
    assert not opened.thin
    assert opened.signatures == ()


def test_manifest_survives_its_json(path: Path) -> None:
    manifest = Bundle.open(path).manifest
    assert parse_manifest(manifest.to_json()) == manifest


def test_segments_are_aligned_and_hashed_in_order(path: Path) -> None:
    opened = Bundle.open(path)
    offsets = [segment.offset for segment in opened.manifest.segments]
    assert offsets == sorted(offsets)
    assert all(offset % ALIGNMENT == 0 for offset in offsets)
    raw = path.read_bytes()
    for segment in opened.manifest.segments:
        assert raw[segment.offset : segment.offset + segment.bytes] == opened.segment(segment.name)


def test_golden_vectors_are_read_only_arrays(path: Path) -> None:
    (vector,) = Bundle.open(path).golden()
    assert vector.function == "infer"
    np.testing.assert_array_equal(vector.outputs["y"], bundles.TABLE[vector.inputs["x"].astype(int) + 128])
    assert not vector.inputs["x"].flags.writeable


def test_same_contents_give_same_bytes_in_another_process(tmp_path: Path, path: Path) -> None:
    other = tmp_path / "other.lep"
    script = f"from support import bundles; from pathlib import Path; bundles.write(Path({str(other)!r}))"
    tests = Path(bundles.__file__).parents[1]
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tests)
    assert other.read_bytes() == path.read_bytes()


def test_order_of_segments_does_not_matter(tmp_path: Path, path: Path) -> None:
    backwards = dict(reversed(bundles.segments().items()))
    again = write_bundle(tmp_path / "again.lep", bundles.manifest(), backwards)
    assert again.read_bytes() == path.read_bytes()


def test_signature_is_the_only_difference(tmp_path: Path, path: Path) -> None:
    generate_key(tmp_path / "key.pem")
    signed = Bundle.open(bundles.write(tmp_path / "signed.lep", key=tmp_path / "key.pem"))
    assert signed.digest == Bundle.open(path).digest
    assert signed.manifest_bytes == Bundle.open(path).manifest_bytes


def test_thin_bundle_keeps_signature_and_runs_the_rest(tmp_path: Path) -> None:
    public, key_id = generate_key(tmp_path / "key.pem")
    names = ("aarch64", "riscv64", host().name)
    full = Bundle.open(bundles.write(tmp_path / "full.lep", targets=names, key=tmp_path / "key.pem"))
    small = Bundle(memoryview(thin(full, host().name)))
    assert small.thin
    assert small.digest == full.digest
    assert small.nbytes < full.nbytes - 2 * len(bundles.machine_code()) + 256
    assert small.verify_signature([public]) == key_id
    assert [artifact.target for artifact in small.artifacts] == [host().name]
    assert small.manifest.targets == names
    assert small.segment("weights") == full.segment("weights")
    with pytest.raises(UnavailableError, match=r"thin bundle without the segment 'code\.aarch64'"):
        small.segment("code.aarch64")
    with pytest.raises(UnavailableError, match="has nothing for riscv64"):
        thin(small, "riscv64")
    assert thin(small, host().name) == thin(full, host().name)


def test_thin_refuses_a_target_that_is_not_there(path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"has nothing for aarch65"):
        thin(Bundle.open(path), "aarch65")


def test_unknown_segment_lists_near_names(path: Path) -> None:
    with pytest.raises(BundleFormatError, match="did you mean golden"):
        Bundle.open(path).segment("goldn")


def test_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="cannot read the bundle"):
        Bundle.open(tmp_path / "nothing.lep")
    with pytest.raises(BadInputError):
        Bundle.open(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"golden": (GoldenRecord("infer", "golden", {"x": (0, 9)}, {"y": (64, 10)}),)},
            "'x' at 0 with 9 bytes",
        ),
        ({"golden": (GoldenRecord("infer", "golden", {"x": (70, 10)}, {"y": (64, 10)}),)}, "'x' at 70"),
        ({"golden": (GoldenRecord("infer", "golden", {}, {"y": (64, 10)}),)}, "does not match its function"),
        ({"golden": (GoldenRecord("other", "golden", {}, {}),)}, "function 'other'"),
        ({"kind": "int4"}, "kind is 'int4'"),
        ({"functions": {}}, "has no functions"),
        ({"variables": ()}, "places the variables"),
        ({"labels": ("a\x00",)}, "labels"),
        ({"segments": (Segment("a", 0, 1, "0" * 64),)}, "lists segments already"),
    ],
)
def test_writer_refuses_what_no_reader_would_take(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    with pytest.raises(BundleFormatError, match=message):
        bundles.write(tmp_path / "bad.lep", manifest_changes=change)
    assert list(tmp_path.iterdir()) == []


class TestSignature:
    def test_trusted_key_is_named(self, tmp_path: Path) -> None:
        public, key_id = generate_key(tmp_path / "key.pem")
        other, _ = generate_key(tmp_path / "other.pem")
        opened = Bundle.open(bundles.write(tmp_path / "a.lep", key=tmp_path / "key.pem"))
        assert opened.verify_signature([other, public]) == key_id

    def test_key_files_are_private_and_never_overwritten(self, tmp_path: Path) -> None:
        public, key_id = generate_key(tmp_path / "key.pem")
        assert public == tmp_path / "key.pub.pem"
        assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
        assert len(key_id) == 16
        with pytest.raises(UsageError, match="never overwritten"):
            generate_key(tmp_path / "key.pem")

    def test_unsigned_where_trust_is_required(self, tmp_path: Path, path: Path) -> None:
        public, _ = generate_key(tmp_path / "key.pem")
        with pytest.raises(SignatureError, match="is not signed"):
            Bundle.open(path).verify_signature([public])

    def test_signed_by_a_stranger(self, tmp_path: Path) -> None:
        generate_key(tmp_path / "stranger.pem")
        public, _ = generate_key(tmp_path / "key.pem")
        opened = Bundle.open(bundles.write(tmp_path / "a.lep", key=tmp_path / "stranger.pem"))
        with pytest.raises(SignatureError, match="not signed by a trusted key"):
            opened.verify_signature([public])

    def test_nobody_trusted(self, tmp_path: Path) -> None:
        generate_key(tmp_path / "key.pem")
        opened = Bundle.open(bundles.write(tmp_path / "a.lep", key=tmp_path / "key.pem"))
        with pytest.raises(SignatureError, match="no trusted public key"):
            opened.verify_signature([])

    def test_altered_signature(self, tmp_path: Path) -> None:
        public, _ = generate_key(tmp_path / "key.pem")
        path = bundles.write(tmp_path / "a.lep", key=tmp_path / "key.pem")
        signature = Bundle.open(path).signatures[0].signature
        flipped = ("0" if signature[0] != "0" else "1") + signature[1:]
        path.write_bytes(path.read_bytes().replace(signature.encode(), flipped.encode()))
        with pytest.raises(SignatureError, match="is wrong"):
            Bundle.open(path).verify_signature([public])

    def test_key_that_others_can_read_is_refused(self, tmp_path: Path) -> None:
        generate_key(tmp_path / "key.pem")
        (tmp_path / "key.pem").chmod(0o644)
        with pytest.raises(BadInputError, match="chmod 600"):
            bundles.write(tmp_path / "a.lep", key=tmp_path / "key.pem")

    def test_what_is_no_private_key_is_told_before_its_permissions(self, tmp_path: Path) -> None:
        public, _ = generate_key(tmp_path / "key.pem")
        (tmp_path / "text.pem").write_text("no key")
        for name, said in ((public, "holds a public key"), (tmp_path / "text.pem", "is no unencrypted")):
            Path(name).chmod(0o644)
            with pytest.raises(BadInputError, match=said) as caught:
                bundles.write(tmp_path / "a.lep", key=name)
            assert "lepton keygen" in str(caught.value)
        with pytest.raises(BadInputError, match="cannot read the key"):
            bundles.write(tmp_path / "a.lep", key=tmp_path)

    def test_key_files_that_are_none(self, tmp_path: Path, path: Path) -> None:
        (tmp_path / "text.pem").write_text("no key")
        with pytest.raises(BadInputError, match="not a PEM public key"):
            Bundle.open(path).verify_signature([tmp_path / "text.pem"])
        with pytest.raises(BadInputError, match="cannot read the key"):
            Bundle.open(path).verify_signature([tmp_path / "absent.pem"])
