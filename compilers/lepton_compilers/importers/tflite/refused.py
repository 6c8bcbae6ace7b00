"""TFLite operators that are refused, and why: for the message, and for docs/operators.md."""

from __future__ import annotations

from collections.abc import Mapping

_CONTROL_FLOW = "a Program is a straight list; unroll the loop or choose the branch at conversion"
_SHAPES = "its result's shape depends on the input's values"
_STRINGS = "strings and hash tables have no place in a Program; map them before the model runs"
_RANDOM = "results that differ from run to run can't be verified on the device"
_COMPLEX = "complex numbers have no type in a Program"

REFUSED: Mapping[str, str] = {
    "BIDIRECTIONAL_SEQUENCE_LSTM": "convert the model with its layers unfused",
    "BIDIRECTIONAL_SEQUENCE_RNN": "convert the model with its layers unfused",
    "BUCKETIZE": "no form in a Program yet",
    "CALL": _CONTROL_FLOW,
    "CONV_3D": "feature maps have two spatial axes",
    "CONV_3D_TRANSPOSE": "feature maps have two spatial axes",
    "EMBEDDING_LOOKUP_SPARSE": _SHAPES,
    "HASHTABLE": _STRINGS,
    "HASHTABLE_FIND": _STRINGS,
    "HASHTABLE_IMPORT": _STRINGS,
    "HASHTABLE_LOOKUP": _STRINGS,
    "HASHTABLE_SIZE": _STRINGS,
    "IF": _CONTROL_FLOW,
    "IMAG": _COMPLEX,
    "L2_POOL_2D": "write it as square, average pool and square root",
    "LOCAL_RESPONSE_NORMALIZATION": "no form in a Program yet",
    "LSH_PROJECTION": _STRINGS,
    "LSTM": "the classic fused cell; convert with the TensorFlow 2 converter",
    "MULTINOMIAL": _RANDOM,
    "NON_MAX_SUPPRESSION_V4": f"{_SHAPES}; TFLite_Detection_PostProcess is supported",
    "NON_MAX_SUPPRESSION_V5": f"{_SHAPES}; TFLite_Detection_PostProcess is supported",
    "RANDOM_STANDARD_NORMAL": _RANDOM,
    "RANDOM_UNIFORM": _RANDOM,
    "REAL": _COMPLEX,
    "RFFT2D": _COMPLEX,
    "RNN": "convert the model with its layers unfused",
    "SKIP_GRAM": _STRINGS,
    "SVDF": "convert the model with its layers unfused",
    "UNIDIRECTIONAL_SEQUENCE_RNN": "convert the model with its layers unfused",
    "UNIQUE": _SHAPES,
    "WHERE": _SHAPES,
    "WHILE": _CONTROL_FLOW,
}
"""Reasons by operator; others that are not supported have simply not been asked for."""
