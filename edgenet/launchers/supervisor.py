"""The launcher's side of a fork server: started, listened to, and never left behind. No torch."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from edgenet.errors import BAD_INPUT, InputError, Interrupted, NodeError
from edgenet.launchers.forkserver import REAL
from edgenet.launchers.ground import Ground
from edgenet.launchers.lines import LineReader, write_line
from edgenet.launchers.policy import Limits, Referee, Seat

_TICK_S = 0.1
_LEAVE_S = 4.0
"""For the fork server to end: it gives nodes whose launcher is gone 2 s, and then reaps them."""
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Nodes share the cores, and a process is forked more safely while it has one thread."""


@dataclass(frozen=True, kw_only=True)
class Cast:
    """A topology that was found sound."""

    topology: str
    """Its resolved text."""
    seats: tuple[Seat, ...]
    """One for each node that will be started, in rank order."""
    host_flops: float | None
    """What the host computes in FLOP/s as calibrated; None if nothing is slowed down."""
    shared_bytes: int = 0
    """Resident in the fork server when all was imported."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What run.json says of it besides (parameters, notes on the data)."""


class StopSignals:
    """Counts Ctrl-C, SIGTERM and SIGHUP instead of dying of them, while it is entered."""

    _NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.count = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        for number in self._NUMBERS:
            self._before[number] = signal.signal(number, self._caught)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _caught(self, *_: object) -> None:
        self.count += 1


class Supervisor:
    """One run's fork server, from the outside.

    Entering starts it, leaving ends it and every node that it started, whatever happened.

    Args:
        stop: what tells that the user wants to stop.
        limits: how long ending nodes are waited for.
        machinery: the module that the fork server works with.
    """

    def __init__(
        self, stop: StopSignals, limits: Limits | None = None, machinery: str = REAL
    ) -> None:
        self._stop, self._limits, self._machinery = stop, limits or Limits(), machinery
        self._forked = False
        self._held: Mapping[str, Any] = {"limits": "none", "groups": {}}
        self._heeded = 0  # of the user's signals

    def __enter__(self) -> Supervisor:
        self._errors = tempfile.TemporaryFile()
        server = ["-m", "edgenet.launchers.forkserver", self._machinery, str(os.getpid())]
        # Its own session: Ctrl-C at the terminal reaches the launcher alone, which decides.
        self._process = subprocess.Popen(
            [sys.executable, *server],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
            env={**_ONE_THREAD, **os.environ},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._orders = self._process.stdin
        self._reports = LineReader(self._process.stdout.fileno())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._orders.close()  # which it takes as the order to stop
        if not self._forked:
            self._process.terminate()  # busy with imports, it would not look at the pipe
        try:
            self._process.wait(self._limits.term_s + _LEAVE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its nodes follow it (children.die_with_parent)
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()

    @property
    def pid(self) -> int:
        """Process id of the fork server."""
        return self._process.pid

    def prepare(self, path: Path, overrides: Sequence[str]) -> Cast:
        """Have a topology read and checked against all that exists, and everything warmed up.

        Raises:
            InputError: it is not sound, or what it needs (a dataset) is not there.
            Interrupted: the user stopped it.
        """
        self._order("resolve", path=str(path), overrides=list(overrides))
        plan: dict[str, Any] = {}
        for line in self._lines():
            if line["is"] == "ready":
                break
            plan = line
        seats = tuple(_seat(fields) for fields in plan["seats"])
        return Cast(
            topology=plan["topology"],
            seats=seats,
            host_flops=line["host_flops"],
            shared_bytes=line["shared_bytes"],
            facts=plan.get("facts", {}),
        )

    def hold(self, order: Mapping[str, Any]) -> None:
        """What holds the nodes to their devices (`limits.Held.order`); before `start`."""
        self._held = order

    def start(
        self,
        run_dir: Path,
        shaping: str,
        ground: Ground | None = None,
        probe: Mapping[str, Any] | None = None,
        resume: int = 0,
        later: Collection[str] = (),
        seated: Mapping[str, str] | None = None,
    ) -> None:
        """Start the nodes, with a fresh join key. What becomes of them, `watch` tells.

        Args:
            run_dir: the run's folder.
            shaping: the back end in use.
            ground: the namespaces that the nodes are to stand in; None: this process's own.
            probe: how the links are measured first; None: not at all.
            resume: the round that the nodes go on after; 0: from the start.
            later: the nodes that only `fork` starts.
            seated: lost node -> the spare device that plays on under its name.
        """
        key = secrets.token_hex(32)
        self._forked = True
        fields = None if ground is None else ground.fields()
        folder = str(run_dir.resolve())
        self._order(
            "start", run_dir=folder, key=key, shaping=shaping, ground=fields,
            probe=None if probe is None else dict(probe), resume=resume, later=list(later),
            seated=dict(seated or {}), **self._held,
        )  # fmt: skip

    def fork(self, node: str) -> None:
        """Start a node that comes later, or again."""
        self._order("fork", node=node)

    def watch(self, cast: Cast, referee: Referee) -> Iterator[dict[str, Any] | None]:
        """Every report until all nodes have ended and none is to come, and None whenever a moment
        has passed; obeys the referee and the user meanwhile.

        Raises:
            NodeError: the fork server itself has ended, or could not start all nodes.
        """
        while True:
            lines = self._reports.read_for(_TICK_S)
            if not lines and self._reports.ended:
                raise NodeError(self._death())
            for line in lines:
                if line["is"] == "empty" and (referee.over or referee.stopping):
                    return
                if line["is"] == "refused":
                    raise NodeError(line["text"])
                if line["is"] == "ended":
                    referee.ended(line["node"], line["code"], line["signal"], time.monotonic())
                yield line
            yield None
            self._heed(referee)

    def signal(self, node: str, number: signal.Signals) -> None:
        """Send a signal to a node; nothing if it has ended. Safe on any thread."""
        self._order("signal", node=node, number=int(number))

    def _heed(self, referee: Referee) -> None:
        if self._stop.count > self._heeded:
            self._heeded = self._stop.count
            patience_s = 0.0 if referee.interrupted else self._limits.term_s
            referee.interrupt()
            self._order("stop", grace_s=patience_s)
        elif referee.must_stop(time.monotonic()):
            self._order("stop", grace_s=self._limits.term_s)

    def _order(self, what: str, **fields: Any) -> None:
        # If it is gone, its reports end as well, and that is where it is noticed.
        with contextlib.suppress(BrokenPipeError):
            write_line(self._orders.fileno(), **{"do": what, **fields})

    def _lines(self) -> Iterator[dict[str, Any]]:
        """Reports before any node runs: a refusal, the end and the user's stop are raised."""
        while True:
            if self._stop.count:
                raise Interrupted("interrupted before any node was started")
            for line in self._reports.read_for(_TICK_S):
                if line["is"] == "refused":
                    raise _refusal(line)
                yield line
            if self._reports.ended:
                raise NodeError(self._death())

    def _death(self) -> str:
        """Why the fork server is no more, in a sentence."""
        self._orders.close()
        status = self._process.wait(self._limits.term_s + _LEAVE_S)
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - 4096))
        words = self._errors.read().decode(errors="replace").strip().splitlines()
        how = f"with exit code {status}"
        if status < 0:
            how = f"by {signal.Signals(-status).name}"
        return f"the fork server ended {how}: {words[-1] if words else 'it left no word'}"


def _refusal(line: Mapping[str, Any]) -> Exception:
    return (InputError if line["code"] == BAD_INPUT else NodeError)(line["text"])


def _seat(fields: Mapping[str, Any]) -> Seat:
    return Seat(**{**fields, "peers": tuple(fields["peers"])})
