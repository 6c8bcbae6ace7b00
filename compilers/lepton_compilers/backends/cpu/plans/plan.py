"""What will run, as data: kernel calls on named buffers. Printable before anything is generated."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from dataclasses import dataclass

from lepton_compilers.backends.cpu.plans.tile_choice import TileUse


class Space(enum.StrEnum):
    """Where a buffer lives; the generated function gets a pointer to each."""

    ARENA = "arena"
    WEIGHTS = "weights"
    VARIABLES = "variables"
    INPUT = "input"
    OUTPUT = "output"

    @property
    def constant(self) -> bool:
        """Whether no function ever writes there."""
        return self in (Space.WEIGHTS, Space.INPUT)


@dataclass(frozen=True, slots=True)
class Buffer:
    """A run of bytes. index: which input or output; offset: its place inside the weights or variables.

    element_bytes: of each value of a map that is written there, or of several; 0 of what is no map.
    """

    name: str
    nbytes: int
    space: Space
    index: int = 0
    offset: int = 0
    element_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """An address: `offset` bytes into a buffer, and `step` bytes further at each repetition of the call."""

    buffer: str
    offset: int = 0
    step: int = 0

    def __add__(self, nbytes: int) -> Place:
        return dataclasses.replace(self, offset=self.offset + nbytes)

    def stepping(self, nbytes: int) -> Place:
        """The same address, advancing by `nbytes` at each repetition."""
        return dataclasses.replace(self, step=nbytes)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a micro-kernel, repeated `times` with stepping addresses; integers are literals.

    parts: the same work as calls whose repetitions write apart from each other, to run at the same time;
    empty where it runs as one. Parts have no parts.
    """

    kernel: str
    arguments: tuple[Place | int, ...]
    times: int = 1
    parts: tuple[Call, ...] = ()

    @property
    def places(self) -> tuple[Place, ...]:
        """The addresses among the arguments."""
        return tuple(a for a in self.arguments if isinstance(a, Place))


@dataclass(frozen=True, slots=True)
class Layer:
    """One operation as it is carried out: the plan's calls from `first` up to `end`.

    name: as error messages name it. dtype: of its first operand. macs: multiply-accumulates by its meaning.
    operations: which of the program's function it carries out, by number: several where they are fused.
    """

    name: str
    dtype: str
    macs: int
    first: int
    end: int
    operations: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a call does that is no operation's: it brings a tensor into another form, as `blocks`."""

    tensor: str
    into: str


@dataclass(frozen=True, slots=True)
class Plan:
    """One function: its calls in order, every buffer they touch, and where the arena holds each.

    sources: C text by name of kernels that stand in no header, made for this program's shapes.
    together: runs of calls, (first, end), all in parts that write apart and read nothing of each other.
    conversions: calls that are no operation's own, by number.
    layers: whose calls they are; an operation without calls, as a reshape, is none, and copies to outputs are
    nobody's. tiles: where a kernel's tile was chosen.
    """

    function: str
    calls: tuple[Call, ...]
    buffers: Mapping[str, Buffer]
    arena_offsets: Mapping[str, int]
    arena_bytes: int
    n_inputs: int
    n_outputs: int
    sources: Mapping[str, str] = dataclasses.field(default_factory=dict)
    layers: tuple[Layer, ...] = ()
    tiles: tuple[TileUse, ...] = ()
    together: tuple[tuple[int, int], ...] = ()
    conversions: Mapping[int, Conversion] = dataclasses.field(default_factory=dict)

    def offset(self, place: Place) -> int:
        """Byte offset of an address inside its space's block."""
        buffer = self.buffers[place.buffer]
        base = self.arena_offsets[buffer.name] if buffer.space is Space.ARENA else buffer.offset
        return base + place.offset

    def show(self) -> str:
        """A line a call, addresses as `space[offset]`."""
        lines = [f"{self.function}: {len(self.calls)} calls, arena {self.arena_bytes} bytes"]
        joined = {number for first, end in self.together for number in range(first + 1, end)}
        for number, call in enumerate(self.calls):
            words = [str(a) if isinstance(a, int) else self._address(a) for a in call.arguments]
            times = f" × {call.times}" if call.times > 1 else ""
            parts = f" in {sum(part.times for part in call.parts)} parts" if call.parts else ""
            beside = ", beside the last" if number in joined else ""
            lines.append(f"  {call.kernel}({', '.join(words)}){times}{parts}{beside}")
        return "\n".join(lines)

    def _address(self, place: Place) -> str:
        buffer = self.buffers[place.buffer]
        index = str(buffer.index) if buffer.space in (Space.INPUT, Space.OUTPUT) else ""
        step = f" +{place.step}" if place.step else ""
        return f"{buffer.space}{index}[{self.offset(place)}{step}]"
