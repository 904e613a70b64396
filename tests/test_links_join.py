"""Joining: who finds whom, who is let in, and what both ends say when not."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat
from pathlib import Path

import pytest
from link_pairs import DIGEST, KEY, both, endpoint

from edgenet.errors import JoinRefused, LinkError, LinkTimeout, NodeError, PeerLost
from edgenet.links.endpoint import Endpoint
from edgenet.links.handshake import (
    GREETING_BYTES,
    PROOF_BYTES,
    Conversation,
    Identity,
    Session,
    Verdict,
)
from edgenet.links.link import WireLink
from edgenet.links.listener import listen
from edgenet.links.rendezvous import Rendezvous, RendezvousServer
from edgenet.links.shared import Shared
from edgenet.links.wiring import Wiring
from edgenet.meters.journal import Journal


@pytest.fixture
def server() -> Iterator[RendezvousServer]:
    """A rendezvous of its own for each test."""
    with RendezvousServer(KEY) as running:
        yield running


@contextlib.contextmanager
def closing(*endpoints: Endpoint) -> Iterator[None]:
    """Close side by side: each goodbye wants an answer."""
    try:
        yield
    finally:
        with ThreadPoolExecutor(len(endpoints)) as pool:
            list(pool.map(Endpoint.close, endpoints))


REFUSALS = [
    ({"key": b"another key"}, "does not hold the same join key", "EDGENET_KEY"),
    ({"digest": bytes(32)}, "runs another topology", "the same topology file"),
]


@pytest.mark.parametrize(("wrong", "said", "remedy"), REFUSALS)
def test_both_ends_say_why_a_peer_is_refused(
    server: RendezvousServer, wrong: dict[str, bytes], said: str, remedy: str, tmp_path: Path
) -> None:
    shared = Shared(journal=Journal(tmp_path / "e.jsonl"))
    hub, stranger = endpoint(server, "hub", shared), endpoint(server, "p1", **wrong)
    with closing(hub, stranger):
        with pytest.raises(JoinRefused, match=f"p1 <-> hub: hub {said}.*{remedy}"):
            stranger.dial("hub", timeout_s=5)
        with pytest.raises(JoinRefused, match=f"hub <-> 'p1': 'p1' {said}"):
            hub.accept("p1", timeout_s=0.5)
        good = endpoint(server, "p1")
        with closing(good):
            assert both(hub, good)[0].usable
    shared.journal.close()
    events = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text().splitlines()]
    assert [(e["peer"], e["what"]) for e in events if e["e"] == "fault"] == [("'p1'", "refused")]


def test_another_version_is_refused() -> None:
    ours, theirs = socket.socketpair()
    greeting = bytearray(Conversation(theirs, identity("p1"), "hub", 0.0)._greet())
    greeting[4:6] = b"\x00\x02"
    with ours, theirs:
        theirs.sendall(bytes(greeting) + bytes(PROOF_BYTES) + bytes((Verdict.WELCOME,)))
        with pytest.raises(JoinRefused, match=r"'p1' runs .* another version of the link protocol"):
            converse(ours, "hub", None)
        said = theirs.recv(4096)
        assert said[-1] == Verdict.VERSION


def identity(name: str, key: bytes = KEY) -> Identity:
    return Identity(node=name, key=key, digest=DIGEST)


def converse(sock: socket.socket, name: str, peer: str | None, timeout_s: float = 5.0) -> Session:
    return Conversation(sock, identity(name), peer, time.monotonic() + timeout_s).run()


def shake(names: tuple[str, str], wanted: str) -> list[Session | LinkError]:
    """Acceptor names[0] and dialer names[1], which wants to meet `wanted`."""

    def end(sock: socket.socket, name: str, peer: str | None) -> Session | LinkError:
        try:
            return converse(sock, name, peer)
        except LinkError as error:
            return error

    left, right = socket.socketpair()
    with left, right, ThreadPoolExecutor(2) as pool:
        ends = (pool.submit(end, left, names[0], None), pool.submit(end, right, names[1], wanted))
        return [each.result(timeout=5) for each in ends]


def test_a_handshake_gives_both_ends_names_and_one_token() -> None:
    acceptor, dialer = shake(("hub", "p1"), "hub")
    assert isinstance(acceptor, Session)
    assert isinstance(dialer, Session)
    assert (acceptor.peer, dialer.peer) == ("p1", "hub")
    assert acceptor.token == dialer.token
    assert acceptor.token != shake(("hub", "p1"), "hub")[0].token


def test_the_wrong_node_at_an_address_is_refused() -> None:
    for end in shake(("hub", "p1"), "p2"):
        assert isinstance(end, JoinRefused)
        assert "not the node that belongs at the other end" in str(end)


def test_an_echo_of_ones_own_words_is_no_proof() -> None:
    ours, theirs = socket.socketpair()

    def echo() -> None:
        with contextlib.suppress(OSError):
            while data := theirs.recv(4096):
                theirs.sendall(data)

    with ours, theirs:
        thread = threading.Thread(target=echo)
        thread.start()
        with pytest.raises(JoinRefused, match="does not hold the same join key"):
            converse(ours, "hub", None)
        ours.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.parametrize("raw", [b"GET / HTTP/1.0\r\n\r\n" * 20, bytes(GREETING_BYTES)])
def test_a_stranger_is_no_node(raw: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(raw)
        with pytest.raises(JoinRefused, match="is no edgenet node"):
            converse(ours, "hub", None)


def test_a_handshake_has_an_end() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"EDGE")
        start = time.monotonic()
        with pytest.raises(LinkTimeout, match="did not finish the handshake in time"):
            converse(ours, "hub", None, timeout_s=0.2)
        assert time.monotonic() - start < 10
        theirs.shutdown(socket.SHUT_RDWR)
        with pytest.raises(PeerLost, match="hung up during the handshake"):
            converse(ours, "hub", None)


def test_names_that_cannot_be_told_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="is no node name"):
        identity("x" * 65)
    with pytest.raises(ValueError, match="join key is empty"):
        identity("hub", key=b"")


def test_nobody_there_says_who_and_how_long(server: RendezvousServer) -> None:
    alone = endpoint(server, "p1")
    with closing(alone):
        with pytest.raises(LinkTimeout, match="p1 <-> hub: hub did not join within 0 s"):
            alone.dial("hub", timeout_s=0.3)
        with pytest.raises(LinkTimeout, match=r"p2 did not join .*it never called"):
            alone.accept("p2", timeout_s=0.1)


def test_an_attempt_that_is_cut_short_does_not_hide_why_those_before_it_failed(
    server: RendezvousServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = endpoint(server, "p1")
    cut_short = LinkTimeout("p1", "hub", "did not finish the handshake in time")
    failures = chain([ConnectionError("its door is shut")], repeat(cut_short))

    def attempt(peer: str, deadline: float) -> WireLink:
        raise next(failures)

    monkeypatch.setattr(alone, "_dial_once", attempt)
    with closing(alone), pytest.raises(LinkTimeout, match="its door is shut"):
        alone.dial("hub", timeout_s=0.3)


def test_without_a_rendezvous_the_message_says_so() -> None:
    with listen() as free:
        address = free.getsockname()
    with pytest.raises(NodeError, match=r"rendezvous at 127\.0\.0\.1:.* does not answer"):
        Rendezvous(*address, KEY).publish("p1", ("127.0.0.1", 1), timeout_s=0.2)


def test_a_dialer_may_be_early_and_a_table_serves_many(server: RendezvousServer) -> None:
    early = endpoint(server, "p1")
    with closing(early), ThreadPoolExecutor(1) as pool:
        dialing = pool.submit(early.dial, "hub", timeout_s=10)
        hub = endpoint(server, "hub")
        with closing(hub):
            link = hub.accept("p1", timeout_s=10)
            link.send("welcome")
            assert dialing.result(timeout=5).recv(timeout_s=5) == "welcome"


def test_a_second_node_of_the_same_name_waits_until_the_first_is_gone(
    server: RendezvousServer,
) -> None:
    hub, first, second = endpoint(server, "hub"), endpoint(server, "p1"), endpoint(server, "p1")
    with closing(hub, second):
        old, _ = both(hub, first)
        with pytest.raises(LinkTimeout, match="is linked to this node already"):
            second.dial("hub", timeout_s=2.0)
        first.close()
        new = both(hub, second)[0]
        assert new.usable
        assert not old.usable


def test_only_peers_of_the_plan_are_let_in(server: RendezvousServer) -> None:
    hub = endpoint(server, "hub", wiring=Wiring(peers=frozenset({"p1"})))
    uninvited = endpoint(server, "p2")
    with closing(hub, uninvited):
        with pytest.raises(JoinRefused, match="not the node that belongs"):
            uninvited.dial("hub", timeout_s=5)


def test_a_hundred_links_stand_at_once(server: RendezvousServer) -> None:
    names = [f"p{i}" for i in range(100)]
    hub = endpoint(server, "hub")
    others = [endpoint(server, name) for name in names]
    with closing(hub, *others), ThreadPoolExecutor(100) as pool:
        dialed = [pool.submit(other.dial, "hub", timeout_s=20) for other in others]
        found = hub.connect(accept=names, timeout_s=20)
        assert all(isinstance(link, WireLink) for link in found.values())
        for number, each in enumerate(dialed):
            each.result(timeout=5).send(number)
        for number, name in enumerate(names):
            link = found[name]
            assert isinstance(link, WireLink)
            assert link.recv(timeout_s=5) == number


def test_notes_are_for_all_and_the_first_stays(server: RendezvousServer) -> None:
    board = Rendezvous(*server.address, KEY)
    assert board.noted("probe/1", timeout_s=0.0) == b""
    waiting: list[bytes] = []
    reader = threading.Thread(target=lambda: waiting.append(board.noted("probe/1", timeout_s=10.0)))
    reader.start()
    board.note("probe/1", b"first")
    board.note("probe/1", b"second")
    reader.join(10.0)
    assert waiting == [b"first"]
    assert board.noted("probe/1", timeout_s=0.0) == b"first"
