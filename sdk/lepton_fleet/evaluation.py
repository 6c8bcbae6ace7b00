"""What a new model is worth: a trainable bundle and held-out examples, as an evaluate function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lepton_sdk.federated.local import read_local_examples
from lepton_sdk.federated.update import Parameters


def held_out_evaluation(
    bundle: Path, examples: Path, *, engine: str = "native", trust: Sequence[Path] | None = None
) -> Callable[[Parameters], Mapping[str, float]]:
    """A function from parameters to {"accuracy", "loss", "n_evaluated"} on the examples of an .npz file."""
    from lepton_sdk.trainer import Trainer

    local = read_local_examples(bundle, examples)
    trainer = Trainer(bundle, engine=engine, trust=trust)

    def evaluate(parameters: Parameters) -> Mapping[str, float]:
        trainer.load_parameters(parameters)
        found = trainer.evaluate(local.features, local.labels)
        return {"accuracy": float(found.accuracy), "loss": float(found.loss), "n_evaluated": int(found.n)}

    return evaluate
