"""Who comes, leaves and comes back while a run goes on.

Carries out the topology's `start`, `stop` and `kill`, and starts again, `faults.restart` times
each, nodes that were killed, failed or froze: one by one those that the run can do without, all of
them after the loss of another (`recovery`). What happened goes into the run's own journal:

| e | fields |
| --- | --- |
| `change` | as in `conductor`; asked_round in place of asked_s where a round was waited for |
| `restarted` | node, number, of (how often it may be), why; where all were, also after (the round \
after which they went on), thrown_s (the seconds since that had been done), and place and spare, \
where a spare took the place of a lost node |
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from edgenet.errors import BAD_INPUT
from edgenet.launchers.blame import told
from edgenet.launchers.policy import End, Referee
from edgenet.launchers.recovery import Begin, Recovery
from edgenet.launchers.resuming import BEGINNING, Point
from edgenet.launchers.witness import Witness
from edgenet.meters import Journal
from edgenet.meters.clock import RunClock
from edgenet.meters.start import Start
from edgenet.results.events import launcher_events
from edgenet.results.rundir import RunDir
from edgenet.topology.comings import COMINGS, late_starters, left
from edgenet.topology.events import sentence
from edgenet.topology.spec import TimedEvent, Topology

_MOST_TOLD = 5


class Starter(Protocol):
    """The part of the supervisor that is used here."""

    def fork(self, node: str) -> None:
        """Start a node that comes later, or again."""

    def signal(self, node: str, number: signal.Signals) -> None:
        """Send a signal to a node's process."""


class Comings:
    """One run's. To be looked after from the launcher's main thread.

    Args:
        run: its folder.
        topology: what is run.
        referee: keeps the score; told of those who are absent or come back.
        starter: starts and signals nodes.
        begin: starts all of them.
        say: takes lines for the user.
        point: where the run goes on; past its beginning, the journals hold an earlier attempt.
    """

    def __init__(
        self,
        run: RunDir,
        topology: Topology,
        referee: Referee,
        starter: Starter,
        begin: Begin,
        say: Callable[[str], None],
        *,
        point: Point = BEGINNING,
    ) -> None:
        self._run, self._referee, self._starter, self._say = run, referee, starter, say
        self._seats = {seat.name: seat for seat in referee.seats}
        events = [event for event in topology.events if event.kind in COMINGS]
        events.sort(key=lambda event: (event.at_s, event.at_round or 0))
        past = [event for event in events if point.behind(event)]
        self._events = [event for event in events if event not in past]
        self._witness = Witness(run, referee.seats)
        if point.after:
            self._witness.skip(point.after)
        self._recovery = Recovery(run, referee, self._witness, starter, begin, self._note, say)
        self._start = Start.of(run.path)
        self._held: dict[str, tuple[str, float]] = {}
        self._leaving: dict[str, float] = {}
        self._journal: Journal | None = None
        self.later = left(past) | late_starters(self._events)
        """The nodes that are not there when the run begins, or goes on."""
        referee.absent |= self.later
        for event in self._unsaid(past):
            self._say_happened(event, 0.0)

    def ended(self, name: str) -> bool:
        """A node has ended, the referee knows: start it, or all of them, again if that is wanted.
        Returns whether that is, or may yet be, so."""
        end = self._referee.ends[name]
        self._leaving.pop(name, None)
        if self._recovery.takes(name, end):
            self._held.clear()
            return True
        if not self._may_return(name, end):
            return False
        self._witness.look()
        suspect = self._witness.silent_peer(name)
        if suspect is not None:
            self._held[name] = (
                suspect,
                time.monotonic(),
            )  # if that is frozen, to whom could it return?
        else:
            self._start_again(name, end)
        return True

    def look(self) -> None:
        """What is due now. To be called several times a second."""
        if not (self._events or self._referee.restart or self._leaving):
            return
        self._witness.look()
        if self._referee.restart:
            self._recovery.look()
        if not self._referee.going_on:
            return
        for event in tuple(self._events):
            waits = event.kind == "start" and event.target in self._leaving  # its process is there
            if self._due_since(event) is not None and not waits:
                self._happen(event)
        now = time.monotonic()
        for name in [name for name, end in self._leaving.items() if now >= end]:
            self._leaving[name] = math.inf
            self._starter.signal(name, signal.SIGKILL)
        for name, (suspect, since_s) in list(self._held.items()):
            if self._witness.wrote(suspect) > since_s:
                del self._held[name]
                self._start_again(name, self._referee.ends[name])
        self._end_frozen()

    def close(self) -> None:
        """Nothing more will happen."""
        if self._journal is not None:
            self._journal.close()

    def _may_return(self, name: str, end: End) -> bool:
        wanted = not (end.good or end.stopped or end.code == BAD_INPUT)
        can = self._seats[name].returns and self._referee.may_restart(name)
        return wanted and can and self._referee.going_on

    def _start_again(self, name: str, end: End) -> None:
        number, of = self._referee.count_restart(name)
        why = told(self._run, name, end)
        self._note("restarted", node=name, number=number, of=of, why=why)
        if self._referee.restarts.total() <= _MOST_TOLD:
            self._say(f"{why}; it is started again ({number} of {of})")
        self._fork(name)

    def _fork(self, name: str) -> None:
        self._held.pop(name, None)
        self._referee.started(name)
        self._starter.fork(name)

    def _end_frozen(self) -> None:
        """Kill whom nobody hears and who does nothing, where it may come back."""
        for name, seat in self._seats.items():
            if (
                seat.returns
                and self._referee.may_restart(name)
                and self._referee.runs(name)
                and self._witness.accused(name, self._referee.runs)
                and self._witness.still(name)
            ):
                self._starter.signal(name, signal.SIGKILL)

    def _due_since(self, event: TimedEvent) -> float | None:
        """Since how many seconds an event is due; None if it is not."""
        began = self._start.at()
        if began is None:
            return None
        if event.at_round is not None:
            return 0.0 if self._witness.round >= event.at_round else None
        late_s = time.monotonic() - began - event.at_s
        return late_s if late_s >= 0 else None

    def _happen(self, event: TimedEvent) -> None:
        late_s = self._due_since(event) or 0.0
        self._events.remove(event)
        name = event.target
        if event.kind == "start":
            if not self._referee.runs(name):
                self._fork(name)
        elif event.kind == "kill":
            self._starter.signal(name, signal.SIGKILL)
        else:
            self._held.pop(name, None)
            self._referee.absent.add(name)
            self._starter.signal(name, signal.SIGTERM)
            self._leaving[name] = time.monotonic() + self._referee.limits.term_s
        self._say_happened(event, late_s)

    def _unsaid(self, past: Sequence[TimedEvent]) -> list[TimedEvent]:
        """The comings and goings that an earlier attempt was killed before it could write down. The
        run goes on as if they had happened, so it must say so."""
        if not past:
            return []
        said = [event.fields for event in launcher_events(self._run) if event.name == "change"]

        def known(event: TimedEvent) -> bool:
            return any(_asked(event).items() <= fields.items() for fields in said)

        return [event for event in past if event.kind != "kill" and not known(event)]

    def _say_happened(self, event: TimedEvent, late_s: float) -> None:
        says = sentence(event)
        self._note("change", says=says, late_s=round(late_s, 4), **_asked(event))

    def _note(self, event_: str, **fields: Any) -> None:
        if self._journal is None:
            self._journal = Journal(self._run.events_file, clock=RunClock(self._run.path))
        self._journal.event(event_, **fields)


def _asked(event: TimedEvent) -> dict[str, Any]:
    """What was to happen, as the journal has it."""
    rounds = event.at_round is not None
    asked = {"asked_round": event.at_round} if rounds else {"asked_s": event.at_s}
    return {"what": event.kind, "target": event.target, **asked}
