"""Operators that stay outside, each with the reason that a refusal names."""

from __future__ import annotations

from collections.abc import Mapping

_TRAINING = "training runs by --trainable, not by operators of the model"
_CONTAINERS = "sequences, maps and optionals have no tensor to stand for them"
_TEXT = "strings are no element type that a target computes"
_CONTROL = "control flow is supported where constants decide it"
_VALUES = "the shape of its result depends on the input's values"
_RANDOM = "its results are random"
_TREES = "decision trees and feature tables are no networks"

OUT_OF_SCOPE: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "Adagrad", "Adam", "Gradient", "Momentum", "NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss",
        ),
        _TRAINING,
    ),
    **dict.fromkeys(
        (
            "ConcatFromSequence", "Optional", "OptionalGetElement", "OptionalHasElement", "SequenceAt",
            "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength",
            "SequenceMap", "SplitToSequence",
        ),
        _CONTAINERS,
    ),
    **dict.fromkeys(
        (
            "LabelEncoder", "RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit",
            "TfIdfVectorizer",
        ),
        _TEXT,
    ),
    **dict.fromkeys(("If", "Loop", "Scan"), _CONTROL),
    **dict.fromkeys(("Compress", "NonZero", "Unique"), f"{_VALUES}; constants are folded"),
    **dict.fromkeys(
        (
            "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
            "RandomUniformLike",
        ),
        _RANDOM,
    ),
    "ImageDecoder": "compressed images are decoded before a model runs",
    **dict.fromkeys(("ArrayFeatureExtractor", "Binarizer", "TreeEnsemble"), _TREES),
}  # fmt: skip
OTHER_DOMAINS: Mapping[str, str] = {
    "ai.onnx.ml": "classical machine learning (ai.onnx.ml) is outside",
    "ai.onnx.preview.training": _TRAINING,
}


def reason_against(domain: str, operator: str) -> str | None:
    """Why an operator stays outside; None for all that could be supported."""
    if domain in OTHER_DOMAINS:
        return OTHER_DOMAINS[domain]
    return OUT_OF_SCOPE.get(operator) if domain == "" else None
