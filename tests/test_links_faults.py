"""Real processes that are killed, frozen, woken, or end without a word."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from link_peer import KEY, endpoint

from edgenet.errors import PeerLost, PeerSilent
from edgenet.links.endpoint import Endpoint
from edgenet.links.rendezvous import RendezvousServer

pytestmark = pytest.mark.processes
SCRIPT = Path(__file__).with_name("link_peer.py")
Start = Callable[[str, str], subprocess.Popen[bytes]]


@pytest.fixture
def hub() -> Iterator[tuple[Endpoint, Start]]:
    """A hub, and a way to start peers of it."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(RendezvousServer(KEY))
        node = endpoint(server.address[1], "hub")
        started: list[subprocess.Popen[bytes]] = []

        def start(name: str, what: str) -> subprocess.Popen[bytes]:
            words = [sys.executable, str(SCRIPT), str(server.address[1]), name, what]
            started.append(subprocess.Popen(words, env=os.environ | {"OMP_NUM_THREADS": "1"}))
            return started[-1]

        yield node, start
        node.close()
        for process in started:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()


def test_a_killed_peer_is_lost_at_once_and_others_go_on(
    hub: tuple[Endpoint, Start],
) -> None:
    node, start = hub
    processes = {name: start(name, "echo") for name in ("p0", "p1")}
    links = {name: node.accept(name, timeout_s=60) for name in processes}
    for link in links.values():
        link.send(1)
        assert link.recv(timeout_s=10) == 1
    processes["p0"].kill()
    killed = time.monotonic()
    with pytest.raises(PeerLost, match="hub <-> p0, round 0: p0 closed the connection without"):
        links["p0"].recv()
    assert time.monotonic() - killed < 5
    with pytest.raises(PeerLost):
        links["p0"].send(torch.zeros(10))
    links["p1"].send("still here")
    assert links["p1"].recv(timeout_s=10) == "still here"


def test_a_stopped_peer_is_silent_and_comes_back(hub: tuple[Endpoint, Start]) -> None:
    node, start = hub
    process = start("p0", "echo")
    link = node.accept("p0", timeout_s=60)
    link.send(1)
    assert link.recv(timeout_s=10) == 1
    process.send_signal(signal.SIGSTOP)
    link.send(torch.zeros(100))
    stopped = time.monotonic()
    with pytest.raises(PeerSilent, match=r"p0 was not heard for [\d.]+ s; .*frozen"):
        link.recv()
    assert 0.3 < time.monotonic() - stopped < 15
    with pytest.raises(PeerSilent):
        link.send(2)
    process.send_signal(signal.SIGCONT)
    answer = until_heard(link.recv)
    assert torch.equal(answer, torch.zeros(100))
    link.send("as before")
    assert link.recv(timeout_s=10) == "as before"


def repeat(times: int, verb: Callable[[], object]) -> None:
    """Call it so often, or until it raises."""
    for _ in range(times):
        verb()


def until_heard(recv: Callable[[], torch.Tensor]) -> torch.Tensor:
    """Ask again while the peer is still thought to be silent."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(PeerSilent):
            return recv()
        time.sleep(0.01)
    pytest.fail("the peer was not heard again")


def test_a_blocked_send_to_a_stopped_peer_ends(hub: tuple[Endpoint, Start]) -> None:
    node, start = hub
    process = start("p0", "echo")
    link = node.accept("p0", timeout_s=60)
    process.send_signal(signal.SIGSTOP)
    data = torch.zeros(20_000_000, dtype=torch.uint8)
    with pytest.raises(PeerSilent):
        repeat(50, lambda: link.send(data))
    began = time.monotonic()
    link.close()
    assert time.monotonic() - began < 10


def test_who_was_stopped_itself_blames_nobody(hub: tuple[Endpoint, Start]) -> None:
    """The peer sleeps for longer than the silence; awake again it must not miss the hub."""
    node, start = hub
    process = start("p0", "echo")
    link = node.accept("p0", timeout_s=60)
    for _ in range(2):
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(PeerSilent):
            link.recv()
        process.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + 10
        while not link.usable and time.monotonic() < deadline:
            time.sleep(0.01)
    link.send(5)  # a peer that had raised PeerSilent would have ended
    assert link.recv(timeout_s=10) == 5


def test_a_killed_sender_in_the_middle_of_its_messages(hub: tuple[Endpoint, Start]) -> None:
    node, start = hub
    process = start("p0", "pour")
    link = node.accept("p0", timeout_s=60)
    for _ in range(20):
        assert link.recv(timeout_s=10).numel() == 1_000_000
    process.kill()
    with pytest.raises(PeerLost):
        repeat(1000, link.recv)


def test_a_process_that_just_ends_does_not_crash(hub: tuple[Endpoint, Start]) -> None:
    node, start = hub
    process = start("p0", "leave")
    link = node.accept("p0", timeout_s=60)
    assert link.recv(timeout_s=10) == "bye"
    link.send("heard")
    with pytest.raises(PeerLost):
        link.recv(timeout_s=10)
    assert process.wait(timeout=20) == 0


def test_forked_children_link_like_anybody(hub: tuple[Endpoint, Start]) -> None:
    node, start = hub
    parent = start("parent", "fork")
    data = torch.arange(1_000_000)
    links = node.connect(accept=["p0", "p1", "p2"], timeout_s=60)
    for link in links.values():
        assert not isinstance(link, Exception)
        link.send(data)
    for link in links.values():
        assert not isinstance(link, Exception)
        assert torch.equal(link.recv(timeout_s=20), data)
    for link in links.values():
        link.close()
    assert parent.wait(timeout=20) == 0
