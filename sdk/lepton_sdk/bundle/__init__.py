"""The bundle (`.lep`): one signed file that carries a model from the compiler to the device.

    format.py      header, alignment, limits: where the bytes stand; trailer.py: what follows the segments
    manifest.py    what the bytes are: immutable typed values; parsing.py reads them strictly from JSON,
                   consistency.py holds its parts against each other
    digest.py      SHA-256, without OpenSSL where that is fast enough
    reader.py      `Bundle`: memory-mapped, everything checked before anything is used
    writer.py      `write_bundle`: deterministic and durable; `thin` leaves other targets' segments out
    trust.py       checks Ed25519 signatures over the manifest's bytes; signing.py makes keys and signs

Names are imported when first used: a device that only reads never loads the writer or any cryptography.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lepton_sdk.bundle.manifest import (
        Artifact,
        EntryPoint,
        FunctionInterface,
        GoldenRecord,
        Manifest,
        ModelSource,
        Provenance,
        Quantization,
        Segment,
        TensorSpec,
        VariableBlock,
        VariableSpec,
    )
    from lepton_sdk.bundle.reader import Bundle, GoldenVector
    from lepton_sdk.bundle.signing import generate_key
    from lepton_sdk.bundle.trust import key_id, load_public_key
    from lepton_sdk.bundle.writer import thin, write_bundle

_HOMES = {
    "Artifact": "manifest",
    "Bundle": "reader",
    "EntryPoint": "manifest",
    "FunctionInterface": "manifest",
    "GoldenRecord": "manifest",
    "GoldenVector": "reader",
    "Manifest": "manifest",
    "ModelSource": "manifest",
    "Provenance": "manifest",
    "Quantization": "manifest",
    "Segment": "manifest",
    "TensorSpec": "manifest",
    "VariableBlock": "manifest",
    "VariableSpec": "manifest",
    "generate_key": "signing",
    "key_id": "trust",
    "load_public_key": "trust",
    "thin": "writer",
    "write_bundle": "writer",
}

__all__ = [
    "Artifact",
    "Bundle",
    "EntryPoint",
    "FunctionInterface",
    "GoldenRecord",
    "GoldenVector",
    "Manifest",
    "ModelSource",
    "Provenance",
    "Quantization",
    "Segment",
    "TensorSpec",
    "VariableBlock",
    "VariableSpec",
    "generate_key",
    "key_id",
    "load_public_key",
    "thin",
    "write_bundle",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lepton_sdk.bundle' has no attribute {name!r}")
    return getattr(importlib.import_module(f"lepton_sdk.bundle.{_HOMES[name]}"), name)
