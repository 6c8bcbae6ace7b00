"""The driver over the loopback broker: forged reports change nothing, a forgetful broker is asked again."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lepton_fleet.home import FleetHome, FleetSettings
from lepton_fleet.release import publish
from lepton_fleet.rollout import Rollout, Stage
from lepton_fleet.rollout_driver import RolloutDriver
from lepton_fleet.rollout_plan import RolloutPolicy, Share
from lepton_fleet.rollout_start import begin_or_resume
from lepton_sdk.agent.agent import DeviceAgent
from lepton_sdk.agent.record import Answer, ProbationPolicy, Reason, Record, Result
from lepton_sdk.agent.shadow import report_of
from lepton_sdk.wire.identity import AllowList, Identity
from lepton_sdk.wire.loopback import LoopbackBroker
from lepton_sdk.wire.topics import Topics
from lepton_targets.errors import UsageError
from support import bundles
from support.devices import wait_for

POLICY = RolloutPolicy((Share(fraction=1.0),), probation=ProbationPolicy(0.0, 0, 20.0), wave_timeout_s=20.0)


class Plant:
    """A fleet of one device and its roll-out, which runs on a thread."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.broker, self.device = folder, LoopbackBroker(), Identity.generate()
        self.key = folder / "publisher.pem"
        Identity.load_or_create(self.key)
        self.home = FleetHome.create(folder / "fleet", FleetSettings(tenant="plant"))
        self.allow = AllowList([self.device.public])
        publish(self.home, bundles.write(folder / "tiny.lep", key=self.key), self.key)
        self.topics = Topics("plant")
        self.ended: list[Rollout] = []

    def roll_out(self, policy: RolloutPolicy = POLICY, ask_again_s: float = 0.1) -> RolloutDriver:
        begun = begin_or_resume(self.home, None, self.allow, policy)
        driver = RolloutDriver(
            self.home,
            self.broker.transport(),
            begun.rollout,
            begun.statement,
            self.allow,
            ask_again_s=ask_again_s,
        )
        threading.Thread(target=lambda: self.ended.append(driver.run()), daemon=True).start()
        return driver

    def agent(self) -> DeviceAgent:
        return DeviceAgent(
            self.broker.transport(),
            self.device,
            self.folder / "slots",
            server_key=self.home.server().public,
            trust=[self.key.with_suffix(".pub.pem")],
            tenant="plant",
            engine="reference",
            check_interval_s=0.02,
        )


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return Plant(tmp_path)


@pytest.fixture
def agent(plant: Plant) -> Iterator[DeviceAgent]:
    agent = plant.agent()
    yield agent
    agent.close()


def test_a_device_confirms_and_a_later_rollout_of_the_same_release_confirms_at_once(
    plant: Plant, agent: DeviceAgent
) -> None:
    agent.start()
    plant.roll_out()
    wait_for(lambda: plant.ended)
    assert plant.ended[0].stage is Stage.COMPLETED
    downloads = len([m for m in plant.broker.log if m.topic.endswith("down/block")])
    plant.roll_out()
    wait_for(lambda: len(plant.ended) == 2)
    assert plant.ended[1].stage is Stage.COMPLETED
    assert len([m for m in plant.broker.log if m.topic.endswith("down/block")]) == downloads


def test_a_broker_that_forgets_everything_delays_and_loses_nothing(plant: Plant, agent: DeviceAgent) -> None:
    plant.roll_out()
    wait_for(lambda: any(message.topic.endswith("desired") for message in plant.broker.log))
    plant.broker.stop()
    plant.broker.restart()
    agent.start()
    wait_for(lambda: plant.ended)
    assert plant.ended[0].stage is Stage.COMPLETED


def test_forged_replayed_and_strange_reports_change_nothing(plant: Plant) -> None:
    driver = plant.roll_out()
    wait_for(lambda: driver.rollout.wave == 0)
    stranger, device = Identity.generate(), plant.device
    wire = plant.broker.transport()
    wire.start()
    said = Record(answer=Answer(driver.rollout.plan.sequence, 1, Result.CONFIRMED))
    old = Record(answer=Answer(driver.rollout.plan.sequence - 1, 1, Result.CONFIRMED))
    reported = plant.topics.reported(device.device_id)
    for payload in (
        report_of(said, "plant", (), stranger),
        report_of(said, "other", (), device),
        report_of(old, "plant", (), device),
        b"",
        b"\xa1",
    ):
        wire.publish(reported, payload)
    wire.publish(plant.topics.reported(stranger.device_id), report_of(said, "plant", (), stranger))
    wait_for(lambda: sum(driver.counts.values()) >= 6)
    assert driver.counts["reports"] == 1
    assert driver.rollout.fates == {}
    wire.publish(reported, report_of(said, "plant", (), device))
    wait_for(lambda: plant.ended)
    assert plant.ended[0].stage is Stage.COMPLETED


def test_a_device_that_reports_without_pause_does_not_hold_a_wave(plant: Plant) -> None:
    driver = plant.roll_out(dataclasses.replace(POLICY, wave_timeout_s=0.5))
    wait_for(lambda: driver.rollout.wave == 0)
    old = Record(answer=Answer(driver.rollout.plan.sequence - 1, 1, Result.CONFIRMED))
    payload = report_of(old, "plant", (), plant.device)
    wire = plant.broker.transport()
    wire.start()
    until = time.monotonic() + 5.0
    while not plant.ended and time.monotonic() < until:
        wire.publish(plant.topics.reported(plant.device.device_id), payload)
    assert plant.ended
    assert plant.ended[0].stage is Stage.INCOMPLETE


def test_a_device_that_was_away_gets_the_release_by_the_same_command(
    plant: Plant, agent: DeviceAgent
) -> None:
    plant.roll_out(dataclasses.replace(POLICY, wave_timeout_s=0.3))
    wait_for(lambda: plant.ended)
    assert plant.ended[0].stage is Stage.INCOMPLETE
    agent.start()
    plant.roll_out()
    wait_for(lambda: len(plant.ended) == 2)
    assert plant.ended[1].stage is Stage.COMPLETED
    assert plant.ended[1].plan == plant.ended[0].plan


def test_options_that_an_older_plan_contradicts_are_named(plant: Plant) -> None:
    policy = dataclasses.replace(POLICY, wave_timeout_s=0.3)
    plant.roll_out(policy)
    wait_for(lambda: plant.ended)
    other = dataclasses.replace(policy, waves=(Share(count=1),), max_failures=2)
    with pytest.raises(UsageError, match="--waves 100%; --waves 1 was asked"):
        begin_or_resume(plant.home, None, plant.allow, other, given=["--waves"])
    for given in ((), ("--wave-timeout",)):
        assert begin_or_resume(plant.home, None, plant.allow, other, given=given).resumes


def test_a_stopped_release_is_not_rolled_out_again(plant: Plant) -> None:
    driver = plant.roll_out()
    wait_for(lambda: driver.rollout.wave == 0)
    answer = Answer(driver.rollout.plan.sequence, 1, Result.REFUSED, Reason.SELF_TEST)
    wire = plant.broker.transport()
    wire.start()
    report = report_of(Record(answer=answer), "plant", (), plant.device)
    wire.publish(plant.topics.reported(plant.device.device_id), report)
    wait_for(lambda: plant.ended)
    assert plant.ended[0].stage is Stage.STOPPED
    with pytest.raises(UsageError, match="publish it"):
        begin_or_resume(plant.home, None, plant.allow, POLICY)
