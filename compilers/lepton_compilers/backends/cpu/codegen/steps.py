"""What a plan does from one stamp to the next: the steps that `lepton bench --layers` times.

A step is an operation's calls of one kernel, one behind another, or a fork's, which run at the same time; or
what brings a tensor into another form. Steps are what the bundle says of the code (`lepton_sdk.steps`).
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass

from lepton_compilers.backends.cpu.codegen.regions import forks
from lepton_compilers.backends.cpu.plans.plan import Plan
from lepton_sdk.steps import Step


@dataclass(frozen=True, slots=True)
class Stretch:
    """The plan's calls from `first` up to `end`, as the step that they are."""

    first: int
    end: int
    step: Step


def stretches(plan: Plan) -> tuple[Stretch, ...]:
    """All calls of the plan, in order."""
    owners = {call: layer.operations for layer in plan.layers for call in range(layer.first, layer.end)}
    forked = forks(plan)
    single: list[Stretch] = []
    number = 0
    while number < len(plan.calls):
        fork = forked.get(number)
        end = number + 1 if fork is None else fork.end
        conversion = plan.conversions.get(number)
        step = Step(
            kernels=tuple(dict.fromkeys(call.kernel for call in plan.calls[number:end])),
            operations=() if conversion else owners.get(number, ()),
            converts=conversion.tensor if conversion else None,
            into=conversion.into if conversion else None,
            parts=sum(part.times for part in fork.parts) if fork else 1,
        )
        single.append(Stretch(number, end, step))
        number = end
    return tuple(_joined([*run]) for _, run in itertools.groupby(single, key=_kind))


def _kind(stretch: Stretch) -> tuple[object, ...]:
    step = stretch.step
    return step.kernels, step.operations, step.converts, step.into


def _joined(run: list[Stretch]) -> Stretch:
    parts = max(stretch.step.parts for stretch in run)
    return Stretch(run[0].first, run[-1].end, dataclasses.replace(run[0].step, parts=parts))
