"""The demo, step by step: each chapter takes what earlier ones made and returns what it found out."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lepton_fleet.broker import EmbeddedBroker
from lepton_fleet.demo.digits import Digits, Examples, load_digits
from lepton_fleet.demo.network import small_cnn
from lepton_fleet.demo.processes import Service, lepton_json
from lepton_sdk.durable import write_durably
from lepton_sdk.wire.identity import Identity

DEVICES = 4
ROUNDS = 4
FIRST_EPOCHS = 12
LOCAL = {"epochs": 2, "learning_rate": 0.02, "momentum": 0.9, "seed": 1}
ROUND_TIMEOUT_S = 120.0
PROBATION_S = 0.5

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the demo found; accuracies are fractions of the test set, int8 models unless by round."""

    accuracy_before: float
    accuracy_after: float
    accuracy_by_round: list[float]
    devices: int
    updates_sent: int
    updates_counted: int
    updates_lost: int
    rollout: dict[str, int]
    latency_us: float
    seconds: float

    def failures(self) -> list[str]:
        """What went wrong, in words; empty when everything was as it must be."""
        found = []
        if not self.accuracy_after > self.accuracy_before:
            found.append(f"accuracy did not rise: {self.accuracy_before:.3f} → {self.accuracy_after:.3f}")
        if self.updates_lost or self.updates_counted != self.updates_sent:
            found.append(f"{self.updates_sent} updates were sent, {self.updates_counted} counted")
        if self.rollout != {"confirmed": self.devices, "rolled_back": 0}:
            found.append(f"the roll-out ended with {self.rollout} on {self.devices} devices")
        return found


@dataclass(frozen=True, slots=True)
class Workshop:
    """Folders and files of one run."""

    root: Path

    @property
    def model(self) -> Path:
        return self.root / "digits.onnx"

    @property
    def vendor_key(self) -> Path:
        """Signs bundles; devices trust its public half."""
        return self.root / "vendor.pem"

    @property
    def fleet(self) -> Path:
        return self.root / "fleet"

    def device(self, index: int) -> Path:
        return self.root / f"device-{index + 1}"

    def log(self, name: str) -> Path:
        return self.root / "logs" / f"{name}.log"

    def examples(self, name: str) -> Path:
        return self.root / f"{name}.npz"


def run_demo(root: Path, tell: Tell) -> Outcome:
    """Tell the whole story in the folder `root`. Raises LeptonError where a part fails."""
    start = time.monotonic()
    shop = Workshop(root)
    digits = load_digits(DEVICES)
    prepare(shop, digits)

    tell(f"{len(digits.first)} digits at the vendor, {_shares(digits)} on {DEVICES} devices")
    trainable = compile_trainable(shop)
    base = first_training(shop, trainable, digits.first)
    first = compile_int8(shop, base, "first")
    accuracy_before = evaluate(shop, first)
    tell(f"first model, int8, signed: {accuracy_before:.1%} of {len(digits.test)} test digits")

    with EmbeddedBroker() as broker, contextlib.ExitStack() as services:
        configure(shop, broker, trainable, base)
        devices = [
            Service(
                f"device-{i + 1}", "device", "run", "--config", shop.device(i) / "device.toml", "--json",
                log=shop.log(f"device-{i + 1}"),
            )
            for i in range(DEVICES)
        ]  # fmt: skip
        for device in devices:
            services.callback(device.stop)
        roll_out(shop, first)
        tell(f"{DEVICES} devices run it; broker: {broker.kind}")

        rounds = federated_rounds(shop, devices, tell)
        second = compile_int8(shop, rounds.model, "second")
        accuracy_after = evaluate(shop, second)
        tell(f"improved model, int8, signed: {accuracy_after:.1%}")
        rollout = roll_out(shop, second)
        tell(f"rolled out: {rollout['confirmed']} confirmed, {rollout['rolled_back']} rolled back")
    latency = lepton_json("bench", second, log=shop.log("bench"))["latency_us"]["median"]
    return Outcome(
        accuracy_before=accuracy_before,
        accuracy_after=accuracy_after,
        accuracy_by_round=rounds.accuracy,
        devices=DEVICES,
        updates_sent=rounds.sent,
        updates_counted=rounds.counted,
        updates_lost=rounds.sent - rounds.counted,
        rollout=rollout,
        latency_us=latency,
        seconds=round(time.monotonic() - start, 1),
    )


# ---- chapters


def prepare(shop: Workshop, digits: Digits) -> None:
    """The model file, everybody's examples, the vendor's key."""
    import onnx

    (shop.root / "logs").mkdir(parents=True, exist_ok=True)
    onnx.save(small_cnn(), shop.model)
    for name, examples in (("first", digits.first), ("test", digits.test)):
        _save(shop.examples(name), examples)
    for index, share in enumerate(digits.devices):
        shop.device(index).mkdir()
        _save(shop.device(index) / "examples.npz", share)
    lepton_json("keygen", "-o", shop.vendor_key, log=shop.log("keygen"))


def compile_trainable(shop: Workshop) -> Path:
    """The bundle that trains: float32, every layer, forward and backward as machine code."""
    out = shop.root / "trainable.lep"
    options = ("--trainable", "all", "--sign", shop.vendor_key, "-o", out)
    lepton_json("compile", shop.model, *options, log=shop.log("compile-trainable"))
    return out


def first_training(shop: Workshop, trainable: Path, examples: Examples) -> Path:
    """Train from fresh weights on the vendor's few examples, with the trainer that devices use."""
    from lepton_sdk.trainer import Trainer

    trainer = Trainer(trainable, trust=[_public(shop.vendor_key)])
    trainer.fit(
        examples.features, examples.labels, epochs=FIRST_EPOCHS, learning_rate=0.02, momentum=0.9, seed=0
    )
    base = shop.root / "first.safetensors"
    trainer.save_weights(base)
    return base


def compile_int8(shop: Workshop, weights: Path, name: str) -> Path:
    """The bundle that devices run: int8, calibrated on the vendor's examples, signed."""
    out = shop.root / f"{name}.lep"
    options = ("--quantize", "int8", "--calibration", shop.examples("first"), "--weights", weights)
    lepton_json(
        "compile", shop.model, *options, "--sign", shop.vendor_key, "-o", out, log=shop.log(f"compile-{name}")
    )
    return out


def evaluate(shop: Workshop, bundle: Path) -> float:
    """Accuracy on the test digits."""
    result = lepton_json("eval", bundle, "--data", shop.examples("test"), log=shop.log("eval"))
    return float(result["accuracy"])


def configure(shop: Workshop, broker: EmbeddedBroker, trainable: Path, base: Path) -> None:
    """Keys and TOML files: the fleet's folder, the aggregator, and every device, each enrolled."""
    address = {"host": broker.host, "port": broker.port}
    where = f"{broker.host}:{broker.port}"
    lepton_json("fleet", "init", shop.fleet, "--broker", where, log=shop.log("fleet-init"))
    enrolled = shop.fleet / "devices"
    for index in range(DEVICES):
        folder = shop.device(index)
        identity = Identity.load_or_create(folder / "device.pem")
        shutil.copy(_public(folder / "device.pem"), enrolled / f"{identity.device_id}.pub.pem")
        _write_toml(
            folder / "device.toml",
            broker=address,
            device={"key": "device.pem", "server_key": str(_public(shop.fleet / "server.pem"))},
            federated={
                "job": "digits",
                "bundle": str(trainable),
                "data": "examples.npz",
                "trust": [str(_public(shop.vendor_key))],
                "rounds": ROUNDS,
            },
            agent={"slots": "slots", "trust": [str(_public(shop.vendor_key))], "check_interval_s": 0.2},
        )
    _write_toml(
        shop.root / "aggregator.toml",
        broker=address,
        server={"key": str(shop.fleet / "server.pem"), "allow": str(enrolled)},
        job={"name": "digits", "rounds": ROUNDS, "base": str(base), "state": "state", "output": "models"},
        round={"min_devices": DEVICES, "selection_s": 10.0, "deadline_s": 30.0},
        training=LOCAL,
        evaluation={"bundle": str(trainable), "data": str(shop.examples("test"))},
    )


@dataclass(frozen=True, slots=True)
class Rounds:
    """What the federated rounds gave: the last model's weights, float accuracy by round, exact counts."""

    model: Path
    accuracy: list[float]
    sent: int
    counted: int


def federated_rounds(shop: Workshop, devices: list[Service], tell: Tell) -> Rounds:
    """Run the aggregator to its end, then ask every device how many updates it sent."""
    aggregator = Service(
        "aggregator", "aggregator", "run", "--config", shop.root / "aggregator.toml", "--json",
        log=shop.log("aggregator"),
    )  # fmt: skip
    accuracy: list[float] = []
    model, counted = None, 0
    try:
        for event in aggregator.events(ROUND_TIMEOUT_S):
            if event["event"] == "round_committed":
                accuracy.append(float(event["accuracy"]))
                model = Path(event["model"])
                tell(
                    f"round {event['round']}: {event['n_updates']} updates, {event['n_examples']} examples, "
                    f"float accuracy {accuracy[-1]:.1%}"
                )
            elif event["event"] == "finished":
                counted = int(event["updates_counted"])
    finally:
        aggregator.stop()
    assert model is not None  # a job that ends well has committed its rounds
    return Rounds(model, accuracy, sum(_updates_sent(device) for device in devices), counted)


def roll_out(shop: Workshop, bundle: Path) -> dict[str, int]:
    """Publish a release and roll it out in waves: one device, then all."""
    home = ("--home", shop.fleet)
    lepton_json("fleet", "release", bundle, "--key", shop.vendor_key, *home, log=shop.log("release"))
    options = ("--waves", "1,100%", "--probation-seconds", PROBATION_S)
    result = lepton_json("fleet", "rollout", *options, *home, log=shop.log("rollout"))
    return {"confirmed": int(result["confirmed"]), "rolled_back": int(result["rolled_back"])}


def _updates_sent(device: Service) -> int:
    """Distinct updates a device offered, by its own account."""
    offered = set()
    for event in device.events(ROUND_TIMEOUT_S):
        if event["event"] == "update_offered":
            offered.add(event["update_id"])
        elif event["event"] == "finished":
            break
    return len(offered)


def _save(path: Path, examples: Examples) -> None:
    np.savez(path, image=examples.features, labels=examples.labels)


def _public(private: Path) -> Path:
    return private.with_suffix(".pub.pem")


def _shares(digits: Digits) -> str:
    return " + ".join(str(len(share)) for share in digits.devices)


def _write_toml(path: Path, **sections: dict[str, Any]) -> None:
    """Sections of plain values; JSON's text, number and list forms are TOML's too."""
    lines = []
    for name, values in sections.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""]
    write_durably(path, "\n".join(lines).encode())
