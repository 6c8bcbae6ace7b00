"""Which format a model is, by its content, and the one way in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from lepton_compilers.peak import checked_size
from lepton_targets.errors import BadInputError

TFLITE_IDENTIFIER = b"TFL3"


def read_model(model: Path | str | bytes) -> bytes:
    """The bytes of a model file. BadInputError when it can't be read or is empty."""
    if isinstance(model, bytes):
        content = model
    else:
        try:
            content = Path(model).read_bytes()
        except OSError as error:
            raise BadInputError(f"cannot read the model {model}: {error.strerror}") from error
    if not content:
        raise BadInputError("the model is empty", "accepted: a TFLite or an ONNX file")
    return content


def source_format(content: bytes) -> str:
    """`tflite` or `onnx`, by the content: a TFLite file says so itself, whatever else is tried as ONNX."""
    return "tflite" if content[4:8] == TFLITE_IDENTIFIER else "onnx"


def import_model(
    content: bytes,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    trainable: bool = False,
    weights: Mapping[str, npt.NDArray[Any]] | None = None,
) -> Any:
    """The Relax module of a TFLite or ONNX model.

    shapes: input shapes by name, for ONNX inputs whose file leaves them open. weights: arrays that replace
    the model's parameters, by their source names, in the source's shapes. trainable: float parameters
    become inputs of `main`. Raises BadInputError and UnsupportedOperatorError.
    """
    if source_format(content) == "tflite":
        from lepton_compilers.importers.tflite import import_tflite

        return _checked(
            import_tflite(content, shapes=shapes or {}, trainable=trainable, weights=weights or {})
        )
    if content[:6] == b"LEPTON":
        raise BadInputError("this is a Lepton bundle, already compiled", "accepted: a TFLite or an ONNX file")
    from lepton_compilers.importers.onnx import import_onnx

    return _checked(import_onnx(content, shapes=shapes or {}, trainable=trainable, weights=weights or {}))


def _checked(module: Any) -> Any:
    """The module with its layers named, once all extents are known now, above zero and fit memory.

    Raises BadInputError with the first layer that has not.
    """
    from lepton_compilers.importers.naming import name_layers
    from lepton_compilers.passes.graph import bindings, dtype, known_shape

    module = name_layers(module)
    main = module["main"]
    for var in (*main.params, *(binding.var for binding in bindings(main))):
        extents = known_shape(var)
        if extents is None:
            raise BadInputError(
                f"layer '{var.name}' has a shape that depends on its input's values",
                "fix the input shapes:  --shape NAME=1,3,224,224",
            )
        if any(n < 1 for n in extents):
            raise BadInputError(f"layer '{var.name}' has the empty shape {extents}; the model is damaged")
        checked_size(f"layer '{var.name}'", extents, dtype(var) or "int8")
    return module
