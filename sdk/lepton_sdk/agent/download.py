"""Downloads on a thread of their own, so that the agent can hear a withdrawal meanwhile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from lepton_sdk.agent.checks import problem_of
from lepton_sdk.agent.machine import Done, Event, Failed
from lepton_sdk.agent.record import Blob, Phase
from lepton_sdk.agent.slots import Slots
from lepton_sdk.wire.download import Downloader
from lepton_sdk.wire.identity import Identity, PublicKey
from lepton_sdk.wire.transport import Transport
from lepton_targets.errors import LeptonError, UnavailableError

logger = logging.getLogger(__name__)

SILENCE_S = 30.0


class BackgroundDownload:
    """At most one download at a time; its end is posted as an event of the machine."""

    def __init__(
        self,
        transport: Transport,
        identity: Identity,
        server_key: PublicKey,
        tenant: str,
        slots: Slots,
        post: Callable[[Event], None],
    ) -> None:
        self._wire = (transport, identity, server_key, tenant)
        self._slots, self._post = slots, post
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, counter: int, blob: Blob) -> None:
        """Fetch `blob`, going on where an earlier try ended."""
        self.stop()
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(counter, blob, self._stop), name="lepton-download", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the download under way, if there is one; what has arrived stays."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, counter: int, blob: Blob, stop: threading.Event) -> None:
        """A server that is silent may come back: only the disc and a wrong content end the try."""
        goal = self._slots.download(blob.sha256)
        while not stop.is_set():
            try:
                self._slots.require_space_for(blob)
                Downloader(*self._wire).fetch(
                    bytes.fromhex(blob.sha256), goal, timeout_s=SILENCE_S, max_bytes=blob.size, stop=stop
                )
            except (LeptonError, OSError) as error:
                if isinstance(error, UnavailableError) and not isinstance(error.__cause__, OSError):
                    logger.warning("release %d: %s", counter, error)
                    continue
                problem = problem_of(error)
                if not stop.is_set():
                    event = Failed(Phase.DOWNLOAD, counter, problem.reason, problem.detail, lasting=False)
                    self._post(event)
            else:
                self._post(Done(Phase.DOWNLOAD, counter))
            return
