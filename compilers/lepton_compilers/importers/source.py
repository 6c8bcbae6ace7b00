"""Which format a model is, by its content, and the one way in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from lepton_compilers.importers.torch.archive import ZIP_MAGIC
from lepton_compilers.peak import checked_size
from lepton_targets.errors import BadInputError

if TYPE_CHECKING:
    from torch.export import ExportedProgram

TFLITE_IDENTIFIER = b"TFL3"
ACCEPTED = "accepted: a TFLite file, an ONNX file, or a .pt2 file of torch.export.save"


def read_model(model: Path | str | bytes | ExportedProgram) -> bytes:
    """The bytes of a model file; those that PyTorch would write of an ExportedProgram.

    Raises BadInputError when it can't be read, is empty, or is no model at all.
    """
    if isinstance(model, bytes):
        content = model
    elif not isinstance(model, str | Path):
        from lepton_compilers.importers.torch.importer import saved

        content = saved(model)
    else:
        try:
            content = Path(model).read_bytes()
        except OSError as error:
            raise BadInputError(f"cannot read the model {model}: {error.strerror}") from error
    if not content:
        raise BadInputError("the model is empty", ACCEPTED)
    return content


def source_format(content: bytes) -> str:
    """`tflite`, `torch` or `onnx`, by the content.

    A TFLite file says what it is, PyTorch's are zip files, and whatever else is tried as ONNX.
    """
    if content[4:8] == TFLITE_IDENTIFIER:
        return "tflite"
    return "torch" if content.startswith(ZIP_MAGIC) else "onnx"


def import_model(
    content: bytes,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    trainable: bool = False,
    weights: Mapping[str, npt.NDArray[Any]] | None = None,
) -> Any:
    """The Relax module of a TFLite, ONNX or PyTorch model.

    shapes: input shapes by name, for inputs that an ONNX or PyTorch file leaves open. weights: arrays that
    replace the model's parameters, by their source names, in the source's shapes. trainable: float
    parameters become inputs of `main`. Raises BadInputError and UnsupportedOperatorError.
    """
    if source_format(content) == "tflite":
        from lepton_compilers.importers.tflite.importer import import_tflite

        return _checked(
            import_tflite(content, shapes=shapes or {}, trainable=trainable, weights=weights or {})
        )
    if content[:6] == b"LEPTON":
        raise BadInputError("this is a Lepton bundle, already compiled", ACCEPTED)
    if source_format(content) == "torch":
        from lepton_compilers.importers.torch.importer import import_torch

        return _checked(
            import_torch(content, shapes=shapes or {}, trainable=trainable, weights=weights or {})
        )
    from lepton_compilers.importers.onnx.importer import import_onnx

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
