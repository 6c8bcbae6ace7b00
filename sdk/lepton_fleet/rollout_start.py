"""How a roll-out begins: from a new plan, or from where an interrupted or incomplete one stood."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from lepton_fleet.home import FleetHome
from lepton_fleet.rollout import Rollout, Stage, resumed
from lepton_fleet.rollout_plan import RolloutPolicy, plan_rollout
from lepton_sdk.wire.identity import AllowList
from lepton_targets.errors import UsageError


@dataclass(frozen=True, slots=True)
class Beginning:
    """A roll-out to be driven, the release's signed statement, and whether it goes on with an older plan."""

    rollout: Rollout
    statement: bytes
    resumes: bool


def begin_or_resume(
    home: FleetHome,
    counter: int | None,
    allow: AllowList,
    policy: RolloutPolicy,
    *,
    given: Collection[str] = (),
    dry_run: bool = False,
) -> Beginning:
    """The roll-out of a release (None: of the last).

    An interrupted or incomplete one goes on with the plan it began with. A completed one begins anew, so that
    devices left out or enrolled since get the release; those that run it confirm at once.

    given: options of `policy` that were asked for, which an older plan must agree with. dry_run: take no
    sequence number. Raises UsageError for a stopped one, and for options that an older plan contradicts.
    """
    release, statement = home.release(counter)
    before = home.rollout(release.counter)
    if before is None or before.stage is Stage.COMPLETED:
        sequence = 0 if dry_run else home.next_sequence()
        return Beginning(Rollout(plan_rollout(allow.keys, release, policy, sequence)), statement, False)
    if before.stage is Stage.STOPPED:
        raise UsageError(
            f"the roll-out of release {release.counter} was stopped ({before.reason})",
            "devices do not try a release again: mend the model and publish it with `lepton fleet release`",
        )
    _refuse_other_options(before, policy, given)
    return Beginning(resumed(before), statement, True)


def _refuse_other_options(before: Rollout, policy: RolloutPolicy, given: Collection[str]) -> None:
    kept, asked = before.plan.policy.options(), policy.options()
    other = [name for name in kept if name in given and kept[name] != asked[name]]
    if other:
        was = " ".join(f"{name} {kept[name]}" for name in other)
        wanted = " ".join(f"{name} {asked[name]}" for name in other)
        raise UsageError(
            f"the roll-out of release {before.plan.counter} is under way with {was}; {wanted} was asked for",
            "it goes on with the plan it began with: leave these options away; once it is completed, "
            "roll the release out again with others",
        )
