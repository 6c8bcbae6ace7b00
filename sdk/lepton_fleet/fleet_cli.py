"""`lepton fleet …`: the fleet's folder, its releases, their roll-outs."""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lepton_sdk.cli.output import print_json, print_table

if TYPE_CHECKING:
    from lepton_fleet.home import FleetHome
    from lepton_fleet.rollout_start import Beginning
    from lepton_sdk.wire.mqtt import MqttTransport

fleet = typer.Typer(no_args_is_help=True, help="Publish releases and roll them out to devices.")

Home = Annotated[Path, typer.Option("--home", "-C", help="The fleet's folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
HERE = Path("fleet")
DEVICE_TOML = """\
    [broker]
    host = {host}
    port = {port}
    [device]
    key = "device.pem"
    server_key = "server.pub.pem"
    tenant = {tenant}
    [agent]
    slots = "slots"
    trust = ["publisher.pub.pem"]

  every key: examples/device.toml; for rounds: examples/aggregator.toml; step by step: docs/fleet.md"""


@fleet.command()
def init(
    home: Annotated[Path, typer.Argument(help="Folder to make.")] = HERE,
    tenant: Annotated[str, typer.Option(help="Name of the fleet in topics.")] = "default",
    broker: Annotated[str, typer.Option(help="HOST:PORT of the MQTT broker.")] = "127.0.0.1:1883",
    server_key: Annotated[
        Path | None, typer.Option(help="Private key of the server; made where it is not given.")
    ] = None,
    allow: Annotated[Path | None, typer.Option(help="Folder of the devices' public keys.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a fleet's folder: settings, the server's key, a place for releases."""
    from lepton_fleet.home import FleetHome, FleetSettings

    host, port = _address(broker)
    defaults = FleetSettings()
    settings = FleetSettings(
        tenant,
        defaults.server_key if server_key is None else str(server_key.resolve()),
        defaults.allow if allow is None else str(allow.resolve()),
        host,
        port,
    )
    made = FleetHome.create(home, settings)
    public = (home / settings.server_key).with_suffix(".pub.pem")
    fields = {
        "home": str(home),
        "tenant": tenant,
        "server_key_id": made.server().device_id,
        "server_public_key": str(public),
        "allow": str(home / settings.allow),
    }
    if as_json:
        print_json(fields)
    else:
        print(f"fleet {tenant} in {home}")
        print("  a device's own key:  lepton keygen -o device.pem   (on the device)")
        print(f"  enrol it:            lepton fleet enrol device.pub.pem --home {home}")
        print(f"  give it:             {public}, the publisher's public key, and a device.toml:\n")
        print(DEVICE_TOML.format(host=json.dumps(host), port=port, tenant=json.dumps(tenant)))


@fleet.command()
def enrol(
    keys: Annotated[list[Path], typer.Argument(help="Public keys of devices, KEY.pub.pem.")],
    home: Home = HERE,
    as_json: AsJson = False,
) -> None:
    """Let devices take part in rounds and roll-outs: their keys are copied into the fleet's folder."""
    from lepton_fleet.home import FleetHome

    enrolled = [{"device": device, "key": str(path)} for device, path in FleetHome(home).enrol(keys)]
    if as_json:
        print_json({"enrolled": enrolled})
        return
    for each in enrolled:
        print(f"{each['device']}  {each['key']}")


@fleet.command()
def release(
    bundle: Annotated[Path, typer.Argument(help="Signed bundle (.lep).")],
    key: Annotated[Path, typer.Option("--key", help="Private key that signed the bundle.")],
    home: Home = HERE,
    name: Annotated[str | None, typer.Option(help="Name in reports; the bundle's where not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Publish a signed bundle as the fleet's next release; its counter is one above the last."""
    from lepton_fleet.home import FleetHome
    from lepton_fleet.release import publish

    statement = publish(FleetHome(home), bundle, key, name)
    fields = {
        "release": statement.counter,
        "name": statement.name,
        "digest": statement.digest,
        "targets": sorted(statement.file_sha256),
        "bytes": dict(sorted(statement.file_bytes.items())),
    }
    if as_json:
        print_json(fields)
        return
    print(f"release {statement.counter}: {statement.name}, bundle {statement.digest[:16]}")
    rows = [(t, n, statement.file_sha256[t][:16]) for t, n in sorted(statement.file_bytes.items())]
    print_table(("target", "bytes", "sha256"), rows)


@fleet.command()
def rollout(
    context: typer.Context,
    home: Home = HERE,
    number: Annotated[int | None, typer.Option("--release", help="Counter; the last if not given.")] = None,
    waves: Annotated[
        str,
        typer.Option(
            help="How much of the fleet has it after each wave, growing, e.g. 1,10%,100%. The last named is "
            "the last: with 1 or 1,10% the other devices are left out, and 100% later goes on."
        ),
    ] = "1,50%,100%",
    max_failures: Annotated[int, typer.Option(help="Failures allowed in a wave.")] = 0,
    min_confirmed: Annotated[float, typer.Option(help="Part of a wave that must confirm.")] = 1.0,
    wave_timeout: Annotated[float, typer.Option(help="Seconds that a wave may take.")] = 600.0,
    probation_seconds: Annotated[float, typer.Option(help="Good health that confirms.")] = 10.0,
    probation_inferences: Annotated[int, typer.Option(help="Good inferences that confirm; 0: none.")] = 0,
    probation_timeout: Annotated[float, typer.Option(help="Seconds after which a device goes back.")] = 300.0,
    broker: Annotated[str | None, typer.Option(help="HOST:PORT instead of the settings'.")] = None,
    allow: Annotated[Path | None, typer.Option(help="Folder of device keys instead.")] = None,
    connect_timeout: Annotated[float, typer.Option(help="Seconds to wait for the broker.")] = 30.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and do nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Roll a release out wave by wave; goes on where it stood when it was interrupted.

    Outcomes: completed (exit 0); stopped (4): devices failed and it was taken back, for good; incomplete (5):
    devices were silent, and the same command goes on when they are back. With --json the last line is the
    result.
    """
    from lepton_fleet.home import FleetHome
    from lepton_fleet.rollout import Stage, summary
    from lepton_fleet.rollout_driver import RolloutDriver
    from lepton_fleet.rollout_plan import RolloutPolicy, Share
    from lepton_fleet.rollout_start import begin_or_resume
    from lepton_sdk.agent.record import ProbationPolicy

    opened = FleetHome(home)
    shares = tuple(Share.parse(text.strip()) for text in waves.split(","))
    probation = ProbationPolicy(probation_seconds, probation_inferences, probation_timeout)
    policy = RolloutPolicy(shares, max_failures, min_confirmed, wave_timeout, probation)
    allowed = opened.allow(allow)
    given = [
        option
        for option in policy.options()
        if _was_given(context, option.removeprefix("--").replace("-", "_"))
    ]
    if dry_run:
        beginning = begin_or_resume(opened, number, allowed, policy, given=given, dry_run=True)
        if as_json:
            print_json({"plan": beginning.rollout.plan.to_fields(), "resumed": beginning.resumes})
        else:
            _print_beginning(beginning)
        return
    with opened.lock("rollouts"):
        began = time.monotonic()
        beginning = begin_or_resume(opened, number, allowed, policy, given=given)
        transport = _transport(opened, broker)
        if not as_json:
            _print_beginning(beginning)
        driver = RolloutDriver(
            opened, transport, beginning.rollout, beginning.statement, allowed, on_event=_teller(as_json)
        )
        try:
            ended = driver.run(connect_timeout)
        finally:
            transport.close()
    result = {**summary(ended, time.monotonic() - began), "resumed": beginning.resumes}
    if as_json:
        print_json(result)
    else:
        columns = ("confirmed", "rolled_back", "refused", "failed", "pending")
        rows = [(w["wave"], *(w[c] for c in columns)) for w in result["waves"]]
        print_table(("wave", *columns), [*rows, ("all", *(result[c] for c in columns))])
        print(
            f"{result['outcome']} in {result['seconds']:.1f} s"
            + (f": {ended.reason}" if ended.reason else "")
            + (f"; {result['untouched']} devices untouched" if result["untouched"] else "")
        )
        if ended.stage is Stage.INCOMPLETE:
            print("the same command goes on once the silent devices are back")
    if ended.stage is not Stage.COMPLETED:
        raise typer.Exit(5 if ended.stage is Stage.INCOMPLETE else 4)


@fleet.command()
def serve(
    home: Home = HERE,
    broker: Annotated[str | None, typer.Option(help="HOST:PORT instead of the settings'.")] = None,
    allow: Annotated[Path | None, typer.Option(help="Folder of device keys instead.")] = None,
    connect_timeout: Annotated[float, typer.Option(help="Seconds to wait for the broker.")] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Give devices the published files until stopped (SIGTERM, Ctrl-C): a device that was away during a
    roll-out finishes its download then."""
    from lepton_fleet.blocks import BlockServer
    from lepton_fleet.home import FleetHome

    opened = FleetHome(home)
    transport = _transport(opened, broker)
    tenant = opened.settings.tenant
    server = BlockServer(transport, opened.server(), opened.blobs, tenant, opened.allow(allow))
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    server.start()
    transport.start(connect_timeout)
    if as_json:
        print_json({"event": "ready", "releases": opened.highest_counter()})
    else:
        print(f"serving the files of {opened.highest_counter()} releases")
    sys.stdout.flush()
    stopped.wait()
    transport.close()


def _transport(home: FleetHome, address: str | None) -> MqttTransport:
    """To the broker of the settings, with their TLS and user; `address` replaces host and port."""
    broker = home.broker
    if address is not None:
        host, port = _address(address)
        broker = dataclasses.replace(broker, host=host, port=port)
    return broker.transport("")


def _was_given(context: typer.Context, parameter: str) -> bool:
    source = context.get_parameter_source(parameter)
    return source is not None and source.name != "DEFAULT"


def _print_beginning(beginning: Beginning) -> None:
    state = beginning.rollout
    if beginning.resumes:
        wave, waves = max(state.wave, 0) + 1, len(state.plan.waves)
        print(f"goes on in wave {wave} of {waves}, with the plan it began with:")
    print(state.plan.text())


def _teller(silent: bool) -> Callable[[str, Mapping[str, Any]], None]:
    """Progress on stderr."""

    def tell(name: str, fields: Mapping[str, Any]) -> None:
        print(f"{name}: " + ", ".join(f"{k} {v}" for k, v in fields.items() if v != ""), file=sys.stderr)

    return (lambda name, fields: None) if silent else tell


def _address(text: str) -> tuple[str, int]:
    from lepton_targets.errors import UsageError

    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"broker {text!r} is no HOST:PORT", "accepted: 127.0.0.1:1883, broker.local:8883")
    return host, int(port)
