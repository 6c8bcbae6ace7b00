"""A plan while it is made: rules ask it for operands in the layout they want and add kernel calls.

A tensor may exist in several forms at once (dense, blocked); asking for a form that does not exist yet adds
the converting call. Buffers become arena offsets only when the plan is finished.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy.typing as npt

from lepton_compilers.backends.cpu.lowering.assembly import Drafted, DraftedCall, assembled
from lepton_compilers.backends.cpu.lowering.joined import Slice
from lepton_compilers.backends.cpu.lowering.uses import ALWAYS, last_uses, output_homes
from lepton_compilers.backends.cpu.plans.layout import (
    BFLOATS,
    FLOATS,
    LANES,
    UNSIGNED,
    Blocked,
    MapElements,
    blocked_form,
)
from lepton_compilers.backends.cpu.plans.plan import Buffer, Call, Conversion, Place, Plan, Space
from lepton_compilers.backends.cpu.plans.tile_choice import (
    Products,
    Tile,
    TileChoice,
    Tiles,
    TileUse,
    by_table,
    tiled_layer,
)
from lepton_compilers.backends.cpu.rewrites.fused import ConvAdd
from lepton_compilers.backends.cpu.weights.packing import WeightBlob
from lepton_sdk.program import Function, Operation, Program, TensorId
from lepton_sdk.program.operations import Concat

PORTABLE_HEADER = "portable.h"


class Draft:
    """The calls of one function so far. `tensors` are the program's; `step` counts operations.

    header: where the kernels of the present operation stand, or else in portable.h. kept: float32 maps that
    are bfloat16 wherever they are read. joined: blocked maps that lie in a larger one.
    """

    def __init__(
        self,
        program: Program,
        function: Function,
        weights: WeightBlob,
        variables: Mapping[TensorId, int],
        elements: MapElements = UNSIGNED,
        choice: TileChoice = by_table,
        kept: frozenset[TensorId] = frozenset(),
        joined: Mapping[TensorId, Slice] = MappingProxyType({}),
    ) -> None:
        self.program = program
        self.function = function
        self.tensors = program.tensors
        self.step = 0
        self.header = PORTABLE_HEADER
        self.kept = kept
        self._int8_elements = elements
        self._choice = choice
        self._joined = dict(joined)
        self._weights = weights
        self._drafted = Drafted()
        self._dense: dict[TensorId, Place] = {}
        self._blocked: dict[TensorId, Blocked] = {}
        self._bfloat16: dict[TensorId, Blocked] = {}
        self._last_use = last_uses(function)
        self._output_of = output_homes(program, function)
        for index, name in enumerate(function.inputs):
            buffer = Buffer(f"input {name}", self.tensors[name].nbytes, Space.INPUT, index)
            self._dense[name] = self._placed(buffer)
        for name, offset in variables.items():
            buffer = Buffer(f"variable {name}", self.tensors[name].nbytes, Space.VARIABLES, offset=offset)
            self._dense[name] = self._placed(buffer)

    def call(self, kernel: str, *arguments: Place | int, times: int = 1) -> None:
        """Add a kernel call, repeated `times` with stepping addresses."""
        self._drafted.calls.append(DraftedCall(Call(kernel, arguments, times), self.header, self.step))

    def _convert(self, conversion: Conversion, kernel: str, *arguments: Place | int) -> None:
        """As `call`, of what is no operation's own work."""
        call = Call(kernel, arguments)
        self._drafted.calls.append(DraftedCall(call, self.header, self.step, conversion))

    def tile(self, kernel: str, op: Products | ConvAdd, tiles: Tiles) -> Tile:
        """The tile for the layer that `kernel` runs, one of `tiles`, all legal ones, the table's first."""
        layer = tiled_layer(kernel, self.header, op, self.tensors)
        chosen = self._choice(layer, tiles)
        self._drafted.tiles.append(TileUse(layer, tiles, chosen, self.step))
        return chosen

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Calls added inside write apart and read nothing of each other: they may run at the same time."""
        first = len(self._drafted.calls)
        yield
        if len(self._drafted.calls) - first > 1:
            self._drafted.together.append((first, len(self._drafted.calls)))

    def source(self, kernel: str, text: str) -> None:
        """Add the C text of a kernel that stands in no header."""
        self._drafted.sources[kernel] = text

    def value(self, name: TensorId) -> npt.NDArray[Any] | None:
        """What the compiler knows of a tensor: a constant's value; None for variables and intermediates."""
        return None if name in self.program.variable_ids else self.tensors[name].value

    def constant(self, value: npt.NDArray[Any]) -> Place:
        """An array in the weights, C order, 64-byte aligned."""
        offset = self._weights.add(value)
        return self._placed(Buffer(f"weights at {offset}", value.nbytes, Space.WEIGHTS, offset=offset))

    def scratch(self, nbytes: int, element_bytes: int = 0) -> Place:
        """Bytes that live only between the calls that name them; element_bytes: of a map's values."""
        name = f"scratch {len(self._drafted.buffers)}"
        return self._placed(Buffer(name, nbytes, Space.ARENA, element_bytes=element_bytes))

    def map_of(self, form: Blocked) -> Blocked:
        """A blocked map in a buffer of its own; `form` stands at no place yet."""
        return form.at(self.scratch(form.nbytes, form.element_bytes))

    def read(self, name: TensorId) -> Place:
        """The tensor's dense C-order bytes."""
        if name not in self._dense:
            value = self.value(name)
            if value is not None:
                self._dense[name] = self.constant(value)
            else:
                self._dense[name] = self._new(name, self.tensors[name].nbytes)
                self._unpack(name)
        return self._dense[name]

    def read_blocked(self, name: TensorId) -> Blocked:
        """A feature map blocked by 16 channels, as its shape calls for."""
        elements = self._elements(name)
        form = blocked_form(self.tensors[name], elements)
        existing = self._blocked.get(name)
        if existing is not None and existing.at(form.place) == form:
            return existing
        # Of other maps the rounded form is a copy for products, and what stands beside it is not rounded.
        if name in self.kept and name in self._bfloat16:
            blocked = self.write_blocked(name)
            self._convert(
                Conversion(name, "float32"),
                "widen_bf16",
                *(self._bfloat16[name].place, blocked.place, form.nbytes // 4),
            )
            return blocked
        source = self.read(name)
        whole = self.in_whole(name)
        blocked = self.map_of(form) if whole is None else form.at(whole)
        images, pixels, channels = _as_one_row(form)
        for image in range(images):
            self._convert(
                Conversion(name, "blocks"),
                elements.pack,
                source + image * pixels * channels * self._item_bytes(name),
                blocked.place + image * form.image_bytes,
                pixels,
                channels,
                *self._subtracted(name),
            )
        self._blocked[name] = blocked
        return blocked

    def read_bfloat16(self, name: TensorId) -> Blocked:
        """A float32 map as bfloat16, blocked by 16 channels."""
        if name not in self._bfloat16:
            form = blocked_form(self.tensors[name], BFLOATS)
            wide = self._blocked.get(name)
            if wide is not None:
                self.narrow(name)
            else:
                source, narrow = self.read(name), self.map_of(form)
                for image in range(form.images):
                    self._convert(
                        Conversion(name, "bfloat16 blocks"),
                        BFLOATS.pack,
                        source + image * form.pixels * form.channels * 4,
                        narrow.place + image * form.image_bytes,
                        form.pixels,
                        form.channels,
                    )
                self._bfloat16[name] = narrow
        return self._bfloat16[name]

    def write_bfloat16(self, name: TensorId, over: Blocked | None = None) -> Blocked:
        """Where to put a float32 map as bfloat16; `over`: a form it may overwrite."""
        form = blocked_form(self.tensors[name], BFLOATS)
        self._bfloat16[name] = self.map_of(form) if over is None else form.at(over.place)
        return self._bfloat16[name]

    def narrow(self, name: TensorId) -> None:
        """Round the map's blocked form; of one that is kept as bfloat16 nothing else remains."""
        wide, narrow = self._blocked[name], self.write_bfloat16(name)
        places = (wide.place, narrow.place)
        self._convert(Conversion(name, "bfloat16"), "narrow_bf16", *places, narrow.nbytes // 2)
        if name in self.kept:
            del self._blocked[name]

    def read_rows(self, name: TensorId) -> Blocked:
        """A matrix [N, K] blocked in any way that keeps rows apart: also the map that was flattened to it."""
        return self.existing_rows(name) or self.read_blocked(name)

    def existing_rows(self, name: TensorId) -> Blocked | None:
        """The blocked form of a matrix [N, K] whose rows lie apart, if there is one already."""
        existing = self._blocked.get(name)
        return existing if existing is not None and existing.images == self.tensors[name].shape[0] else None

    def write(self, name: TensorId, over: TensorId | None = None) -> Place:
        """Where to put the tensor's dense bytes.

        over: an operand of the same size that the kernel may overwrite as it reads it; used where nothing
        reads that operand later.
        """
        reused = self._dense.get(over) if over is not None and self._dies_here(over) else None
        if name in self._output_of or reused is None or self._space(reused) is not Space.ARENA:
            reused = self._new(name, self.tensors[name].nbytes)
        self._dense[name] = reused
        return reused

    def write_blocked(self, name: TensorId, over: Blocked | None = None) -> Blocked:
        """Where to put a tensor in blocked form; `over`: a form it may overwrite."""
        form = blocked_form(self.tensors[name], self._elements(name))
        place = self.in_whole(name)
        # Kernels may read a little around their operands: only a copy writes into the buffer that it reads.
        if place is None or (self._reads_buffer(place.buffer) and not isinstance(self._operation, Concat)):
            place = None if over is None else over.place
        self._blocked[name] = self.map_of(form) if place is None else form.at(place)
        return self._blocked[name]

    def is_blocked(self, name: TensorId) -> bool:
        """Whether there is a blocked form already."""
        return name in self._blocked

    def is_dense(self, *names: TensorId) -> bool:
        """Whether the tensors were computed dense and have no blocked form: another form would be a copy."""
        fixed = {*self.function.inputs, *self.program.variable_ids}
        return all(n in self._dense and n not in self._blocked and n not in fixed for n in names)

    def in_whole(self, name: TensorId) -> Place | None:
        """Where a blocked map's blocks stand in the whole that it is a part of, if it is."""
        home = self._joined.get(name)
        if home is None:
            return None
        whole = blocked_form(self.tensors[home.whole], self._elements(home.whole))
        block_bytes = whole.pixels * LANES * whole.element_bytes
        buffer = Buffer(f"joined {home.whole}", whole.nbytes, Space.ARENA, element_bytes=whole.element_bytes)
        joined = self._placed(buffer)
        return joined + home.channel // LANES * block_bytes

    def settle(self, parts: Sequence[TensorId]) -> None:
        """Their whole is written, and may be overwritten: forms that these get later lie apart from it."""
        for name in parts:
            self._joined.pop(name, None)

    def lies_at(self, name: TensorId, place: Place) -> None:
        """The tensor's blocked form stands at `place` already."""
        self._blocked[name] = blocked_form(self.tensors[name], self._elements(name)).at(place)

    def overwritable(self, name: TensorId) -> Blocked | None:
        """The tensor's blocked form if this operation is the last that reads it or others in its buffer."""
        found = self._blocked.get(name)
        if found is None or not self._dies_here(name):
            return None
        beside = (other for other, map_ in self._blocked.items() if map_.place.buffer == found.place.buffer)
        return found if all(map(self._dies_here, beside)) else None

    def overwritable_bfloat16(self, name: TensorId) -> Blocked | None:
        """The tensor's form in bfloat16 if this operation is the last that reads it, else None."""
        return self._bfloat16.get(name) if self._dies_here(name) else None

    def rename(self, source: TensorId, name: TensorId) -> None:
        """`name` is the same bytes as `source`: every form of the one is a form of the other."""
        existing = self._blocked.get(source) if self._subtracted(source) == self._subtracted(name) else None
        if existing is None or source in self._dense or self.value(source) is not None:
            place = self.read(source)
            home = self._output_of.get(name)
            settled = home is None or self._drafted.buffers[place.buffer] == self._output_buffer(home)
            if settled and not self._changes(place):
                self._dense[name] = place
            else:
                self.call("copy_bytes", place, self.write(name), self.tensors[name].nbytes)
        if existing is not None:
            self._blocked[name] = existing

    def finish(self, before: int = 0, after: int = 0) -> Plan:
        """The plan: outputs in the caller's buffers, every arena buffer at its offset."""
        self.step += 1
        for index, name in enumerate(self.function.outputs):
            target = self._placed(self._output_buffer(index))
            if self.read(name) != target:
                source, nbytes = self.read(name), self.tensors[name].nbytes
                self._convert(Conversion(name, "output"), "copy_bytes", source, target, nbytes)
        return assembled(self._drafted, self.function, self.tensors, before, after)

    def _subtracted(self, name: TensorId) -> tuple[int, ...]:
        """What the kernels from and to dense tensors take last."""
        elements = self._elements(name)
        return (elements.subtracted(self.tensors[name].zero_point),) if elements.shifted else ()

    def _elements(self, name: TensorId) -> MapElements:
        """What a blocked map of the tensor holds."""
        return FLOATS if self.tensors[name].dtype == "float32" else self._int8_elements

    @property
    def _operation(self) -> Operation:
        return self.function.operations[self.step]

    def _reads_buffer(self, buffer: str) -> bool:
        forms = (self._blocked.get(name) for name in self._operation.inputs)
        return any(form is not None and form.place.buffer == buffer for form in forms)

    def _unpack(self, name: TensorId) -> None:
        narrow = name not in self._blocked and name in self._bfloat16
        source, target = (self._bfloat16 if narrow else self._blocked)[name], self._dense[name]
        images, pixels, channels = _as_one_row(source)
        for image in range(images):
            self._convert(
                Conversion(name, "dense"),
                (BFLOATS if narrow else self._elements(name)).unpack,
                source.place + image * source.image_bytes,
                target + image * pixels * channels * self._item_bytes(name),
                pixels,
                channels,
                *self._subtracted(name),
            )

    def _item_bytes(self, name: TensorId) -> int:
        """Bytes of a dense element."""
        return self.tensors[name].nbytes // self.tensors[name].size

    def _new(self, name: TensorId, nbytes: int) -> Place:
        if name in self._output_of:
            return self._placed(self._output_buffer(self._output_of[name]))
        return self._placed(Buffer(f"tensor {name}", nbytes, Space.ARENA))

    def _output_buffer(self, index: int) -> Buffer:
        name = self.function.outputs[index]
        return Buffer(f"output {index}", self.tensors[name].nbytes, Space.OUTPUT, index)

    def _placed(self, buffer: Buffer) -> Place:
        self._drafted.buffers[buffer.name] = buffer
        return Place(buffer.name)

    def _changes(self, place: Place) -> bool:
        """Whether the place holds a variable that this function overwrites."""
        updated = {f"variable {name}" for op in self.function.operations for name in op.updates}
        return place.buffer in updated

    def _space(self, place: Place) -> Space:
        return self._drafted.buffers[place.buffer].space

    def _dies_here(self, name: TensorId) -> bool:
        return self._last_use.get(name, ALWAYS) <= self.step


def _as_one_row(form: Blocked) -> tuple[int, int, int]:
    """Images, pixels and channels to convert: rows of whole blocks lie as one long row does."""
    if form.pixels == 1 and form.channels % LANES == 0:
        return 1, 1, form.images * form.channels
    return form.images, form.pixels, form.channels
