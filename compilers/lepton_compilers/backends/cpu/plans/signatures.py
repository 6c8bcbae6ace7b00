"""The parameters of every micro-kernel by name, read from the headers.

Rules then speak of `oh`, not of the seventh integer.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

from lepton_compilers.backends.cpu.plans.headers import kernel_header
from lepton_compilers.backends.cpu.plans.plan import Call, Place

_PARAMETER_MACROS = "finish.h"
"""Where the parameters stand that several headers' kernels share."""

_MACRO = re.compile(r"#define (\w+)[ \t]+((?:.*\\\n)*.*)\n")
_FAMILY = re.compile(r"#define (\w+)\((\w+), \w+\)\s*\\\n\s*LEPTON_KERNEL void (\w+?)##\2\(([^)]*)\)")
"""A macro that makes kernels which differ by a name and a value."""
_KERNEL = re.compile(r"LEPTON_KERNEL void (\w+)\(([^)]*)\)\s*\{")


@functools.cache
def parameters(header: str) -> Mapping[str, tuple[str, ...]]:
    """Names of the parameters of every kernel in a header, as they are spelled there."""
    text = kernel_header(header)
    found_macros = _MACRO.findall(kernel_header(_PARAMETER_MACROS) + text)
    macros = {name: body.replace("\\\n", " ") for name, body in found_macros}
    found = {}
    for kernel, listed in _KERNEL.findall(text):
        for name, body in macros.items():
            listed = re.sub(rf"\b{name}\b", body.replace("\\", r"\\"), listed)
        found[kernel] = tuple(_name(parameter) for parameter in listed.split(","))
    for macro, _, prefix, listed in _FAMILY.findall(text):
        for name in re.findall(rf"^{macro}\((\w+),", text, re.MULTILINE):
            found[prefix + name] = tuple(_name(parameter) for parameter in listed.split(","))
    return found


def _name(parameter: str) -> str:
    return str(re.findall(r"\w+", parameter)[-1])


class Arguments:
    """A call's arguments by their parameters' names."""

    def __init__(self, call: Call, names: tuple[str, ...]) -> None:
        """Raises ValueError where the kernel takes another number of arguments."""
        self._values = dict(zip(names, call.arguments, strict=True))

    def __getitem__(self, name: str) -> int:
        value = self._values[name]
        assert isinstance(value, int)
        return value

    @property
    def names(self) -> tuple[str, ...]:
        """All parameters' names, in their order."""
        return tuple(self._values)

    @property
    def pointers(self) -> tuple[str, ...]:
        """Names of the parameters that are addresses."""
        return tuple(name for name, value in self._values.items() if isinstance(value, Place))

    def has(self, name: str) -> bool:
        """Whether the kernel has a parameter of that name."""
        return name in self._values

    def place(self, name: str) -> Place:
        """The address passed for a pointer."""
        value = self._values[name]
        assert isinstance(value, Place)
        return value

    def inserted(self, after: str, **literals: int) -> Arguments:
        """Those of a kernel that takes further integers behind the parameter `after`."""
        values: dict[str, Place | int] = {}
        for name, value in self._values.items():
            values[name] = value
            if name == after:
                values |= literals
        return Arguments(Call("", tuple(values.values())), tuple(values))

    def changed(self, **changes: int) -> tuple[Place | int, ...]:
        """All arguments with some replaced; a pointer's change is the bytes to add to its address."""
        unknown = changes.keys() - self._values.keys()
        if unknown:
            raise KeyError(f"no parameters {sorted(unknown)}")
        values: list[Place | int] = []
        for name, value in self._values.items():
            change = changes.get(name)
            if change is None:
                values.append(value)
            else:
                values.append(value + change if isinstance(value, Place) else change)
        return tuple(values)
