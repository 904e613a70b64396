"""The fork server: imports torch once, warms up, then forks one process per node and reaps them.

    python -m edgenet.launchers.forkserver MACHINERY LAUNCHER_PID

It is started anew by its launcher and not forked from it, so it is single-threaded and small when
it forks; it speaks the lines of `edgenet.launchers.lines` on stdin and stdout. It stays that way
until the last node has ended, since it may have to fork a node at any time: the rendezvous, which
needs threads, is a child like the nodes. Its socket listens before any fork, so a node may connect
at once.
"""

from __future__ import annotations

import gc
import importlib
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from edgenet.errors import DONE, NODE_FAILED, EdgenetError
from edgenet.launchers.children import Children, die_with_parent
from edgenet.launchers.ground import Ground
from edgenet.launchers.job import Job
from edgenet.launchers.limits import within
from edgenet.launchers.lines import LineReader, write_line
from edgenet.launchers.resuming import held
from edgenet.shaping.cgroups import Group, group, resident_bytes

REAL = "edgenet.launchers.machinery"
"""The module that does the work (see there); tests put a stand-in without torch in its place."""

_GRACE_S = 2.0  # for nodes whose launcher is gone
_BACKLOG = 4096


class Over(Exception):
    """There is nothing more to do; whoever had to be told has been told."""


class ForkServer:
    """One run's fork server.

    Args:
        machinery: a module like `edgenet.launchers.machinery`.
        orders: the launcher's lines.
        reports: file descriptor for the lines to the launcher.
    """

    def __init__(self, machinery: Any, orders: LineReader, reports: int) -> None:
        self._machinery, self._orders, self._reports = machinery, orders, reports
        self._children, self._rendezvous = Children(), Children()
        self._close: tuple[int, ...] = ()
        self._kill_at: float | None = None
        self._ground: Ground | None = None
        self._groups: dict[str, Group] = {}
        self._kills: dict[str, int] = {}
        self._plan: Any = None
        self._seated: dict[str, str] = {}
        self._host_flops: float | None = None
        self._shared_bytes = 0
        self._job: Job

    def serve(self) -> int:
        """Carry out one run, from the first order to the last reaped node."""
        try:
            order, self._shared_bytes = self._order("resolve"), resident_bytes()
            with self._refusing():
                self._plan = self._machinery.resolve(order["path"], order["overrides"])
                self._report("plan", **self._machinery.describe(self._plan))
                self._host_flops = self._machinery.warm_up(self._plan)
            flops = self._host_flops
            self._report("ready", host_flops=flops, shared_bytes=self._shared_bytes)
            order = self._order("start")
        except Over:
            return NODE_FAILED
        self._ground = Ground(**order["ground"]) if order["ground"] else None
        self._groups = {node: group(fields) for node, fields in order["groups"].items()}
        gc.collect()
        gc.freeze()  # the collector would touch, and so copy, the pages the nodes share
        with held(Path(order["run_dir"])) as folder, _wakeups() as wakeup:
            signal.signal(signal.SIGTERM, lambda *_: self._stop(_GRACE_S))
            self._close = (folder, self._orders.fd, self._reports, *wakeup)
            self._begin(order)
            self._supervise(wakeup[0])
            self._end_rendezvous()
        return DONE

    def _listener(self) -> socket.socket:
        if self._ground is not None:
            return self._ground.listener(_BACKLOG)
        return socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)

    def _order(self, name: str) -> dict[str, Any]:
        """Wait for the one order that may come now. The end, or a stop, comes instead: Over."""
        while not self._orders.ended:
            for line in self._orders.read():
                if line["do"] == name:
                    return line
                raise Over
        raise Over

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except EdgenetError as error:
            self._report("refused", code=error.exit_code, text=str(error))
            raise Over from error

    def _report(self, what: str, **fields: Any) -> None:
        try:
            write_line(self._reports, **{"is": what, **fields})
        except BrokenPipeError:
            self._stop(_GRACE_S)

    def _begin(self, order: dict[str, Any]) -> None:
        """Start the nodes: for the first time, or all of them again after all have ended."""
        self._end_rendezvous()
        for lost, spare in order["seated"].items():
            if self._seated.get(lost) != spare:
                self._plan = self._machinery.reseat(self._plan, lost, spare)
        self._seated = order["seated"]
        try:
            with self._listener() as listener:
                job = _job(order, listener, self._host_flops)
                self._job = replace(job, shared_bytes=self._shared_bytes)
                self._rendezvous.fork("", None, self._close, partial(self._meet, listener))
            for seat in self._plan.seats:
                if seat.name not in order["later"]:
                    self._fork(seat.name, self._job)
        except OSError as error:
            self._refuse(error)
            self._stop(_GRACE_S)

    def _refuse(self, error: OSError) -> None:
        self._report("refused", code=NODE_FAILED, text=_no_room(self._children, error))

    def _meet(self, listener: socket.socket) -> int:
        with self._machinery.rendezvous(listener, self._job.key):
            while True:
                signal.pause()

    def _end_rendezvous(self) -> None:
        self._rendezvous.signal(signal.SIGKILL)
        while len(self._rendezvous):
            self._rendezvous.reap()

    def _fork(self, node: str, job: Job) -> None:
        if self._kill_at is not None:
            return
        pid = self._children.fork(node, job.log(node), self._close, self._body(node, job))
        self._report("started", node=node, pid=pid)

    def _body(self, node: str, job: Job) -> Callable[[], int]:
        place = self._seated.get(node, node)
        if self._ground is not None:
            job = replace(job, address=self._ground.addresses[place])
        body: Callable[[], int] = partial(self._machinery.run_node, self._plan, node, job)
        if self._ground is not None:
            body = self._ground.on(place, body)
        return within(self._groups[place], body) if place in self._groups else body

    def _outgrew(self, node: str) -> bool:
        """Whether the kernel has ended it for want of memory since this was asked last."""
        place = self._seated.get(node, node)
        before = self._kills.get(place, 0)
        self._kills[place] = self._groups[place].kills() if place in self._groups else 0
        return self._kills[place] > before

    def _supervise(self, wakeup: int) -> None:
        """Until the stop was ordered and the last node has ended."""
        while True:
            ended = self._children.reap()
            for reaped in ended:
                if reaped.signal == signal.SIGKILL and self._outgrew(reaped.node):
                    self._machinery.outgrown(self._plan, reaped.node, self._job)
                self._report("ended", **vars(reaped))
            if not len(self._children):
                if ended:
                    self._report("empty")
                if self._kill_at is not None:
                    return
            for order in self._wait(wakeup):
                self._carry_out(order)
            if self._orders.ended:
                self._stop(_GRACE_S)
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                self._children.signal(signal.SIGKILL)

    def _carry_out(self, order: dict[str, Any]) -> None:
        match order["do"]:
            case "start":
                self._begin(order)
            case "stop":
                self._stop(order["grace_s"])
            case "signal":
                self._children.signal(signal.Signals(order["number"]), order["node"])
            case "fork":
                try:  # without a checkpoint: the others have gone on meanwhile
                    self._fork(order["node"], replace(self._job, again=True, resume=0))
                except OSError as error:
                    self._refuse(error)

    def _wait(self, wakeup: int) -> list[dict[str, Any]]:
        """Wait until a child has ended, orders have come (they are returned), or the grace is
        over."""
        poller = select.poll()
        poller.register(wakeup, select.POLLIN)
        if not self._orders.ended:
            poller.register(self._orders.fd, select.POLLIN)
        left = 1.0 if self._kill_at is None else self._kill_at - time.monotonic()
        ready = {fd for fd, _ in poller.poll(1000 * min(max(left, 0.05), 1.0))}
        if wakeup in ready:
            os.read(wakeup, 4096)
        return self._orders.read() if self._orders.fd in ready else []

    def _stop(self, grace_s: float) -> None:
        """SIGTERM now, SIGKILL after the grace; a second stop can only shorten it."""
        kill_at = time.monotonic() + grace_s
        if self._kill_at is None:
            self._children.signal(signal.SIGTERM)
            self._kill_at = kill_at
        self._kill_at = min(self._kill_at, kill_at)


def _job(order: dict[str, Any], listener: socket.socket, host_flops: float | None) -> Job:
    return Job(
        run_dir=Path(order["run_dir"]),
        key=bytes.fromhex(order["key"]),
        shaping=order["shaping"],
        probe=order["probe"],
        resume=order["resume"],
        later=tuple(order["later"]),
        store_host=listener.getsockname()[0],
        store_port=listener.getsockname()[1],
        host_flops=host_flops,
        limits=order["limits"],
    )


def _no_room(children: Children, error: OSError) -> str:
    return (
        f"the system refused to start node number {len(children) + 1}: {error.strerror}; "
        "raise the limit on processes (ulimit -u, pids.max) or use fewer nodes"
    )


@contextmanager
def _wakeups() -> Iterator[tuple[int, int]]:
    """A pipe that becomes readable when a signal has come."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader, writer
    finally:
        signal.set_wakeup_fd(-1)
        os.close(reader)
        os.close(writer)


def _raise_open_files() -> None:
    """One socket a node in the store: the soft limit of 1024 is soon reached."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> int:
    """Serve one run on stdin and stdout."""
    machinery, launcher = sys.argv[1:]
    die_with_parent(int(launcher), signal.SIGTERM)
    reports = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not mix with the reports
    _raise_open_files()
    return ForkServer(importlib.import_module(machinery), LineReader(0), reports).serve()


if __name__ == "__main__":
    sys.exit(main())
