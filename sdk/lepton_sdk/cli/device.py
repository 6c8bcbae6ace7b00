"""`lepton device run`: takes part in federated rounds and keeps the model up to date, as a TOML file says
(`device_config.py`)."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lepton_sdk.cli.output import print_json

if TYPE_CHECKING:
    from lepton_sdk.device_config import FederatedConfig
    from lepton_sdk.federated.client import FederatedClient
    from lepton_sdk.wire.identity import Identity
    from lepton_sdk.wire.transport import Transport

device = typer.Typer(help="This machine as a device of a fleet.", no_args_is_help=True)


@device.callback()
def _device() -> None:
    """This machine as a device of a fleet."""


@device.command()
def run(
    config: Annotated[Path, typer.Option("--config", help="TOML file of this device.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object an event.")] = False,
) -> None:
    """Work until stopped (SIGTERM, Ctrl-C), or until [federated] rounds have their receipts.

    The key named by [device] key is made at the first start, its public half lies beside it: enrol that.
    Every key of the file: examples/device.toml.
    """
    from lepton_sdk import __version__
    from lepton_sdk.agent import agent as device_agent
    from lepton_sdk.device_config import read_device_config
    from lepton_sdk.wire.identity import Identity, PublicKey
    from lepton_sdk.wire.presence import Presence

    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
    settings = read_device_config(config)
    identity = Identity.load_or_create(settings.key)
    server_key = PublicKey.load(settings.server_key)
    tenant, timeout_s = settings.tenant, settings.broker.connect_timeout_s
    transport = settings.broker.transport(identity.device_id)
    lock = threading.Lock()

    def tell(name: str, fields: Mapping[str, Any]) -> None:
        with lock:
            if as_json:
                print_json({"event": name, "device": identity.device_id, **fields})
            else:
                print(f"{identity.device_id} {name} " + " ".join(f"{k}={v}" for k, v in fields.items()))
            sys.stdout.flush()

    client, rounds = None, 0
    if settings.federated is not None:
        client = _client(settings.federated, transport, identity, server_key, tenant, tell, __version__)
        rounds = settings.federated.rounds
    agent = None
    if settings.agent is not None:
        agent = device_agent.from_config(
            settings.agent, transport, identity,
            server_key=server_key, tenant=tenant, folder=settings.folder,
            on_event=lambda name, fields: tell(f"agent_{name}", fields),
        )  # fmt: skip
    # The federated client tells its presence itself.
    presence = None
    if client is None:
        presence = Presence(transport, identity.device_id, tenant, settings.folder, __version__)
        presence.begin()

    stopped = threading.Event()

    def stop(*_: object) -> None:
        stopped.set()
        if client is not None:
            client.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    # Before connecting: the broker would end the connection of the process that is there already.
    if client is not None:
        client.claim()
    if agent is not None:
        agent.claim()
    try:
        transport.start(timeout_s)
        tell("ready", {"tenant": tenant})
        if agent is not None:
            agent.start(timeout_s)
        if client is not None:
            counts = client.run(rounds=rounds or None, connect_timeout_s=timeout_s, sign_off=False)
            tell("finished", dict(counts))
        if agent is not None and not stopped.is_set():
            stopped.wait()
    finally:
        if agent is not None:
            agent.close()
        if client is not None:
            client.sign_off()
        if presence is not None:
            presence.end()
        transport.close()


def _client(
    settings: FederatedConfig,
    transport: Transport,
    identity: Identity,
    server_key: Any,
    tenant: str,
    tell: Any,
    version: str,
) -> FederatedClient:
    """The client of `[federated]`."""
    from lepton_sdk.federated.client import FederatedClient
    from lepton_sdk.federated.local import local_training

    return FederatedClient(
        transport,
        identity,
        train=local_training(settings.bundle, settings.data, engine=settings.engine, trust=settings.trust),
        spool=settings.spool,
        server_key=server_key,
        tenant=tenant,
        job=settings.job,
        retry_s=settings.retry_s,
        no_answer_s=settings.no_answer_s,
        on_event=tell,
        version=version,
    )
