"""C around the calls that fall into parts: forks, and the pool of threads that may serve them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lepton_compilers.backends.cpu.plans.plan import Call, Plan
from lepton_sdk.runtime import source

_OWN_INCLUDE = re.compile(r'^#include "lepton_\w+\.h"\n', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Fork:
    """The plan's calls from `first` up to `end`, whose parts run at the same time."""

    first: int
    end: int
    parts: tuple[Call, ...]


def forks(plan: Plan) -> dict[int, Fork]:
    """What falls into parts, by the place of its first call in the plan."""
    ends = dict(plan.together)
    found: dict[int, Fork] = {}
    number = 0
    while number < len(plan.calls):
        end = ends.get(number, number + 1)
        parts = tuple(part for call in plan.calls[number:end] for part in call.parts)
        if parts:
            found[number] = Fork(number, end, parts)
        number = end
    return found


def part_name(function: str, number: int) -> str:
    """C function that does one part of a call."""
    return f"part_{function}_{number}"


def fork_name(function: str, number: int) -> str:
    """C function that has all parts of a call done."""
    return f"fork_{function}_{number}"


def fork_source(function: str, pointers: Sequence[str], forked: Mapping[int, Fork]) -> str:
    """The forks: through the caller's lepton_parallel where there is one, else part after part.

    pointers: names of the arguments that every part takes before its index. Always inlined: timed code has a
    second call of each, and without it the first would be.
    """
    fields = "\n".join(f"  uint8_t *{name};" for name in pointers)
    values = ", ".join(f"p->{name}" for name in pointers)
    text = [f"struct pointers_{function} {{\n{fields}\n  const lepton_parallel *parallel;\n}};"]
    for number, fork in forked.items():
        run, count = f"run_{function}_{number}", sum(part.times for part in fork.parts)
        text.append(
            f"""static void {run}(void *arguments, int index) {{
  const struct pointers_{function} *p = (const struct pointers_{function} *)arguments;
  {part_name(function, number)}({values}, index);
}}
static inline __attribute__((always_inline)) void {fork_name(function, number)}(uint8_t *arguments) {{
  const lepton_parallel *parallel = ((const struct pointers_{function} *)(void *)arguments)->parallel;
  if (parallel)
    parallel->for_(parallel->context, {run}, arguments, {count});
  else
    for (int i = 0; i < {count}; i++) {run}(arguments, i);
}}"""
        )
    return "\n".join(text)


def pool_source() -> str:
    """The pool, exported: a session lends it its threads."""
    text = source("lepton_pool.h")
    return '#define LEPTON_POOL_API __attribute__((visibility("default")))\n' + _OWN_INCLUDE.sub("", text)
