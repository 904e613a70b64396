"""What links delivered while a run went on: the rates that are known without a probe.

The receiver of a message that came in several frames noted how long those behind the first took
(`later_bytes`, `later_s` of its `bytes` events). Their sum over the run, bytes by seconds, is what
the link gave while something was crossing it. It could do more where the sender was slow, or others
were on the same medium; and a few per cent above the asked rate are the noise of threads that wake
up. Where all messages fit into one frame, what is left is the average over the rounds: a lower
bound, and often a weak one, for nodes compute, too. Evaluation, which `paced` shaping lets pass at
once, and the probe count in neither.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from edgenet.results.events import Event
from edgenet.results.ledger import APART

_LEAST_BYTES = 64 * 1024
"""Fewer say more of the receiver's threads than of the link."""


@dataclass(frozen=True)
class Seen:
    """What one node got from another."""

    source: str
    target: str
    bps: float
    """Bits per second."""
    crossing: bool
    """Over the time in which messages were crossing; else over whole rounds, a lower bound."""


class Sight:
    """Gathers the `bytes` events of receivers."""

    def __init__(self) -> None:
        self._later: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._whole: dict[tuple[str, str], int] = defaultdict(int)

    def add(self, event: Event) -> None:
        """Take in one event of a node."""
        if event.name != "bytes" or event.text("dir") != "in" or event.text("k") in APART:
            return
        way = event.text("peer"), event.node
        later = self._later[way]
        later[0] += event.count("later_bytes")
        later[1] += event.number("later_s") or 0.0
        if event.round > 0:
            self._whole[way] += event.count("payload") + event.count("overhead")

    def found(self, rounds_s: float) -> list[Seen]:
        """One for each direction between two nodes that exchanged anything.

        Args:
            rounds_s: seconds that all rounds took.
        """
        return [each for way in self._later if (each := self._of(*way, rounds_s)) is not None]

    def _of(self, source: str, target: str, rounds_s: float) -> Seen | None:
        nbytes, seconds = self._later[source, target]
        if nbytes >= _LEAST_BYTES and seconds > 0:
            return Seen(source, target, 8 * nbytes / seconds, crossing=True)
        whole = self._whole[source, target]
        if not whole or rounds_s <= 0:
            return None
        return Seen(source, target, 8 * whole / rounds_s, crossing=False)
