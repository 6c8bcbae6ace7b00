"""How a roll-out begins: from a new plan, or from where an interrupted one stood."""

from __future__ import annotations

import logging

from lepton_fleet.home import FleetHome
from lepton_fleet.rollout import Rollout, Stage
from lepton_fleet.rollout_plan import RolloutPlan, RolloutPolicy, plan_rollout
from lepton_sdk.wire.identity import AllowList
from lepton_targets.errors import UsageError

logger = logging.getLogger(__name__)


def planned(home: FleetHome, counter: int | None, allow: AllowList, policy: RolloutPolicy) -> RolloutPlan:
    """The plan that `begin_or_resume` would carry out; nothing is written (sequence 0 in a new one)."""
    release, _ = home.release(counter)
    unfinished = home.rollout(release.counter)
    if unfinished is not None and unfinished.stage is not Stage.COMPLETED:
        return unfinished.plan
    return plan_rollout(allow.keys, release, policy, sequence=0)


def begin_or_resume(
    home: FleetHome, counter: int | None, allow: AllowList, policy: RolloutPolicy
) -> tuple[Rollout, bytes]:
    """The roll-out of a release, with the release's signed statement.

    An interrupted one goes on with the plan it began with. A completed one begins anew, so that devices
    enrolled since get the release; those that run it confirm at once. Raises UsageError for a stopped one.
    """
    release, statement = home.release(counter)
    before = home.rollout(release.counter)
    if before is not None and before.stage is Stage.STOPPED:
        raise UsageError(
            f"the roll-out of release {release.counter} was stopped ({before.reason})",
            "devices do not try a release again: mend the model and publish it with `lepton fleet release`",
        )
    if before is not None and before.stage is not Stage.COMPLETED:
        logger.info("release %d: going on in wave %d", release.counter, before.wave + 1)
        return before, statement
    plan = plan_rollout(allow.keys, release, policy, home.next_sequence())
    return Rollout(plan), statement
