"""When a run is over, and how it ended: decided from who ended when, without a process or a clock.

- An essential node that fails ends the run; the others notice through their links, are given
  `notice_s` to end by themselves, and are then stopped.
- A node that is not essential may fail; whether its scheme can do without it is the scheme's
  business (quorum), so it is only recorded.
- An essential node that runs on although every one of its peers has failed hangs (frozen, or
  computing for nobody): after `orphan_s` it counts as failed itself.
- When every essential node is done the rest gets `rest_s` to say goodbye and is then stopped.
- A node that is absent (it comes later, or was told to leave) is neither waited for nor to blame.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgenet.errors import DONE, INTERRUPTED, NODE_FAILED, UNWRITABLE
from edgenet.results.comings import SPEECHLESS


@dataclass(frozen=True, kw_only=True)
class Seat:
    """One node as its launcher sees it (the part of edgenet.node.plan.Seat that travels)."""

    name: str
    role: str
    device: str
    essential: bool
    peers: tuple[str, ...] = ()
    returns: bool = False
    """It may come later, and come again."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long the run waits for nodes that should end. From a fault to the end of the command
    at most 15 s may pass, of which the links take up to `faults.silence` (3 s) to notice it."""

    notice_s: float = 5.0
    """After an essential node failed, for the others to end by themselves."""
    orphan_s: float = 2.0
    """After its last peer failed, for an essential node to end by itself."""
    rest_s: float = 5.0
    """After the essential nodes are done, for the others to end by themselves."""
    term_s: float = 2.0
    """From SIGTERM to SIGKILL."""
    tell_s: float = 2.0
    """After an essential node missed a peer, for the others to say whom they miss, where a spare is
    to take that one's place."""


@dataclass(frozen=True, kw_only=True)
class End:
    """How a node's process ended."""

    code: int | None
    """Exit code; None when a signal ended it."""
    signal: int | None = None
    """The signal that ended it, or None."""
    at: float = 0.0
    """When it was reaped, in seconds of the launcher's monotonic clock."""
    stopped: bool = False
    """It ended after the launcher had ordered the stop."""

    @property
    def good(self) -> bool:
        """Whether the node did its work to the end."""
        return self.code == DONE

    def __str__(self) -> str:
        """'was killed by SIGKILL' or 'ended with exit code 3'."""
        if self.code == UNWRITABLE:
            return SPEECHLESS
        if self.signal is not None:
            return f"was killed by {signal.Signals(self.signal).name}"
        return f"ended with exit code {self.code}"


@dataclass(kw_only=True)
class Referee:
    """Keeps the score of a run and says when to stop it."""

    seats: Sequence[Seat]
    limits: Limits = Limits()
    ends: dict[str, End] = field(default_factory=dict)
    """Every node that has ended, in the order in which they did."""
    hung: str | None = None
    """The essential node that did not end although all its peers had failed."""
    stopping: bool = False
    """The stop has been ordered."""
    interrupted: bool = False
    """... by the user or the system."""
    absent: set[str] = field(default_factory=set)
    """Nodes that are not there because the topology says so."""
    restart: int = 0
    """How often a node may be started again (`faults.restart`)."""
    restarts: Counter[str] = field(default_factory=Counter)
    """How often each was."""
    spares: Sequence[str] = ()
    """Nodes that are not used yet (`faults.spares`)."""
    seated: dict[str, str] = field(default_factory=dict)
    """Node that was lost -> the spare that plays on under its name."""
    recovering: bool = False
    """An essential node was lost; the others are ended, and all start again."""

    def ended(self, name: str, code: int | None, signal_: int | None, now: float) -> End:
        """Record that a node's process was reaped."""
        stopped = self.stopping or self.recovering or name in self.absent
        self.ends[name] = End(code=code, signal=signal_, at=now, stopped=stopped)
        return self.ends[name]

    def started(self, name: str) -> None:
        """Record that a node was started late, or again."""
        self.absent.discard(name)
        self.ends.pop(name, None)

    def runs(self, name: str) -> bool:
        """Whether the node's process is there, as far as is known."""
        return name not in self.ends and name not in self.absent

    @property
    def over(self) -> bool:
        """Whether every node has ended that was to be there, and none starts again."""
        return not self.recovering and not any(self.runs(seat.name) for seat in self.seats)

    @property
    def going_on(self) -> bool:
        """Whether there is a run that a node could come (back) to."""
        busy = self.stopping or self.recovering
        return not busy and self.culprit is None and not self._essential_done

    def may_restart(self, name: str) -> bool:
        """Whether a node was not started again as often as it may be."""
        return self.restarts[name] < self.restart

    def count_restart(self, name: str) -> tuple[int, int]:
        """A node is started again: (the how-manieth time, of how many)."""
        self.restarts[name] += 1
        return self.restarts[name], self.restart

    def take_spare(self, lost: str) -> str:
        """Seat the next spare, which there must be, in the place of a node."""
        self.seated[lost], *self.spares = self.spares
        return self.seated[lost]

    def start_over(self) -> None:
        """All nodes that are not absent were started again."""
        self.ends.clear()
        self.recovering = False

    def hanging(self, now: float) -> str | None:
        """The essential node that runs on although all its peers have failed; None: none does."""
        if self.culprit is not None or self._essential_done:
            return None
        return next((seat.name for seat in self.seats if self._hangs(seat, now)), None)

    def must_stop(self, now: float) -> bool:
        """Whether the nodes that are left have to be stopped now; says so once."""
        if self.stopping or self.recovering or self.over or not self._overdue(now):
            return False
        self.stopping = True
        return True

    def interrupt(self) -> None:
        """The user, or the system, has ordered the stop."""
        self.stopping = self.interrupted = True

    @property
    def culprit(self) -> str | None:
        """The node because of which the run failed, or None."""
        if self.hung is not None:
            return self.hung
        for name, end in self.ends.items():
            if not end.good and not end.stopped and self._by_name[name].essential:
                return name
        return None

    @property
    def exit_code(self) -> int:
        """What the command ends with."""
        if self._essential_done:
            return DONE
        return INTERRUPTED if self.interrupted and self.culprit is None else NODE_FAILED

    @property
    def _by_name(self) -> Mapping[str, Seat]:
        return {seat.name: seat for seat in self.seats}

    @property
    def _essential_done(self) -> bool:
        names = [seat.name for seat in self.seats if seat.essential]
        return all(name in self.ends and self.ends[name].good for name in names)

    def _overdue(self, now: float) -> bool:
        culprit = self.culprit
        if culprit is not None:
            return now >= self.ends[culprit].at + self.limits.notice_s
        if self._essential_done:
            return now >= self._last_essential_end + self.limits.rest_s
        self.hung = self.hanging(now)
        return self.hung is not None

    @property
    def _last_essential_end(self) -> float:
        ends = [self.ends[seat.name].at for seat in self.seats if seat.essential]
        return max(ends, default=0.0)

    def _hangs(self, seat: Seat, now: float) -> bool:
        if not seat.essential or not self.runs(seat.name):
            return False
        there = [peer for peer in seat.peers if peer in self.ends or peer not in self.absent]
        ends = [self.ends.get(peer) for peer in there]
        if not ends or not all(end is not None and not end.good for end in ends):
            return False
        return now >= max(end.at for end in ends if end is not None) + self.limits.orphan_s
