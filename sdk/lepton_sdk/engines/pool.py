"""Threads for generated code: Python's own, parked in the pool that the bundle's code brings along.

The device has no compiler, so the pool (runtime/lepton_pool.h) is compiled into each shared object; what runs
it are ordinary threads inside one long foreign call, outside the interpreter's lock.
"""

from __future__ import annotations

import ctypes
import threading
import weakref

import numpy as np

from lepton_sdk.engines.memory import aligned_bytes

MOST_THREADS = 16
"""LEPTON_POOL_THREADS."""


class Pool:
    """`threads` of them, the caller's included; asleep between inferences.

    address: what generated code gets as its lepton_parallel.
    """

    def __init__(self, library: ctypes.CDLL, threads: int) -> None:
        self.threads = min(threads, MOST_THREADS)
        memory = aligned_bytes(library["lepton_pool_bytes"]())
        self.address = memory.ctypes.data
        pool, work = ctypes.c_void_p(self.address), library["lepton_pool_work"]
        library["lepton_pool_open"](pool, ctypes.c_int(self.threads))
        workers = [
            threading.Thread(target=work, args=(pool, ctypes.c_int(number)), name="lepton", daemon=True)
            for number in range(1, self.threads)
        ]
        for worker in workers:
            worker.start()
        # Holds code and memory until no worker is inside them, at exit too.
        self._finalizer = weakref.finalize(self, _close, library, memory, workers)

    def close(self) -> None:
        """Send the workers home and wait for them; closing twice is no error."""
        self._finalizer()


def open_pool(library: ctypes.CDLL, threads: int) -> Pool | None:
    """The pool of that many threads; None for one thread, or where the code has nothing to share."""
    if threads == 1:
        return None
    try:
        library["lepton_pool_work"]
    except AttributeError:
        return None
    return Pool(library, threads)


def _close(library: ctypes.CDLL, memory: np.ndarray, workers: list[threading.Thread]) -> None:
    library["lepton_pool_close"](ctypes.c_void_p(memory.ctypes.data))
    for worker in workers:
        worker.join()
