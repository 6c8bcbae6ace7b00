"""An update's payload: the float32 difference from the base model, as safetensors inside zstd.

Parameters are named float32 arrays in the source model's shapes; the base model's names and shapes are the
contract that an update must meet exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from lepton_targets.errors import BadInputError, MessageError

Parameters = Mapping[str, npt.NDArray[np.float32]]

_HEADER_SLACK = 1 << 20


def write_parameters(parameters: Parameters) -> bytes:
    """Safetensors bytes of `parameters`; the same arrays give the same bytes."""
    from safetensors.numpy import save

    return bytes(save({name: np.ascontiguousarray(array) for name, array in sorted(parameters.items())}))


def read_parameters(content: bytes) -> dict[str, npt.NDArray[np.float32]]:
    """Named float32 arrays out of safetensors bytes.

    Raises MessageError: not safetensors, another dtype, no tensors, or NaN and infinities.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(content)
    except (SafetensorError, KeyError, ValueError, TypeError, OverflowError, MemoryError) as error:
        raise MessageError(f"parameters are not in safetensors form ({error})") from error
    if not arrays:
        raise MessageError("no tensors among the parameters")
    for name, array in arrays.items():
        if array.dtype != np.float32:
            raise MessageError(f"tensor {name!r} has dtype {array.dtype}, float32 is accepted")
        if not np.isfinite(array).all():
            raise MessageError(f"tensor {name!r} holds NaN or infinity")
    return dict(arrays)


def difference(trained: Parameters, base: Parameters) -> dict[str, npt.NDArray[np.float32]]:
    """trained − base in float32. Raises BadInputError: names or shapes differ, a value isn't finite."""
    if trained.keys() != base.keys():
        raise BadInputError(
            f"training returned tensors {sorted(trained)}", f"the base model has {sorted(base)}"
        )
    result = {}
    for name, before in base.items():
        after = np.asarray(trained[name], dtype=np.float32)
        if after.shape != before.shape:
            raise BadInputError(
                f"training returned {name!r} of shape {after.shape}, the base has {before.shape}"
            )
        result[name] = after - before
        if not np.isfinite(result[name]).all():
            raise BadInputError(f"training made {name!r} NaN or infinite", "lower the learning rate")
    return result


def pack(update: Parameters) -> bytes:
    """The payload of an update, zstd level 1 (float noise gains nothing from more)."""
    import zstandard

    return zstandard.ZstdCompressor(level=1).compress(write_parameters(update))


def unpack(
    payload: bytes, contract: Mapping[str, tuple[int, ...]], max_norm: float = math.inf
) -> dict[str, npt.NDArray[np.float32]]:
    """Parse and check a payload against the base model's names and shapes.

    max_norm: the largest L2 norm over all tensors together. Raises MessageError with the reason: not zstd,
    larger unpacked than the contract allows, not safetensors, wrong names, shapes or dtypes, not finite,
    norm too large.
    """
    update = read_parameters(_decompress(payload, contract))
    if update.keys() != contract.keys():
        missing, unknown = sorted(contract.keys() - update.keys()), sorted(update.keys() - contract.keys())
        raise MessageError(f"tensors missing {missing}, unknown {unknown}")
    for name, array in update.items():
        if array.shape != contract[name]:
            raise MessageError(f"tensor {name!r} has shape {array.shape}, the base model {contract[name]}")
    norm = math.sqrt(sum(float(np.sum(np.square(array, dtype=np.float64))) for array in update.values()))
    if norm > max_norm:
        raise MessageError(f"update norm {norm:.6g} found, at most {max_norm:.6g} is accepted")
    return update


def _decompress(payload: bytes, contract: Mapping[str, tuple[int, ...]]) -> bytes:
    import zstandard

    limit = sum(4 * math.prod(shape) for shape in contract.values()) + _HEADER_SLACK
    try:
        # The frame's own figure decides what zstd allocates, so it is looked at first.
        declared = zstandard.frame_content_size(payload)
        if not 0 < declared <= limit:
            raise MessageError(f"an update of {declared} bytes unpacked, at most {limit} are accepted")
        return zstandard.ZstdDecompressor().decompress(payload, max_output_size=limit)
    except (zstandard.ZstdError, MemoryError, ValueError) as error:
        raise MessageError(f"an update is not in zstd form ({error})") from error
