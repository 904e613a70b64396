"""Device slow-down: a stage on this host that takes the time it would take on a slower device.

The work is done at the host's speed, metered, and followed by a sleep. What the device would have
needed is computed from the thread's CPU time, not from the clock on the wall: on a host whose cores
are shared by many nodes, waiting for a core must not count as work of the emulated device. (Torch
has to compute on one thread a node for that; its other threads' CPU time is not seen.)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from torch import Tensor

from edgenet.errors import InputError
from edgenet.meters.journal import Journal
from edgenet.models.memory import allocating
from edgenet.models.stage import Stage

_LONGEST_CREDIT_S = 0.05
"""Time by which the emulation may lag (a crowded host, a late wake-up) and still catch up by
shorter sleeps. Without a bound, one long stall would be followed by a device that is too fast."""


class Device(Protocol):
    """The part of a device profile (edgenet.devices) that the slow-down is computed from."""

    @property
    def training_flops(self) -> float | None:
        """Floating-point operations a second in training; None = as fast as the host."""


def slowdown(host_flops: float, device: Device) -> float:
    """How many times slower than this host `device` trains; at least 1.

    1 is also the answer for a device that is faster than the host: it cannot be emulated, and
    the caller is to say so (`device.training_flops > host_flops`).

    Raises:
        InputError: a speed that is not a positive number.
    """
    if device.training_flops is None:
        return 1.0
    for what, flops in (("the host's", host_flops), ("the device's", device.training_flops)):
        if not flops > 0:
            raise InputError(f"{what} speed must be above 0 FLOP/s, not {flops}")
    return max(1.0, host_flops / device.training_flops)


class Throttled:
    """Implements `Stage` on top of another one, metered and slowed down.

    Every forward, backward and step writes a `span` (k = compute, n = the verb) with the time it
    really took, and, when the device would have needed longer, another (k = idle, n = slowdown).

    Args:
        stage: does the work.
        factor: emulated time / CPU time; 1 = only metered.
        journal: gets the spans.
        pace: asked after every verb how many times slower still the device is just now; None: it is
            always as fast as its profile. Then, at a factor of 1, no CPU time is read: on virtual
            machines that can take half a millisecond.

    Raises:
        InputError: a factor below 1, or not a finite number.
    """

    def __init__(
        self,
        stage: Stage,
        factor: float,
        journal: Journal,
        pace: Callable[[], float] | None = None,
    ) -> None:
        if not 1 <= factor < float("inf"):
            raise InputError(f"a slow-down must be a number of at least 1, not {factor}")
        self.stage, self.factor = stage, factor
        self._pace = pace
        self._only_metered = factor == 1 and pace is None
        self._journal = journal
        self._owed_s = 0.0

    def use(self, version: int) -> None:
        """The stage's use."""
        self.stage.use(version)

    def forward(self, x: Tensor) -> Tensor:
        """The stage's forward, in the device's time."""
        with self._metered("forward"), allocating("a forward"):
            return self.stage.forward(x)

    def backward(self, error: Tensor) -> Tensor:
        """The stage's backward, in the device's time."""
        with self._metered("backward"), allocating("a backward"):
            return self.stage.backward(error)

    def step(self) -> None:
        """The stage's step, in the device's time."""
        with self._metered("step"), allocating("an update"):
            self.stage.step()

    def gradients(self) -> list[Tensor]:
        """The stage's gradients."""
        return self.stage.gradients()

    def infer(self, x: Tensor) -> Tensor:
        """The stage's infer, at the host's speed: evaluation is the testbed's, not the device's."""
        return self.stage.infer(x)

    def state(self) -> list[Tensor]:
        """The stage's state."""
        return self.stage.state()

    @property
    def names(self) -> tuple[str, ...]:
        """The stage's names."""
        return self.stage.names

    def load(self, state: Sequence[Tensor]) -> None:
        """The stage's load."""
        self.stage.load(state)

    def renew(self) -> None:
        """The stage's renew."""
        self.stage.renew()

    def pull(self, anchor: Sequence[Tensor], mu: float) -> None:
        """The stage's pull."""
        self.stage.pull(anchor, mu)

    @contextmanager
    def _metered(self, verb: str) -> Iterator[None]:
        """Meter the body; sleep off what it would still have taken, unless it raised."""
        if self._only_metered:
            with self._journal.span("compute", verb):
                yield
            return
        with self._journal.span("compute", verb):
            wall, cpu = time.perf_counter(), time.thread_time()
            yield
            cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
        factor = self.factor * (1.0 if self._pace is None else self._pace())
        if factor > 1:
            self._owe(factor * cpu - wall)

    def _owe(self, seconds: float) -> None:
        self._owed_s = max(self._owed_s + seconds, -_LONGEST_CREDIT_S)
        if self._owed_s <= 0:
            return
        with self._journal.span("idle", "slowdown"):
            start = time.perf_counter()
            time.sleep(self._owed_s)
            self._owed_s -= time.perf_counter() - start
