"""What a person may do to a run that goes on, and the socket in its folder by which it is told.

`<run>/control` is a Unix socket that only its owner may open. One connection carries one order, a
JSON object in a line, and is answered by one line: `{"says": what happened}` or `{"refused": why}`.

| order | does |
| --- | --- |
| `degrade`, `cut`, `restore` a link | what the topology's events of these names do, from now on |
| `pause` a node | SIGSTOP: it is there, and says nothing; its peers find it silent after a while |
| `continue` a node | SIGCONT |
| `kill` a node | SIGKILL |

    {"degrade": "cell", "rate": "2 Mbit", "nodes": ["cam1"]}
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from edgenet.errors import EdgenetError, InputError
from edgenet.launchers.conductor import Conductor
from edgenet.launchers.policy import Referee
from edgenet.launchers.supervisor import Supervisor
from edgenet.results.rundir import RunDir
from edgenet.topology.events import ORDERS
from edgenet.topology.section import choose

_SIGNALS = {
    "pause": (signal.SIGSTOP, "is paused"),
    "continue": (signal.SIGCONT, "goes on"),
    "kill": (signal.SIGKILL, "is killed"),
}
_MOST_BYTES = 65536
_PATIENCE_S = 5.0


class Control:
    """Serves the socket of one run; a context manager that ends with it.

    Args:
        run: its folder.
        conductor: changes links, and writes down what happened.
        supervisor: reaches the nodes.
        referee: knows who has ended.
    """

    def __init__(
        self, run: RunDir, conductor: Conductor, supervisor: Supervisor, referee: Referee
    ) -> None:
        self._run, self._conductor = run, conductor
        self._supervisor, self._referee = supervisor, referee
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)

    def __enter__(self) -> Control:
        self._socket = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)
        try:
            with short_name(self._run.control) as address:
                self._socket.bind(address)
            self._socket.listen()
        except OSError:
            self._socket.close()  # a file system without sockets: this run takes no orders
        finally:
            os.umask(before)
        return self

    def serve(self) -> None:
        """Take orders from now on: the nodes have been started. Those that came before wait."""
        if self._socket.fileno() >= 0:
            self._thread.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._run.control.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread up
        self._socket.close()
        if self._thread.ident is not None:
            self._thread.join()

    def carry_out(self, order: Mapping[str, Any]) -> str:
        """Do what a person orders; returns what happened, in a sentence.

        Raises:
            InputError: it cannot be.
        """
        kinds = [kind for kind in (*_SIGNALS, *ORDERS) if kind in order]
        if len(kinds) != 1:
            given = ", ".join(map(str, order)) or "nothing"
            choices = ", ".join((*_SIGNALS, *ORDERS))
            raise InputError(f"an order is one of {choices}; this one says {given}")
        if kinds[0] in ORDERS:
            return self._conductor.order(order)
        return self._signal(kinds[0], str(order[kinds[0]]))

    def _signal(self, kind: str, node: str) -> str:
        names = [seat.name for seat in self._referee.seats]
        if node not in names:
            raise InputError(f"there is no node '{node}'; {choose(node, 'nodes', names)}")
        if node in self._referee.ends:
            raise InputError(f"{node} has ended already")
        number, verb = _SIGNALS[kind]
        self._supervisor.signal(node, number)
        says = f"{node} {verb}"
        self._conductor.note(kind, node, says)
        return says

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return  # closed: the run is over
            with caller, contextlib.suppress(OSError):
                caller.settimeout(_PATIENCE_S)
                caller.sendall(json.dumps(self._answer(caller)).encode() + b"\n")

    def _answer(self, caller: socket.socket) -> dict[str, str]:
        try:
            order = json.loads(_line(caller))
            if not isinstance(order, dict):
                raise InputError("an order is a JSON object")
            return {"says": self.carry_out(order)}
        except ValueError as error:
            return {"refused": f"an order is a JSON object in one line: {error}"}
        except EdgenetError as error:
            return {"refused": str(error)}


def ask(run: RunDir, order: Mapping[str, Any]) -> str:
    """Have an order carried out by the launcher of a run; returns what happened, in a sentence.

    Raises:
        InputError: it was refused, or nobody is there to carry it out.
    """
    with socket.socket(socket.AF_UNIX) as launcher:
        launcher.settimeout(_PATIENCE_S)
        try:
            with short_name(run.control) as address:
                launcher.connect(address)
            launcher.sendall(json.dumps(dict(order)).encode() + b"\n")
            answer = json.loads(_line(launcher))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{run.path}: no launcher takes orders there ({error}); the run is over, or was "
                "started by other means than `edgenet run`"
            ) from None
    if "refused" in answer:
        raise InputError(answer["refused"])
    return str(answer["says"])


def _line(source: socket.socket) -> bytes:
    """One line, as far as it came."""
    data = b""
    while not data.endswith(b"\n") and len(data) < _MOST_BYTES:
        part = source.recv(4096)
        if not part:
            break
        data += part
    return data


@contextmanager
def short_name(path: Path) -> Iterator[str]:
    """A name of the socket that is short enough: the kernel takes 107 bytes."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        short = f"/proc/self/fd/{folder}/{path.name}"
        yield short if os.path.isdir(os.path.dirname(short)) else str(path)
    finally:
        os.close(folder)
