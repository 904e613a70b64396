"""Carries out what happens to the links during a run: events, fading, traces, and orders by hand.

A thread of the launcher. It marks the moment at which all nodes have joined, from which the
times of the topology count; then, whenever something is due, gives the network's lanes the
channels that the timeline has for them. Under `paced` the links look at the same timeline
themselves. An order (`edgenet watch`) joins the timeline as one more event. What happened goes
into the run's own journal, `events.jsonl`:

| e | fields |
| --- | --- |
| `began` | nodes (how many had joined), at_s? (the time by which events count, of a resumed run) |
| `change` | what (its kind), target, nodes?, settings?, says, asked_s, late_s, by? (hand) |
| `followed` | steps, late_s (the most): how often fading and traces were applied |
| `end` | nothing more is due: only orders may follow |
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Any

from edgenet.channels import BEFORE, Orders, Timeline, check_events
from edgenet.errors import CannotWrite, EdgenetError, InputError, NodeError
from edgenet.launchers.resuming import BEGINNING, Point
from edgenet.meters import Journal
from edgenet.meters.clock import RunClock
from edgenet.meters.start import Start
from edgenet.results.events import Tail
from edgenet.results.rundir import RunDir
from edgenet.shaping.choice import unsuited
from edgenet.shaping.lanes import lanes
from edgenet.topology.comings import COMINGS
from edgenet.topology.events import read_order, sentence
from edgenet.topology.spec import Channel, TimedEvent, Topology

_LOOK_S = 0.05

Apply = Callable[[Mapping[tuple[str, str, str], Channel]], None]


class Conductor:
    """Runs a topology's timeline beside a run; a context manager that ends with the run.

    Args:
        run: its folder; the nodes' journals tell who has joined.
        topology: what is run.
        nodes: names of the nodes that are there from the start.
        apply: gives running lanes, named by (link, source, target), other channels; None where
            the links do so by themselves.
        used: the back end.
        point: where the run goes on; past its beginning, the journals hold an earlier attempt.
    """

    def __init__(
        self,
        run: RunDir,
        topology: Topology,
        nodes: Collection[str],
        apply: Apply | None,
        used: str = "paced",
        *,
        point: Point = BEGINNING,
    ) -> None:
        self._run, self._topology, self._apply, self._used = run, topology, apply, used
        self._missing, self._joined = set(nodes), 0
        self._tail = Tail(run)
        self._at_s = point.at_s
        if point.after:
            self._tail.skip()
        others = [event for event in topology.events if event.kind not in COMINGS]
        self._events = sorted(others, key=lambda event: event.at_s)
        self._timeline = Timeline(topology)
        live = set(self._timeline.live)
        self._lanes = {lane.key: lane.channel for lane in lanes(topology) if lane.link in live}
        self._over = threading.Event()
        self._error: EdgenetError | None = None
        self._thread: threading.Thread | None = None
        self._steps, self._late_s = 0, 0.0
        self._started: float | None = None
        self._journal: Journal | None = None
        self._lock = threading.RLock()

    def __enter__(self) -> Conductor:
        if self._topology.events or self._lanes:
            self._thread = threading.Thread(target=self._conduct, name="conductor", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            if self._journal is not None:
                self._journal.close()

    def order(self, fields: Mapping[str, Any]) -> str:
        """Have something happen to a link now; returns what, in a sentence. On any thread.

        Args:
            fields: an event of a topology without its time: {"cut": "cell", "nodes": ["cam1"]}.

        Raises:
            InputError: it cannot be, or not yet.
        """
        with self._lock:
            at_s = self._now()
            event = read_order(fields, self._topology, at_s)
            events = (*self._topology.events, event)
            topology = dataclasses.replace(self._topology, events=events)
            check_events(topology)
            if self._used == "none":
                raise InputError("nothing is shaped in this run; start it with another --shaping")
            reason = unsuited(self._used, topology)
            if reason is not None:
                raise InputError(reason)
            known = lanes(self._topology, self._timeline)
            named = {lane.key: lane.channel for lane in known if lane.link == event.target}
            self._topology, self._lanes = topology, named | self._lanes
            self._timeline.add(event)
            if self._apply is None:
                Orders(self._run.path).give(event)
            self._give(at_s)
            self._note(event, late_s=0.0, by="hand")
        return sentence(event)

    def note(self, what: str, target: str, says: str) -> None:
        """Write down what a person did to a node."""
        with self._lock:
            self._book().event("change", what=what, target=target, says=says, by="hand")

    def check(self) -> None:
        """Raises NodeError with what kept the timeline from being carried out."""
        if self._error is not None:
            raise NodeError(str(self._error)) from self._error

    def _conduct(self) -> None:
        try:
            if self._all_joined():
                self._play(self._begin())
            if self._steps:
                late_s = round(self._late_s, 4)
                self._book().event("followed", steps=self._steps, late_s=late_s)
            self._book().event("end")
        except EdgenetError as error:  # for the main thread: see `check`
            self._error = error
        except OSError as error:
            self._error = CannotWrite(self._run.path, error.strerror)

    def _book(self) -> Journal:
        """The run's journal, from the first thing that there is to write."""
        with self._lock:
            if self._journal is None:
                self._journal = Journal(self._run.events_file, clock=RunClock(self._run.path))
            return self._journal

    def _begin(self) -> float:
        """Times count from now; returns it (time.monotonic)."""
        with self._lock:
            if self._started is None:
                self._started = Start.of(self._run.path).mark(self._at_s)
                on = {"at_s": round(self._at_s, 6)} if self._at_s else {}
                self._book().event("began", nodes=self._joined, **on)
            return self._started

    def _now(self) -> float:
        """The time of events. Where a topology has none, it begins with the first order."""
        if self._started is None and self._thread is None:
            self._hear()
            if not self._missing:
                self._begin()
        if self._started is None:
            raise InputError("the nodes have not all joined yet; try again in a moment")
        return time.monotonic() - self._started

    def _hear(self) -> bool:
        """Note who has joined or ended meanwhile; whether anybody has."""
        news = [event for event in self._tail.new() if event.name in ("joined", "end")]
        for event in news:
            self._joined += event.name == "joined"
            self._missing.discard(event.node)
        return bool(news)

    def _all_joined(self) -> bool:
        """Wait until every node has joined or ended; nodes that never do are waited for as long
        as the nodes themselves wait. False: the run is over, or nobody trains in it."""
        expected = len(self._missing)
        deadline = math.inf
        while self._missing and time.monotonic() < deadline:
            if self._hear() and math.isinf(deadline):
                deadline = time.monotonic() + self._topology.faults.join_s
            if self._missing and self._over.wait(_LOOK_S):
                return False
        return not self._over.is_set() and (self._joined > 0 or expected == 0)

    def _play(self, started: float) -> None:
        at_s = BEFORE
        if self._at_s:  # what had happened by then, has
            at_s = self._at_s
            with self._lock:
                self._give(at_s)
        while (due_s := self._timeline.after(at_s)) < math.inf:
            if self._over.wait(max(0.0, started + due_s - time.monotonic())):
                return
            with self._lock:
                now_s = max(due_s, time.monotonic() - started)
                self._give(now_s)
                late_s = round(time.monotonic() - started - due_s, 4)
                self._tell(at_s, now_s, late_s)
            at_s = now_s

    def _give(self, now_s: float) -> None:
        """Give all lanes that are not as they were the channels that they have now."""
        changes = {}
        for key, before in self._lanes.items():
            channel = self._timeline.channel(*key, now_s)
            if channel != before:
                changes[key] = channel
        self._lanes |= changes
        if changes and self._apply is not None:
            self._apply(changes)

    def _tell(self, before_s: float, now_s: float, late_s: float) -> None:
        """Write down what has happened since `before_s`."""
        told = False
        for event in self._events:
            if before_s < event.at_s <= now_s:
                told = True
                self._note(event, late_s)
        if not told:
            self._steps += 1
            self._late_s = max(self._late_s, late_s)

    def _note(self, event: TimedEvent, late_s: float, **more: str) -> None:
        named: dict[str, Any] = {"nodes": list(event.nodes)} if event.nodes else {}
        if event.kind == "degrade":
            named["settings"] = dict(event.settings)
        self._book().event(
            "change",
            what=event.kind,
            target=event.target,
            **named,
            says=sentence(event),
            asked_s=round(event.at_s, 4),
            late_s=late_s,
            **more,
        )
