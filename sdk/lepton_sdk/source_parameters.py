"""A model's trainable parameters under the names and in the shapes of the model they came from.

Inside a program weights lie as its kernels want them; everywhere else (federated updates, weight files,
`lepton compile --weights`) they are the source model's. The difference is one transpose, made here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lepton_sdk.bundle.manifest import VariableSpec
from lepton_targets.errors import BadInputError, nearest

VELOCITY = ".velocity"
"""What follows a parameter's tensor name in that of its optimiser state."""


def source_name(spec: VariableSpec) -> str:
    """The parameter's name in the source model, its tensor's where the model gave none."""
    return spec.source_name or spec.name


def source_shape(spec: VariableSpec) -> tuple[int, ...]:
    """The parameter's shape in the source model."""
    return spec.source_shape or _turned_shape(spec)


def _turned_shape(spec: VariableSpec) -> tuple[int, ...]:
    return spec.shape if spec.source_axes is None else tuple(spec.shape[axis] for axis in spec.source_axes)


def to_source(spec: VariableSpec, value: np.ndarray) -> np.ndarray:
    """A dense copy in the source model's shape."""
    turned = value if spec.source_axes is None else value.transpose(spec.source_axes)
    return np.array(turned, order="C", copy=True).reshape(source_shape(spec))


def from_source(spec: VariableSpec, value: np.ndarray) -> np.ndarray:
    """The source model's array in the program's shape (a view)."""
    value = value.reshape(_turned_shape(spec))
    return value if spec.source_axes is None else value.transpose(np.argsort(spec.source_axes))


def checked(specs: Mapping[str, VariableSpec], values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The values as float32 in source shapes, one for every name in `specs`.

    Raises BadInputError for missing or unknown names, wrong shapes or types, values that are not finite.
    """
    unknown = [name for name in values if name not in specs]
    if unknown:
        raise BadInputError(
            f"the model has no trainable parameter '{unknown[0]}'{nearest(unknown[0], specs)}",
            f"it has: {', '.join(specs)}",
        )
    missing = [name for name in specs if name not in values]
    if missing:
        raise BadInputError(
            f"{len(missing)} of {len(specs)} parameters are missing: {', '.join(missing[:8])}",
            "all of them are loaded together, or none",
        )
    result = {}
    for name, spec in specs.items():
        value = np.asarray(values[name])
        if value.dtype.kind != "f":
            raise BadInputError(f"parameter '{name}' is {value.dtype}; float32 is needed")
        wanted = source_shape(spec)
        if value.shape != wanted:
            raise BadInputError(f"parameter '{name}' has shape {value.shape}; expected {wanted}")
        result[name] = value.astype(np.float32, copy=False)
        if not np.isfinite(result[name]).all():
            raise BadInputError(f"parameter '{name}' holds NaN or infinity")
    return result


def save(path: Path | str, values: Mapping[str, np.ndarray]) -> Path:
    """Write a safetensors file durably; equal values give equal bytes."""
    from safetensors.numpy import save as encode

    from lepton_sdk.durable import write_durably

    return write_durably(path, encode({name: np.ascontiguousarray(v) for name, v in sorted(values.items())}))


def load(path: Path | str) -> dict[str, np.ndarray]:
    """Arrays of a safetensors file by name. Raises BadInputError where it can't be read as one."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as decode

    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise BadInputError(f"cannot read the weights {path}: {error.strerror}") from error
    try:
        return dict(decode(content))
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise BadInputError(f"{path} can't be read as safetensors: {error}") from error
