"""Device slow-down: a stage on this host that takes the time it would take on a slower device.

Its verbs are work of the node's `DeviceClock`, which says how that is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from torch import Tensor

from edgenet.devices.clock import DeviceClock
from edgenet.errors import InputError
from edgenet.meters.journal import Journal
from edgenet.models.memory import allocating
from edgenet.models.stage import Stage


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
    really took; the device's clock adds what it waits.

    Args:
        stage: does the work.
        factor: emulated time / CPU time; 1 = only metered.
        journal: gets the spans.
        pace: asked after every verb how many times slower still the device is just now; None: it is
            always as fast as its profile. Then, at a factor of 1, no CPU time is read: on virtual
            machines that can take half a millisecond.
        clock: the node's; None = one of the stage's own.

    Raises:
        InputError: a factor below 1, or not a finite number.
    """

    def __init__(
        self,
        stage: Stage,
        factor: float,
        journal: Journal,
        pace: Callable[[], float] | None = None,
        clock: DeviceClock | None = None,
    ) -> None:
        if not 1 <= factor < float("inf"):
            raise InputError(f"a slow-down must be a number of at least 1, not {factor}")
        self.stage, self.factor = stage, factor
        self._pace = pace
        self._only_metered = factor == 1 and pace is None
        self._journal = journal
        self._clock = clock or DeviceClock()

    def use(self, version: int, *, urgent: bool = False) -> None:
        """The stage's use."""
        self.stage.use(version, urgent=urgent)

    def forward(self, x: Tensor) -> Tensor:
        """The stage's forward, in the device's time."""
        with self._work("forward"), allocating("a forward"):
            return self.stage.forward(x)

    def backward(self, error: Tensor) -> Tensor:
        """The stage's backward, in the device's time."""
        with self._work("backward"), allocating("a backward"):
            return self.stage.backward(error)

    def step(self) -> None:
        """The stage's step, in the device's time."""
        with self._work("step"), allocating("an update"):
            self.stage.step()

    def forget(self) -> None:
        """The stage's forget."""
        self.stage.forget()

    def gradients(self) -> list[Tensor]:
        """The stage's gradients."""
        return self.stage.gradients()

    def infer(self, x: Tensor) -> Tensor:
        """The stage's infer, at the host's speed: evaluation is the testbed's, not the device's."""
        try:
            return self.stage.infer(x)
        finally:
            self._clock.forget()

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

    def _work(self, verb: str) -> AbstractContextManager[None]:
        if self._only_metered:
            return self._journal.span("compute", verb)
        return self._clock.work(self._journal, verb, self._slower)

    def _slower(self) -> float:
        return self.factor * (1.0 if self._pace is None else self._pace())
