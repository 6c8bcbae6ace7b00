"""Labelled examples from `.npz` files, brought to a model's inputs without guessing.

A file holds an array [n, …] for every input name, or `features` for a model with one input, and `labels`.
Integers mean real numbers only where `<name>_scale` and `<name>_zero_point` stand beside them.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lepton_sdk.bundle.manifest import Quantization, TensorSpec
from lepton_targets.errors import BadInputError, nearest

FEATURES = "features"
LABELS = "labels"


def read_arrays(path: Path | str) -> dict[str, np.ndarray]:
    """Every array of an `.npz` file, by name. Nothing is unpickled. Raises BadInputError."""
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise BadInputError(
                f"{path} is a single array (.npy); an .npz with named arrays is expected",
                "write one:  numpy.savez('samples.npz', features=array)",
            )
        with archive:
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise BadInputError(f"cannot read {path}: {error.strerror or error}") from None
    except (
        ValueError,
        EOFError,
        TypeError,
        AttributeError,
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
    ) as error:
        raise BadInputError(
            f"{path} is not an .npz of plain arrays: {_why(error)}",
            "write one:  numpy.savez('samples.npz', features=array)",
        ) from None


def _why(error: Exception) -> str:
    """What numpy says, but for the advice to load pickles, which run code, that any unreadable file gets."""
    text = str(error)
    return "it is no .npz file, or it holds pickled objects" if "pickle" in text else text


def labels_of(
    arrays: Mapping[str, np.ndarray], n_examples: int, n_classes: int | None = None
) -> np.ndarray | None:
    """Class numbers int64 [n], or None where the file has none.

    n_classes: how many classes there are, where that is known. Raises BadInputError.
    """
    if LABELS not in arrays:
        return None
    labels = arrays[LABELS]
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (n_examples,):
        one_hot = labels.ndim == 2 and len(labels) == n_examples
        raise BadInputError(
            f"'labels' has shape {list(arrays[LABELS].shape)}; [{n_examples}], a class number for each "
            "example, is expected",
            *(("of one-hot rows those are  labels.argmax(axis=1)",) if one_hot else ()),
        )
    if labels.dtype.kind == "f" and not (np.isfinite(labels).all() and (labels == np.rint(labels)).all()):
        raise BadInputError("'labels' holds numbers that are no class numbers", "give integers from 0 on")
    if labels.dtype.kind not in "iufb":
        raise BadInputError(f"'labels' has dtype {labels.dtype}; integers are expected")
    classes = labels.astype(np.int64)
    if classes.size and classes.min() < 0:
        raise BadInputError(f"'labels' holds the class {classes.min()}; classes count from 0")
    if n_classes is not None and classes.max(initial=0) >= n_classes:
        first = int((classes >= n_classes).argmax())
        raise BadInputError(
            f"'labels' holds the class {classes[first]} in example {first}; "
            f"the model has the classes 0 to {n_classes - 1}"
        )
    return classes


def examples_for(inputs: tuple[TensorSpec, ...], arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """One array [n, *shape of an example] for every input, in the input's dtype.

    Raises BadInputError for what is missing, has another shape, holds NaN or infinity, or is integer where
    real numbers are meant and no scale says how.
    """
    if not inputs:
        raise BadInputError("the model has no inputs")
    examples = {}
    for spec in inputs:
        key = spec.name if spec.name in arrays else FEATURES
        if key not in arrays or (key != spec.name and len(inputs) > 1):
            accepted = f"'{spec.name}'" + (f" or '{FEATURES}'" if len(inputs) == 1 else "")
            raise BadInputError(
                f"the data has no array for the input {spec}{nearest(spec.name, arrays)}",
                f"found: {', '.join(arrays) or 'nothing'}",
                f"expected: {accepted}",
            )
        shaped = _shaped(spec, key, arrays[key])
        examples[spec.name] = _converted(spec, key, shaped, _stated(key, arrays))
    counts = {name: len(array) for name, array in examples.items()}
    if len(set(counts.values())) != 1:
        each = ", ".join(f"{n} of '{name}'" for name, n in counts.items())
        raise BadInputError(f"the inputs have different numbers of examples: {each}")
    if not next(iter(counts.values())):
        raise BadInputError("the data holds no examples: its arrays have the shape [0, …]")
    return examples


def _shaped(spec: TensorSpec, key: str, array: np.ndarray) -> np.ndarray:
    """[n, …] of the array; flat examples are folded, nothing else is."""
    example = spec.shape[1:]
    size = int(np.prod(example))
    if array.ndim >= 1 and (array.shape[1:] == example or array.shape[1:] == (size,)):
        return array.reshape(len(array), *example)
    raise BadInputError(
        f"'{key}' has shape {list(array.shape)}; the input {spec} needs [n,{','.join(map(str, example))}]"
    )


def _stated(key: str, arrays: Mapping[str, np.ndarray]) -> Quantization | None:
    """What `<key>_scale` and `<key>_zero_point` say, None where there is no scale."""
    scale_key, zero_key = f"{key}_scale", f"{key}_zero_point"
    if scale_key not in arrays:
        return None
    if zero_key not in arrays:
        raise BadInputError(f"'{scale_key}' stands without '{zero_key}'", "say which integer means 0")
    zero_point = arrays[zero_key]
    if arrays[scale_key].size != 1 or zero_point.size != 1:
        raise BadInputError(f"'{scale_key}' and '{zero_key}' must hold one number each")
    try:
        scale, zero = float(arrays[scale_key].item()), int(zero_point.item())
    except (TypeError, ValueError, OverflowError):
        raise BadInputError(f"'{scale_key}' and '{zero_key}' must hold numbers") from None
    if not (np.isfinite(scale) and scale > 0):
        raise BadInputError(f"'{scale_key}' is {scale}; a finite number above 0 is expected")
    return Quantization((scale,), zero)


def _converted(spec: TensorSpec, key: str, array: np.ndarray, stated: Quantization | None) -> np.ndarray:
    dtype = np.dtype(spec.dtype)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            bad = ~np.isfinite(array)
            raise BadInputError(
                f"'{key}' holds {int(bad.sum())} values that are NaN or infinite, "
                f"the first in example {int(np.argwhere(bad)[0, 0])}",
                "clean the data, or leave those examples out",
            )
        return array.astype(dtype) if dtype.kind == "f" else _quantised(spec, key, array.astype(np.float64))
    if array.dtype.kind not in "iub":
        raise BadInputError(f"'{key}' has dtype {array.dtype}; numbers are expected for the input {spec}")
    same = array.dtype == dtype
    if same and (stated is None or _equal(stated, spec.quantization)):
        return array
    if stated is None:
        raise BadInputError(
            f"'{key}' is {array.dtype}, and the input {spec} takes other numbers",
            f"say what the integers mean with '{key}_scale' and '{key}_zero_point' in the file",
        )
    real = (array.astype(np.float64) - stated.zero_point) * stated.scales[0]
    return real.astype(dtype) if dtype.kind == "f" else _quantised(spec, key, real)


def _quantised(spec: TensorSpec, key: str, real: np.ndarray) -> np.ndarray:
    if spec.quantization is None or len(spec.quantization.scales) != 1:
        raise BadInputError(
            f"'{key}' holds real numbers, and the input {spec} takes integers without a scale"
        )
    limits = np.iinfo(spec.dtype)
    steps = np.rint(real / spec.quantization.scales[0]) + spec.quantization.zero_point
    clipped: np.ndarray = np.clip(steps, limits.min, limits.max).astype(spec.dtype)
    return clipped


def _equal(stated: Quantization, own: Quantization | None) -> bool:
    return (
        own is not None
        and len(own.scales) == 1
        and np.float32(own.scales[0]) == np.float32(stated.scales[0])
        and own.zero_point == stated.zero_point
    )
