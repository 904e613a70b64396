"""Carries out what a topology has happen during a run: events, fading and traces.

A thread of the launcher. It marks the moment at which all nodes have joined, from which the
times of the topology count; then, whenever something is due, gives the network's lanes the channels
that the timeline has for them. Under `paced` the links look at the same timeline themselves. What
happened goes into the run's own journal, `events.jsonl`:

| e | fields |
| --- | --- |
| `began` | nodes (how many had joined) |
| `change` | what (the event's kind), target, nodes?, says (a sentence), asked_s, late_s |
| `followed` | steps, late_s (the most): how often fading and traces were applied |
| `end` | |
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Mapping
from types import TracebackType

from edgenet.channels import BEFORE, Timeline
from edgenet.errors import EdgenetError, NodeError
from edgenet.meters import Journal
from edgenet.meters.start import Start
from edgenet.results.events import Tail
from edgenet.results.rundir import RunDir
from edgenet.shaping.lanes import lanes
from edgenet.topology.events import sentence
from edgenet.topology.spec import Channel, Topology

_LOOK_S = 0.05

Apply = Callable[[Mapping[tuple[str, str, str], Channel]], None]


class Conductor:
    """Runs a topology's timeline beside a run; a context manager that ends with the run.

    Args:
        run: its folder; the nodes' journals tell who has joined.
        topology: what is run.
        nodes: names of the nodes that are started.
        apply: gives running lanes, named by (link, source, target), other channels; None where
            the links do so by themselves.
    """

    def __init__(
        self, run: RunDir, topology: Topology, nodes: Collection[str], apply: Apply | None
    ) -> None:
        self._run, self._topology, self._apply = run, topology, apply
        self._missing, self._joined = set(nodes), 0
        self._events = sorted(topology.events, key=lambda event: event.at_s)
        self._timeline = Timeline(topology)
        live = set(self._timeline.live)
        self._lanes = {lane.key: lane.channel for lane in lanes(topology) if lane.link in live}
        self._over = threading.Event()
        self._error: EdgenetError | None = None
        self._thread: threading.Thread | None = None
        self._steps, self._late_s = 0, 0.0

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

    def check(self) -> None:
        """Raises NodeError with what kept the timeline from being carried out."""
        if self._error is not None:
            raise NodeError(str(self._error)) from self._error

    def _conduct(self) -> None:
        journal = Journal(self._run.events_file)
        try:
            if self._all_joined():
                started = Start.of(self._run.path).mark()
                journal.event("began", nodes=self._joined)
                self._play(started, journal)
        except EdgenetError as error:  # for the main thread: see `check`
            self._error = error
        finally:
            if self._steps:
                journal.event("followed", steps=self._steps, late_s=round(self._late_s, 4))
            journal.event("end")
            journal.close()

    def _all_joined(self) -> bool:
        """Wait until every node has joined or ended; nodes that never do are waited for as long
        as the nodes themselves wait. False: the run is over, or nobody trains in it."""
        expected = len(self._missing)
        tail, deadline = Tail(self._run), math.inf
        while self._missing and time.monotonic() < deadline:
            for event in tail.new():
                if event.name in ("joined", "end"):
                    self._joined += event.name == "joined"
                    self._missing.discard(event.node)
                    if math.isinf(deadline):
                        deadline = time.monotonic() + self._topology.faults.join_s
            if self._missing and self._over.wait(_LOOK_S):
                return False
        return not self._over.is_set() and (self._joined > 0 or expected == 0)

    def _play(self, started: float, journal: Journal) -> None:
        at_s = BEFORE
        while (due_s := self._timeline.after(at_s)) < math.inf:
            if self._over.wait(max(0.0, started + due_s - time.monotonic())):
                return
            now_s = max(due_s, time.monotonic() - started)
            self._give(now_s)
            late_s = round(time.monotonic() - started - due_s, 4)
            self._tell(at_s, now_s, late_s, journal)
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

    def _tell(self, before_s: float, now_s: float, late_s: float, journal: Journal) -> None:
        """Write down what has happened since `before_s`."""
        told = False
        for event in self._events:
            if before_s < event.at_s <= now_s:
                told = True
                journal.event(
                    "change",
                    what=event.kind,
                    target=event.target,
                    **({"nodes": list(event.nodes)} if event.nodes else {}),
                    says=sentence(event),
                    asked_s=event.at_s,
                    late_s=late_s,
                )
        if not told:
            self._steps += 1
            self._late_s = max(self._late_s, late_s)
