"""One thread a process that beats on all its links and notices who has stopped beating."""

from __future__ import annotations

import threading
import time
from typing import Protocol

_OFTEN = 0.4


class Watched(Protocol):
    """A link, as the heartbeat sees it."""

    def pulse(self, awake_s: float, silence_s: float) -> None:
        """Beat once, and count `awake_s` more seconds of quiet unless the peer was heard; quiet for
        `silence_s` is silence. Never blocks."""


class Heartbeat:
    """Beats until it is closed. Its thread starts with the first link.

    Quiet is counted in this process's own awake time: a tick that comes late, because this process
    was stopped or starved, counts like one that comes in time, and every peer has its
    chance to be heard first.

    It beats, and listens, more often than it has to. A link that hung up is known after two ticks,
    so within a heartbeat; and of a peer that stops just after it was heard, the quiet that passes
    before the next tick belongs to the silence, so no silence is noticed later than `silence_s`.

    Args:
        heartbeat_s: how often to beat at least.
        silence_s: a peer that is not heard for this long is silent; at least two heartbeats.
    """

    def __init__(self, heartbeat_s: float = 1.0, silence_s: float = 4.0) -> None:
        self.silence_s = max(silence_s, 2 * heartbeat_s)
        self._tick_s = min(_OFTEN * heartbeat_s, self.silence_s / 8)
        self._links: set[Watched] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, link: Watched) -> None:
        """Beat on `link` from now on."""
        with self._lock:
            self._links.add(link)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
                self._thread.start()

    def forget(self, link: Watched) -> None:
        """Stop beating on `link`."""
        with self._lock:
            self._links.discard(link)

    def close(self) -> None:
        """Stop beating."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._closed.wait(self._tick_s):
            now = time.monotonic()
            awake_s, last = min(now - last, 1.5 * self._tick_s), now
            with self._lock:
                links = tuple(self._links)
            for link in links:
                link.pulse(awake_s, self.silence_s - self._tick_s)
