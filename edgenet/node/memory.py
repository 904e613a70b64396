"""A device's memory, kept by accounting: a node that holds more than its device has ends.

The resident set is read at every sample of the node's meters. It is the whole process, torch and
shared pages included, as it would be on the board itself. A node that outgrows its device between
two samples is found at the next one.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

from edgenet.devices import Device
from edgenet.errors import Interrupted, NodeError
from edgenet.units import format_memory


class MemoryLimit:
    """Watches this process for one node.

    Args:
        node: its name.
        device: its profile; without a memory size nothing is watched.
        read: resident bytes now.
    """

    def __init__(self, node: str, device: Device, read: Callable[[], int] | None = None) -> None:
        self._node, self._device = node, device
        self._read = read or (lambda: int(psutil.Process().memory_info().rss))
        self.broken: str | None = None
        """The sentence that the node ends with, once it holds too much."""

    def check(self) -> None:
        """Look once; on a node's own process, interrupt its main thread when it is too much."""
        limit = self._device.memory_bytes
        if limit is None or self.broken is not None:
            return
        held = self._read()
        if held <= limit:
            return
        self.broken = (
            f"{self._node} holds {format_memory(held)}, but its device '{self._device.name}' has "
            f"{format_memory(limit)}; give it a smaller model, batch or share of the data, or a "
            "device with more memory"
        )
        if _handled(signal.SIGTERM):
            os.kill(os.getpid(), signal.SIGTERM)

    @contextmanager
    def kept(self, more: Callable[[], str] = str) -> Iterator[None]:
        """Run the body; raise NodeError instead of Interrupted if it was ended from here. What
        `more` returns goes to the end of the sentence."""
        try:
            yield
        except Interrupted:
            if self.broken is None:
                raise
            raise NodeError(self.broken + more()) from None


def _handled(number: signal.Signals) -> bool:
    """Whether a signal would be raised as an exception: true in a node's own process only."""
    return callable(signal.getsignal(number))
