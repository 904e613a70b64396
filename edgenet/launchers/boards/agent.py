"""`edgenet agent`: a board that waits for topologies from those who hold the cluster's key.

A caller first proves that it holds the key, within a few seconds; then every line is under
the key of the session (`sealed`). What it may ask for is a check of the board, a run of a sound
topology by edgenet's own schemes, and what is saved of one: no code, no path, no command ever comes
from a caller.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from edgenet.errors import EdgenetError, LinkError
from edgenet.launchers.boards import onboard
from edgenet.launchers.boards.runner import Order, carry_out, order_of, tell
from edgenet.launchers.boards.sealed import SealedLines, answer, run_key
from edgenet.launchers.boards.wheel import build
from edgenet.launchers.boards.wires import SILENCE_S
from edgenet.launchers.supervisor import StopSignals
from edgenet.links.handshake import GREETING_BYTES
from edgenet.links.listener import Bounds, Listener
from edgenet.node.user_scheme import is_path
from edgenet.topology import loads

BOUNDS = Bounds(first_bytes=GREETING_BYTES, silent=64, talking=16, burst=64, per_s=20.0)
"""What strangers may use."""


class Agent:
    """The service.

    Args:
        sock: listens.
        key: the cluster's.
        limit_s: after which a run is ended.
        data: the folder of this board's datasets; a caller cannot name one.
        stop: ends runs, when a signal asks for it.
        say: takes lines for the log.
    """

    def __init__(
        self,
        sock: socket.socket,
        key: bytes,
        limit_s: float,
        data: str,
        stop: StopSignals,
        say: Callable[[str], None],
    ) -> None:
        self._key, self._limit_s, self._data, self._stop, self._say = key, limit_s, data, stop, say
        self._digest = build().digest
        self._running = threading.Lock()
        self._listener = Listener(sock, self._serve, BOUNDS)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self._listener.address

    def wait(self) -> None:
        """Until a signal; a run that is under way is ended first."""
        while not self._stop.count:
            time.sleep(0.2)
        self._listener.close()
        with self._running:
            self._say("ended")

    def _serve(self, sock: socket.socket, proven: Callable[[], None]) -> None:
        who = sock.getpeername()[0]
        try:
            wire = answer(sock, self._key, proven)
        except LinkError as error:
            sock.close()
            self._say(f"{who} was turned away: {error}")
            return
        with closing(wire):
            try:
                self._obey(wire, who, _next(wire))
            except (KeyError, TypeError, ValueError, OSError) as error:
                why = getattr(error, "strerror", None) or str(error)
                self._say(f"{who} was refused: {why}")
                wire.send(**{"is": "refused", "text": why})

    def _obey(self, wire: SealedLines, who: str, order: dict[str, Any]) -> None:
        """Raises ValueError for an order that is none."""
        if order.get("do") == "check":
            asked = {"name": "", "address": str(order["address"]), "run": str(order.get("run"))}
            facts = {"present": True, "edgenet": self._digest}
            with suppress(_Over):
                onboard.check(asked, wire.send, partial(_next, wire), **facts)
        elif order.get("do") == "tell":
            tell(wire, order)
        elif order.get("do") == "run":
            self._run(wire, who, order)
        else:
            raise ValueError(f"there is no order '{order.get('do')}'")

    def _run(self, wire: SealedLines, who: str, fields: dict[str, Any]) -> None:
        order = self._sound(fields)
        if not self._running.acquire(blocking=False):
            raise ValueError("another topology runs here; wait for its end")
        try:
            self._say(f"{who} runs {', '.join(order.nodes)}")
            carry_out(wire, order, self._stop, self._limit_s)
        finally:
            self._running.release()
            self._say(f"the run of {who} is over")

    def _sound(self, fields: dict[str, Any]) -> Order:
        """The order, with what only this board may say put in."""
        salt = str(fields.pop("salt", ""))
        order = order_of(fields)
        if order.code is not None:
            raise ValueError("an agent takes no code from others; use a scheme of edgenet, or ssh")
        try:
            topology = loads(order.topology, "the topology")
        except EdgenetError as error:
            raise ValueError(str(error)) from None
        if is_path(topology.train.scheme) or any(
            link.profile == "trace" for link in topology.links
        ):
            raise ValueError("an agent reads no files for others: no scheme from one, no traces")
        unknown = [name for name in order.nodes if name not in {n.name for n in topology.nodes}]
        if unknown or not order.nodes:
            raise ValueError(f"the topology has no node '{''.join(unknown[:1])}'")
        return replace(order, key=run_key(self._key, salt), data=self._data)


class _Over(ValueError):
    """The caller says nothing (more)."""


def _next(wire: SealedLines) -> dict[str, Any]:
    line = wire.next(SILENCE_S)
    if line is None:
        raise _Over("nothing was asked")
    return line
