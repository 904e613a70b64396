"""What a launcher does when a node is lost that the run cannot do without: it ends what is left of
the cast, and starts all of it again from the newest common checkpoint.

One node alone could not come back: its peers are where it was, and not where its checkpoint is.
With `faults.spares` the lost node comes back on another device, under its own name.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Collection
from typing import Protocol

from edgenet.errors import BAD_INPUT
from edgenet.launchers.blame import told
from edgenet.launchers.policy import End, Referee
from edgenet.launchers.witness import Witness
from edgenet.meters.checkpoints import Notice, common_round
from edgenet.meters.clock import RunClock
from edgenet.results.rundir import RunDir

Begin = Callable[[int, Collection[str]], None]
"""Starts the nodes: after a round (0: anew), but for those that are absent."""
Note = Callable[..., None]


class Signaller(Protocol):
    """The part of the supervisor that is used here."""

    def signal(self, node: str, number: signal.Signals) -> None:
        """Send a signal to a node's process."""


class Recovery:
    """One run's.

    Args:
        run: its folder.
        referee: knows who runs; told of restarts.
        witness: knows who had joined, and when rounds were done.
        signaller: reaches the nodes.
        begin: starts them.
        note: writes an event of the run.
        say: takes lines for the user.
    """

    def __init__(
        self,
        run: RunDir,
        referee: Referee,
        witness: Witness,
        signaller: Signaller,
        begin: Begin,
        note: Note,
        say: Callable[[str], None],
    ) -> None:
        self._run, self._referee, self._witness = run, referee, witness
        self._signaller, self._begin, self._note = signaller, begin, note
        self._say, self._now = say, RunClock(run.path).now
        self._culprit, self._why, self._failed_s = "", "", 0.0
        self._term_at, self._kill_at = 0.0, 0.0

    def takes(self, name: str, end: End) -> bool:
        """A node has ended: whether this is the beginning, or a part, of a new start of all."""
        referee = self._referee
        if referee.recovering:
            self._go_on()
            return True
        if referee.culprit != name or end.code == BAD_INPUT or not self._may(name):
            return False
        self._end_all(name, told(self._run, name, end))
        return True

    def look(self) -> None:
        """What is due now. To be called several times a second."""
        referee, now = self._referee, time.monotonic()
        if referee.stopping:
            return
        if referee.recovering:
            if now >= self._kill_at:
                self._signal(signal.SIGKILL)
            elif now >= self._term_at:
                self._order_end()
            return
        hanging = referee.hanging(now)
        if hanging is not None and self._may(hanging):
            why = f"{hanging} did not end although all its peers had failed (frozen?)"
            self._end_all(hanging, why)

    def _may(self, name: str) -> bool:
        self._witness.look()
        joined = name in self._witness.joined  # who fails before would fail again
        return joined and not self._referee.stopping and self._referee.may_restart(name)

    def _end_all(self, culprit: str, why: str) -> None:
        self._culprit, self._why, self._failed_s = culprit, why, self._now()
        self._referee.recovering = True
        self._term_at = self._kill_at = time.monotonic()
        if self._referee.spares and self._witness.silent_peer(culprit) is not None:
            self._term_at += self._referee.limits.tell_s
        self._kill_at = self._term_at + self._referee.limits.term_s
        if time.monotonic() >= self._term_at:
            self._order_end()
        self._go_on()

    def _order_end(self) -> None:
        self._term_at = math.inf
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        for seat in self._referee.seats:
            if self._referee.runs(seat.name):
                self._signaller.signal(seat.name, number)

    def _go_on(self) -> None:
        """When the last of the old cast has ended, the new one begins."""
        referee = self._referee
        if referee.stopping or any(referee.runs(seat.name) for seat in referee.seats):
            return
        there = [seat for seat in referee.seats if seat.name not in referee.absent]
        after = common_round(self._run.path, there).round
        self._witness.look()
        since_s = self._witness.reported.get(after, self._witness.joined[self._culprit])
        number, of = referee.count_restart(self._culprit)
        spare = self._take_spare()
        self._note(
            "restarted", node=self._culprit, number=number, of=of, why=self._why, after=after,
            thrown_s=round(max(0.0, self._failed_s - since_s), 6), t=round(self._failed_s, 6),
            **spare,
        )  # fmt: skip
        where = f"after round {after}" if after else "from the beginning"
        taken = f"{spare['spare']} takes the place of {spare['place']}; " if spare else ""
        self._say(f"{self._why}; {taken}all nodes are started again {where} ({number} of {of})")
        Notice(self._run.path).clear()
        referee.start_over()
        self._begin(after, frozenset(referee.absent))

    def _take_spare(self) -> dict[str, str]:
        """The next spare, and in whose place it is from now on; empty: there is none."""
        if not self._referee.spares:
            return {}
        lost = self._lost()
        return {"place": lost, "spare": self._referee.take_spare(lost)}

    def _lost(self) -> str:
        """Whose device is gone: not always the first node to end."""
        essential = {seat.name: self._referee.ends[seat.name]
                     for seat in self._referee.seats if seat.essential}  # fmt: skip
        killed = [name for name, end in essential.items() if end.signal is not None]
        # By others, or by this launcher because it did not end when it was told to: it is frozen.
        before = [name for name in killed if essential[name].at < self._kill_at]
        return (*before, *killed, self._witness.missed(self._culprit, essential))[0]
