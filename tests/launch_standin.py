"""A fork server's machinery without torch: nodes that do what a script says.

The "topology" is a JSON file, {node: {"do": ..., "essential": bool, "peers": [...]}}.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from edgenet.errors import DataError, TopologyError
from edgenet.meters.journal import Journal


@dataclass
class Seat:
    name: str
    do: str = "sleep"
    essential: bool = True
    joins: bool = False
    peers: list[str] = field(default_factory=list)


def resolve(path: str, overrides: list[str]) -> SimpleNamespace:
    text = os.environ.get("STANDIN_SCRIPT") or Path(path).read_text()
    script = json.loads(text)
    if not script:
        raise TopologyError(f"{path}:1: no nodes")
    return SimpleNamespace(
        seats=[Seat(name, **fields) for name, fields in script.items()], text=text
    )


def describe(plan: SimpleNamespace) -> dict[str, object]:
    return {
        "topology": plan.text,
        "seats": [
            {
                "name": seat.name,
                "role": "server" if seat.essential else "learner",
                "device": "host",
                "essential": seat.essential,
                "peers": seat.peers,
                "returns": not seat.essential,
            }
            for seat in plan.seats
        ],
    }


def warm_up(plan: SimpleNamespace) -> float | None:
    if any(seat.do == "no-data" for seat in plan.seats):
        raise DataError("digits: not there")
    if any(seat.do == "slow-start" for seat in plan.seats):
        threading.Event().wait(30)
    return 1e9


def rendezvous(listener: socket.socket, key: bytes) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


def run_node(plan: SimpleNamespace, name: str, job: SimpleNamespace) -> int:
    do, joins = next((seat.do, seat.joins) for seat in plan.seats if seat.name == name)
    do = "sleep" if job.again and do == "once" else do
    journal = Journal(job.run_dir / "nodes" / name / "events.jsonl")
    if do != "stubborn":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    else:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    journal.event("start", node=name, role="x", device="host", pid=os.getpid())
    if joins:
        journal.event("joined")
    return ACTS[do](journal)


def _sleep(journal: Journal) -> int:
    try:
        threading.Event().wait(60)
    except SystemExit:
        journal.event("end", status="interrupted", code=130)
        return 130
    return 0


def _on_usr1(journal: Journal) -> int:
    signal.sigtimedwait({signal.SIGUSR1}, 60)
    return _done(journal)


def _done(journal: Journal) -> int:
    journal.event("end", status="done", code=0)
    return 0


def _fail(journal: Journal) -> int:
    journal.event("end", status="failed", error="out of memory at round 2", code=3)
    return 3


def _fail_on_usr1(journal: Journal) -> int:
    signal.sigtimedwait({signal.SIGUSR1}, 60)
    return _fail(journal)


def _crash(journal: Journal) -> int:
    raise RuntimeError("never seen before")


def _print(journal: Journal) -> int:
    print("to stdout")
    print("to stderr", file=sys.stderr)
    return int(sys.stdin.read() != "")


def _fds(journal: Journal) -> int:
    """0 if nothing but the three standard files and the journal is open."""
    fds = {int(name) for name in os.listdir("/proc/self/fd")}
    links = {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in fds if fd > 2 and _open(fd)}
    print(links)
    return len([path for path in links.values() if not path.endswith("events.jsonl")])


def _open(fd: int) -> bool:
    return os.path.exists(f"/proc/self/fd/{fd}")


ACTS: dict[str, Callable[[Journal], int]] = {
    "sleep": _sleep,
    "on-usr1": _on_usr1,
    "fail-on-usr1": _fail_on_usr1,
    "stubborn": _sleep,
    "done": _done,
    "fail": _fail,
    "crash": _crash,
    "print": _print,
    "fds": _fds,
    "abort": lambda journal: os.abort(),
    "once": lambda journal: os.abort(),
    "bad-input": lambda journal: 2,
    "slow-start": _sleep,
}
