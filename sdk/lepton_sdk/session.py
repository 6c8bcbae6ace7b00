"""`Session`: a model opened once, checked once, then run as fast as the code allows.

What inference does not need, as measurements and the self-test, is imported where it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np

from lepton_sdk.bundle.manifest import FunctionInterface, Quantization, TensorSpec
from lepton_sdk.bundle.reader import Bundle
from lepton_sdk.calls import Arrays, BoundCall, StagedCall
from lepton_sdk.engines import OPEN_PLAIN_FILES, Engine, open_engine
from lepton_targets.errors import SignatureError, UsageError, nearest

if TYPE_CHECKING:
    from pathlib import Path

    from lepton_sdk.benchmark import Latency
    from lepton_sdk.layer_times import LayerTime
    from lepton_sdk.self_test import SelfTestResult

_NO_ARRAY = object()


class _Closed:
    """In the engine's place once a session is closed: whatever is asked of it is wrong use."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __getattr__(self, name: str) -> Any:
        raise UsageError(f"the session of {self._path} is closed", "open another one")


class Session:
    """Runs the functions of one model. `run` and `run_into` from several threads take turns, as they share
    an arena; to run at the same time, open a session for each thread.

    source: a bundle, its path, or a .tflite's path with engine "litert". trust: a public-key PEM file or
    several; where given, a signature by one of them is required before any code is loaded; None runs unsigned
    files too. threads: at most so many run one inference, the caller's included. target: whose code of those
    that the bundle holds, the best for this CPU without it. `close`, or leaving a `with`
    block, gives up code, memory, threads and the mapped file.
    Raises BundleFormatError, SignatureError, UnavailableError (nothing for this CPU), MissingExtraError,
    UsageError (no such target).
    """

    __slots__ = (
        "_bound",
        "_engine",
        "_last_call",
        "_last_input",
        "_last_output",
        "_staged",
        "_turn",
        "bundle",
        "key_id",
        "path",
    )

    def __init__(
        self,
        source: Bundle | str | Path,
        engine: str = "native",
        threads: int = 1,
        trust: Path | str | Sequence[Path | str] | None = None,
        target: str | None = None,
    ) -> None:
        self.bundle: Bundle | None = None
        self.key_id: str | None = None
        self.path = source.path if isinstance(source, Bundle) else str(source)
        if engine in OPEN_PLAIN_FILES:
            if trust is not None:
                raise SignatureError(f"{self.path} is opened by '{engine}', whose files carry no signature")
            self._engine: Engine = open_engine(engine, source, threads, target)
        else:
            self.bundle = source if isinstance(source, Bundle) else Bundle.open(source)
            if trust is not None:
                self.key_id = self.bundle.verify_signature(trust)
            self._engine = open_engine(engine, self.bundle, threads, target)
        self._staged: dict[str, StagedCall] = {}
        self._bound: BoundCall | None = None
        self._turn = Lock()
        # Bare arrays are the same when their objects are; a dict may hold others the next time.
        self._last_input: object = _NO_ARRAY
        self._last_output: object = _NO_ARRAY
        self._last_call: Callable[[], None] = self._engine.reset

    def __repr__(self) -> str:
        if isinstance(self._engine, _Closed):
            return f"Session({self.path!r}, closed)"
        return f"Session({self.path!r}, engine={self._engine.name!r}, target={self.target!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up the engine and the bundle. Arrays that came from here stay valid; any call is a UsageError.

        What is mapped goes with the last array or bound call that refers to it. Closing twice is no error.
        """
        self._staged.clear()
        self._bound = None
        self._last_input = self._last_output = _NO_ARRAY
        self._engine = cast("Engine", _Closed(self.path))
        self._last_call = lambda: None
        self.bundle = None

    def run(self, inputs: Arrays, function: str = "infer") -> dict[str, np.ndarray]:
        """Outputs by name, in fresh arrays. inputs: arrays by name, or the one array of a one-input function.

        Raises BadInputError for a missing or unknown name, a wrong shape or dtype.
        """
        with self._turn:
            staged = self._staged.get(function)
            if staged is None:
                staged = self._staged[function] = StagedCall(self._engine, function, self.interface(function))
            return staged(inputs)

    def run_into(self, inputs: Arrays, outputs: Arrays, function: str = "infer") -> None:
        """Fill the given output arrays. The same array objects again cost the C call and little more.

        The arrays must be dense in C order, outputs writable and apart from inputs; else BadInputError.
        """
        with self._turn:
            if inputs is self._last_input and outputs is self._last_output and function == "infer":
                self._last_call()
                return
            bound = self._bound
            if bound is None or not bound.matches(inputs, outputs, function):
                interface = self.interface(function)
                bound = self._bound = BoundCall(self._engine, function, interface, inputs, outputs)
            if type(inputs) is np.ndarray and type(outputs) is np.ndarray and function == "infer":
                self._last_input, self._last_output, self._last_call = inputs, outputs, bound.call
            bound.call()

    def bind(
        self, inputs: Arrays, outputs: Arrays | None = None, function: str = "infer"
    ) -> Callable[[], None]:
        """A call without arguments that reads these arrays and fills those: the least overhead there is.

        outputs: left out where nobody reads them, as in measurements. The call does not take turns: no other
        call of this session may run meanwhile.
        """
        interface = self.interface(function)
        if outputs is None:
            outputs = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in interface.outputs}
        return BoundCall(self._engine, function, interface, inputs, outputs).call

    def example_inputs(self, function: str = "infer") -> dict[str, np.ndarray]:
        """Inputs of a function's first golden vector, else synthetic ones, by name."""
        from lepton_sdk.examples import example_inputs

        return example_inputs(self.bundle, function, self.interface(function))

    def benchmark(self, seconds: float = 1.0, function: str = "infer") -> Latency:
        """Latency of a function on its golden inputs (synthetic ones where it has none)."""
        from lepton_sdk.benchmark import measure

        return measure([self.bind(self.example_inputs(function), function=function)], seconds)[0]

    def profile(self, seconds: float = 1.0, function: str = "infer") -> tuple[LayerTime, ...]:
        """What each layer of a function takes, measured for about `seconds` on the inputs of `benchmark`.

        Raises UnavailableError where the engine or the bundle's code can't tell.
        """
        from lepton_sdk.layer_times import measure_layers

        self.interface(function)  # Raises for one that there is not.
        return measure_layers(self._engine, self.bundle, seconds, function).layers

    def self_test(self) -> SelfTestResult:
        """Run every golden vector: bytes equal, outputs with a tolerance within it. Raises SelfTestError."""
        from lepton_sdk.self_test import self_test

        with self._turn:
            return self_test(self._engine, self.bundle, self.path)

    def reset(self) -> None:
        """Give every variable its first value again."""
        self._engine.reset()

    def variables(self) -> dict[str, np.ndarray]:
        """Writable views of what lives between calls, by name."""
        return self._engine.variables()

    def interface(self, function: str = "infer") -> FunctionInterface:
        """Inputs and outputs of a function. Raises UsageError for one that the model does not have."""
        functions = self._engine.functions
        if function not in functions:
            raise UsageError(
                f"{self.path} has no function '{function}'{nearest(function, functions)}",
                f"it has: {', '.join(functions)}",
            )
        return functions[function]

    @property
    def engine(self) -> Engine:
        """What executes the model."""
        return self._engine

    @property
    def target(self) -> str:
        """Target of the code that runs."""
        return self._engine.target

    @property
    def threads(self) -> int:
        """How many threads run one inference: what was asked for, less where the code can't use them."""
        return self._engine.threads

    @property
    def functions(self) -> tuple[str, ...]:
        """Names of the functions that can be run."""
        return tuple(self._engine.functions)

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Names of the classes, where the model states them."""
        return self.bundle.manifest.labels if self.bundle else None

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Inputs of `infer`, in order."""
        return self.interface().inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Outputs of `infer`, in order."""
        return self.interface().outputs

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every input and output of `infer`, by name."""
        return {tensor.name: tensor.shape for tensor in (*self.inputs, *self.outputs)}

    @property
    def dtypes(self) -> dict[str, np.dtype]:
        """dtype of every input and output of `infer`, by name."""
        return {tensor.name: np.dtype(tensor.dtype) for tensor in (*self.inputs, *self.outputs)}

    @property
    def quantization(self) -> dict[str, Quantization | None]:
        """Quantisation of every input and output of `infer`, by name; None for real numbers."""
        return {tensor.name: tensor.quantization for tensor in (*self.inputs, *self.outputs)}
