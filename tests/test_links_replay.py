"""What strangers hear and say again: the table, and recordings of true conversations."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from link_pairs import DIGEST, KEY, both, endpoint

from edgenet.errors import NodeError
from edgenet.links.handshake import Conversation, Identity
from edgenet.links.listener import Listener, listen
from edgenet.links.rendezvous import Rendezvous, RendezvousServer
from edgenet.links.shared import Shared
from edgenet.meters.journal import Journal


@pytest.fixture
def server() -> Iterator[RendezvousServer]:
    """A rendezvous of its own for each test."""
    with RendezvousServer(KEY) as running:
        yield running


def test_the_table_is_for_those_with_the_key_only(server: RendezvousServer) -> None:
    Rendezvous(*server.address, KEY).publish("hub", ("127.0.0.1", 4000))
    stranger = Rendezvous(*server.address, b"another key")
    with pytest.raises(NodeError, match=r"does not hold the same join key; .*EDGENET_KEY"):
        stranger.publish("hub", ("127.0.0.1", 6666), timeout_s=5.0)
    with pytest.raises(NodeError, match="does not hold the same join key"):
        stranger.look_up("hub", timeout_s=5.0)
    assert Rendezvous(*server.address, KEY).look_up("hub", timeout_s=5.0) == ("127.0.0.1", 4000)


def test_a_table_of_strangers_is_not_believed() -> None:
    with RendezvousServer(b"another key") as false:
        Rendezvous(*false.address, b"another key").publish("hub", ("127.0.0.1", 6666))
        with pytest.raises(NodeError, match="does not hold the same join key"):
            Rendezvous(*false.address, KEY).look_up("hub", timeout_s=5.0)


def test_a_recorded_request_is_worth_nothing(server: RendezvousServer) -> None:
    """The server's nonce is another one each time."""
    said = record(lambda address: Rendezvous(*address, KEY).publish("hub", ("1.2.3.4", 5)), server)
    board = Rendezvous(*server.address, KEY)
    board.publish("hub", ("127.0.0.1", 4000))
    with socket.create_connection(server.address, timeout=5) as sock:
        sock.sendall(said)
        answered = b""
        while part := sock.recv(4096):
            answered += part
    assert answered[32] == 1  # after the nonce: another key
    assert board.look_up("hub", timeout_s=5.0) == ("127.0.0.1", 4000)


def test_a_recorded_handshake_is_worth_nothing(server: RendezvousServer, tmp_path: Path) -> None:
    shared = Shared(journal=Journal(tmp_path / "e.jsonl"))
    hub, peer = endpoint(server, "hub", shared), endpoint(server, "p2")

    identity = Identity(node="p1", key=KEY, digest=DIGEST)

    def dial(address: tuple[str, int]) -> None:
        with socket.create_connection(address, timeout=5) as sock:
            Conversation(sock, identity, "hub", time.monotonic() + 5).run()

    with contextlib.ExitStack() as stack:
        stack.callback(peer.close)
        stack.callback(hub.abandon)
        said = record(dial, hub._listener)
        for _ in range(3):
            with socket.create_connection(hub._listener.address, timeout=5) as sock:
                sock.sendall(said)
                while sock.recv(4096):
                    pass
        both(hub, peer)
        assert hub.newcomers(["p1"]) == []
    shared.journal.close()
    events = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text().splitlines()]
    assert {(e["peer"], e["what"]) for e in events if e["e"] == "fault"} == {("'p1'", "refused")}


def record(talk: Callable[[tuple[str, int]], object], server: RendezvousServer | Listener) -> bytes:
    """What a client says to `server`, heard by somebody in between."""
    heard = bytearray()

    def forward(source: socket.socket, target: socket.socket, keep: bool) -> None:
        with contextlib.suppress(OSError):
            while part := source.recv(4096):
                heard.extend(part if keep else b"")
                target.sendall(part)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    with listen() as middle, ThreadPoolExecutor(1) as pool:
        talking = pool.submit(talk, middle.getsockname()[:2])
        caller, _ = middle.accept()
        with caller, socket.create_connection(server.address) as onward:
            back = threading.Thread(target=forward, args=(onward, caller, False))
            back.start()
            forward(caller, onward, True)
            back.join(5)
        talking.result(timeout=5)
    return bytes(heard)
