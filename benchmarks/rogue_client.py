"""Calls on every port that a process and its children listen on, without the key and without end.

    python benchmarks/rogue_client.py PID [--per-second N] [--held N] [--cores C ...] [--eager]
    python benchmarks/rogue_client.py --bystander PORTS [--cores C ...]

It looks for ports all the time, and on each of them it makes so many calls a second, of every kind
in `CALLS`, and holds so many half-open conversations. SIGTERM ends it; it then says what it did.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import selectors
import signal
import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType

import psutil

from edgenet.errors import EdgenetError
from edgenet.links.cable import MAGIC, OPENING_BYTES
from edgenet.links.handshake import GREETING_BYTES, Conversation, Identity
from edgenet.links.rendezvous import Rendezvous

_CONNECT_S, _TALK_S = 0.3, 1.0
_LOOK_S, _LOOK_AGAIN_S = 0.1, 2.0
"""Between two looks for ports: while there are new ones, and then. A look costs some 20 ms of a
core, which would be the looking's and not the calls' share in what a run loses."""
_SETTLED = 10
"""Looks without a new port after which there is time."""
_WRONG = Identity(node="learner0", key=b"another key", digest=bytes(32))

_WAITING = 64
"""Callers that a bystander keeps waiting on each of its ports."""

Address = tuple[str, int]
Call = Callable[[socket.socket], None]


def _garbage(sock: socket.socket) -> None:
    sock.sendall(secrets.token_bytes(secrets.randbelow(4096) + 1))


def _oversized(sock: socket.socket) -> None:
    """A frame that announces a tebibyte, and a mebibyte of it."""
    sock.sendall(
        b"EDGN" + struct.pack("<BBBxIQQQ", 1, 1, 0, 0, 1, 1 << 40, 1 << 40) + bytes(1 << 20)
    )


def _wrong_key(sock: socket.socket) -> None:
    """A node of the run's names, with another key."""
    with suppress(EdgenetError):
        Conversation(sock, _WRONG, "server", time.monotonic() + _TALK_S).run()


def _wrong_key_at_the_table(sock: socket.socket) -> None:
    host, port = sock.getpeername()[:2]
    with suppress(EdgenetError):
        table = Rendezvous(host, port, _WRONG.key)
        table.publish("server", ("127.0.0.1", 1), timeout_s=0.0)


def _false_cable(sock: socket.socket) -> None:
    terms = MAGIC + struct.pack("!I", 1 << 20) + secrets.token_bytes(48)
    sock.sendall(terms.ljust(OPENING_BYTES, b"\0"))


def _gloo(sock: socket.socket) -> None:
    """What a gloo pair says that dials: a number, then a message longer than any receive."""
    preamble = struct.pack("<QBxxxxxxxQQQQ", 1 << 40, 2, 1, 0, 1 << 40, 0)
    sock.sendall(struct.pack("<q", secrets.randbelow(64)) + preamble + bytes(4096))


def _replay() -> bytes:
    """All that a node says in a handshake that succeeds, in another run."""
    left, right = socket.socketpair()
    said = bytearray()
    with left, right:
        until = time.monotonic() + 10.0
        server = Identity(node="server", key=_WRONG.key, digest=_WRONG.digest)
        args = (left, server, None, until)
        other = threading.Thread(target=lambda: Conversation(*args).run())
        other.start()
        talk = Conversation(right, _WRONG, "server", until)
        send = talk._exchange
        talk._exchange = lambda mine, nbytes: said.extend(mine) or send(mine, nbytes)  # type: ignore
        talk.run()
        other.join()
    return bytes(said)


_RECORDED = _replay()


def _replayed(sock: socket.socket) -> None:
    sock.sendall(_RECORDED)
    sock.settimeout(_TALK_S)
    while sock.recv(4096):
        pass


def _silent(sock: socket.socket) -> None:
    """Connected, nothing said, gone."""


CALLS: Mapping[str, Call] = MappingProxyType(
    {
        "garbage": _garbage,
        "oversized frame": _oversized,
        "wrong key": _wrong_key,
        "wrong key at the table": _wrong_key_at_the_table,
        "false cable": _false_cable,
        "gloo": _gloo,
        "replay": _replayed,
        "silent": _silent,
    }
)


class Rogue:
    """Everything that calls; each port has a thread for calls and one for what is held open."""

    def __init__(self, pid: int, per_second: float, held: int) -> None:
        self._root, self._per_second, self._held = psutil.Process(pid), per_second, held
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.told: Counter[str] = Counter()
        self.ports: set[Address] = set()

    def run(self) -> None:
        """Until `stop`."""
        looks = 0
        while not self._over.wait(_LOOK_S if looks < _SETTLED else _LOOK_AGAIN_S):
            new, looks = self._listening() - self.ports, looks + bool(self.ports)
            for address in new:
                self.ports.add(address)
                looks = 0
                for work in (self._call, self._hold):
                    threading.Thread(target=work, args=(address,), daemon=True).start()

    def stop(self, *_: object) -> None:
        """Make no more calls."""
        self._over.set()

    def _listening(self) -> set[Address]:
        found: set[Address] = set()
        with suppress(psutil.Error):
            for process in (self._root, *self._root.children(recursive=True)):
                with suppress(psutil.Error):
                    for each in process.net_connections("tcp"):
                        if each.status == psutil.CONN_LISTEN:
                            found.add((each.laddr.ip, each.laddr.port))
        return found

    def _call(self, address: Address) -> None:
        calls = list(CALLS.items())
        while not self._over.wait(1.0 / self._per_second):
            name, call = calls[secrets.randbelow(len(calls))]
            self._note(name, self._one(address, call))

    def _one(self, address: Address, call: Call) -> str:
        try:
            with socket.create_connection(address, timeout=_CONNECT_S) as sock:
                call(sock)
        except TimeoutError:
            return "unanswered"
        except OSError:
            return "hung up on"
        return "said"

    def _hold(self, address: Address) -> None:
        """Half a greeting or none, and then a byte now and then."""
        held: list[socket.socket] = []
        while not self._over.wait(2.0 / self._held):
            try:
                sock = socket.create_connection(address, timeout=_CONNECT_S)
                sock.sendall(b"EDGE" + bytes(secrets.randbelow(GREETING_BYTES - 8)))
                held.append(sock)
                self._note("slow", "said")
            except OSError:
                self._note("slow", "unanswered")
            if len(held) > self._held:
                held.pop(0).close()
            for sock in held[:: max(1, len(held) // 4)]:
                with suppress(OSError):
                    sock.send(b"\0")
        for sock in held:
            sock.close()

    def _note(self, call: str, how: str) -> None:
        with self._lock:
            self.told[f"{call}, {how}"] += 1


def _stand_by(ports: int) -> None:
    """Take whoever calls, say nothing, and hang up on the one who has waited for longest."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    waiting: deque[socket.socket] = deque()
    with selectors.DefaultSelector() as selector:
        for _ in range(ports):
            selector.register(socket.create_server(("127.0.0.1", 0)), selectors.EVENT_READ)
        print("listening", flush=True)
        while True:
            for key, _ in selector.select():
                assert isinstance(key.fileobj, socket.socket)
                waiting.append(key.fileobj.accept()[0])
                if len(waiting) > _WAITING * ports:
                    waiting.popleft().close()


def _give_way() -> None:
    """What the rogue takes of the processor shall not be what slows the run down: it would be
    another machine's."""
    os.nice(19)
    with suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def main() -> None:
    """Call until SIGTERM, or until the process has ended."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pid", type=int, nargs="?", help="whom to call on")
    parser.add_argument("--bystander", type=int, metavar="PORTS", help="be called on instead")
    parser.add_argument("--per-second", type=float, default=50.0, help="calls on each port")
    parser.add_argument("--held", type=int, default=64, help="half-open calls on each port")
    parser.add_argument("--cores", type=int, nargs="+", help="to run on these alone")
    parser.add_argument("--eager", action="store_true", help="take a share of the processor")
    given = parser.parse_args()
    if given.cores:
        os.sched_setaffinity(0, given.cores)
    if given.bystander:
        _stand_by(given.bystander)
        return
    if not given.eager:
        _give_way()
    rogue = Rogue(given.pid, given.per_second, given.held)
    signal.signal(signal.SIGTERM, rogue.stop)
    print("calling", flush=True)
    rogue.run()
    print(json.dumps({"ports": len(rogue.ports), "calls": dict(rogue.told)}), flush=True)


if __name__ == "__main__":
    main()
