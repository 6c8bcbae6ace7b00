"""What a project is called, in C and elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TAKEN = frozenset(
    (
        *("auto", "bool", "break", "case", "char", "const", "continue", "default", "do", "double", "else"),
        *("enum", "extern", "float", "for", "goto", "if", "inline", "int", "long", "main", "register"),
        *("restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch", "test"),
        *("typedef", "union", "unsigned", "void", "volatile", "while"),
    )
)
"""Words of C, and names that CMake or a program's start has."""


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """What a project is called: a C identifier, the source's SHA-256, names of classes."""

    name: str
    source_sha256: str
    labels: tuple[str, ...] = ()


def c_identifier(text: str) -> str:
    """`text` as a C identifier: other characters become `_`."""
    name = re.sub(r"\W", "_", text, flags=re.ASCII).strip("_").lower()
    taken = not name or name[0].isdigit() or name in _TAKEN or name.startswith("lepton_")
    return f"model_{name}".rstrip("_") if taken else name
