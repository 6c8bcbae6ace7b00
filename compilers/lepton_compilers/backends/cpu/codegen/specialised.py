"""A C function for every kernel and set of literals that a program calls, so that equal layers share code.

A kernel is inlined into each of its uses; in one function of a whole network the C compiler would specialise
every layer anew, and take longer for each the more there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lepton_compilers.backends.cpu.plans.plan import Call, Plan

Form = tuple[str, tuple[int | None, ...]]
"""A kernel and its arguments: literals, None for addresses."""


class Specialised:
    """Names of the functions that do what the calls of `plans` do; kernels made for one program stay."""

    def __init__(self, plans: Iterable[Plan]) -> None:
        self._names: dict[Form, str] = {}
        for plan in plans:
            for call in _all(plan.calls):
                if call.kernel not in plan.sources:
                    self._names.setdefault(_form(call), f"{call.kernel}_{len(self._names)}")

    def name(self, call: Call) -> str | None:
        """The function that takes only the call's addresses; None where the kernel itself is called."""
        return self._names.get(_form(call))

    def source(self) -> str:
        """The functions, each before what calls it."""
        return "\n".join(_function(name, form) for form, name in self._names.items())


def _all(calls: Iterable[Call]) -> Iterator[Call]:
    """The calls that are made: parts in place of what falls into them."""
    for call in calls:
        yield from call.parts or (call,)


def _form(call: Call) -> Form:
    return call.kernel, tuple(a if isinstance(a, int) else None for a in call.arguments)


def _function(name: str, form: Form) -> str:
    kernel, arguments = form
    pointers = [f"p{i}" for i, value in enumerate(arguments) if value is None]
    values = [f"p{i}" if value is None else _literal(value) for i, value in enumerate(arguments)]
    parameters = ", ".join(f"uint8_t *{pointer}" for pointer in pointers) or "void"
    return f"LEPTON_SHARED void {name}({parameters}) {{ {kernel}({', '.join(values)}); }}"


def _literal(value: int) -> str:
    return str(value) if value > -(2**31) else f"({value + 1} - 1)"
