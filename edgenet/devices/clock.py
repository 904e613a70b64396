"""The time of an emulated device: work is done at the host's speed, ahead of the device's clock.

What the device would have needed is computed from the thread's CPU time, not from the clock on the
wall: on a host whose cores are shared by many nodes, waiting for a core must not count as work of
the device. (Torch has to compute on one thread a node for that; its other threads' CPU time is not
seen.) What the node computes between two pieces of work (a loss, the next batch) counts as well.

The host works in bursts of `BURST_S` and then waits until the device would be there too. A wait
after every small piece would falsify the next: a processor that slept a few milliseconds finds cold
caches and a low clock, and a step of 0.4 ms takes up to three times as long. Nobody can see the
bursts: before anything leaves the node, and before it waits for anybody, `settle` makes good.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

BURST_S = 0.02
"""CPU time after which the host waits for the device at the latest."""

_LONGEST_CREDIT_S = 0.1
"""Time by which the emulation may lag (a crowded host, a late wake-up) and still catch up by
shorter sleeps. Without a bound, one long stall would be followed by a device that is too fast."""


class Spans(Protocol):
    """The part of a journal that is needed here."""

    def span(self, kind: str, name: str) -> AbstractContextManager[None]:
        """Record how long the body took."""


class DeviceClock:
    """One a node. Used by the thread that plays its role."""

    def __init__(self) -> None:
        self.device_s = 0.0
        """What the work so far takes on the device; work at the host's own speed is not counted."""
        self.behind_s = 0.0
        """How much later than the device the host was with it, and could not catch up with."""
        self._ahead_s = 0.0
        self._burst_s = 0.0
        self._end: tuple[float, float] | None = None

    def now(self) -> float:
        """Seconds on the device's clock: the monotonic one, and what the host works ahead."""
        return time.monotonic() + self._ahead_s

    @contextmanager
    def work(self, journal: Spans, name: str, factor: Callable[[], float]) -> Iterator[None]:
        """Do the body's work for the device: a span (k = compute) of the time that it really took.

        Args:
            journal: gets the spans.
            name: of the span.
            factor: asked at the end: device time / CPU time; at 1 nothing is waited for.
        """
        wall, cpu = _times()
        before_wall, before_cpu = self._end or (wall, cpu)
        between = cpu - before_cpu
        try:
            with journal.span("compute", name):
                cpu = time.thread_time()
                yield
                cpu = time.thread_time() - cpu
        except BaseException:
            self._end = None
            raise
        slower = factor()
        self._end = _times()  # from here on, so that journals are nobody's work
        if slower > 1:
            self._charge(slower * (between + cpu), self._end[0] - before_wall)
            self._burst_s += between + cpu
            if self._burst_s >= BURST_S:
                self.settle(journal)

    def forget(self) -> None:
        """What is computed from the last work to here was the testbed's own, not the device's."""
        self._end = None

    def settle(self, journal: Spans) -> None:
        """Wait (a span, k = idle, n = slowdown) until the device has done all the work."""
        self._end, self._burst_s = None, 0.0
        if self._ahead_s <= 0:
            return
        with journal.span("idle", "slowdown"):
            start = time.perf_counter()
            time.sleep(self._ahead_s)
            self._charge(0.0, time.perf_counter() - start)

    def _charge(self, device_s: float, took_s: float) -> None:
        self.device_s += device_s
        ahead_s = self._ahead_s + device_s - took_s
        self._ahead_s = max(ahead_s, -_LONGEST_CREDIT_S)
        self.behind_s += self._ahead_s - ahead_s


def _times() -> tuple[float, float]:
    return time.perf_counter(), time.thread_time()
