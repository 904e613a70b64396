"""Namespaces: what is built, who reaches whom, and that nothing is left, however it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from facilities import needs

from edgenet.errors import NodeError, ShapingError
from edgenet.shaping import calls
from edgenet.shaping.network import Network
from edgenet.shaping.record import Record, clean
from edgenet.topology import Topology, loads
from edgenet.topology.spec import Channel

pytestmark = [
    pytest.mark.root,
    pytest.mark.processes,
    needs("root", "network namespaces", "TUN"),
]

WAIT_S = 10.0
CHAIN = """\
name: chain
nodes: {a: {}, b: {}, c: {}, alone: {}}
links:
  first: {rate: 100 Mbit, delay: 2 ms, between: [a, b]}
  second: {rate: 100 Mbit, delay: 3 ms, between: [b, c]}
train: {scheme: fedavg, rounds: 1}
"""


@pytest.fixture
def chain() -> Topology:
    return loads(CHAIN)


def namespaces() -> set[str]:
    return {path.name for path in calls.FOLDER.glob("edgenet-*")}


def listener(network: Network, node: str) -> socket.socket:
    with network.inside(node):
        return socket.create_server((network.address(node), 0))


def talk(network: Network, source: str, target: str) -> str:
    """A TCP connection and an answer; returns the caller's address, as the target saw it."""
    with network.inside(source):
        caller = socket.socket()
    with listener(network, target) as server, caller:
        caller.settimeout(WAIT_S)
        caller.connect(server.getsockname())
        taken, address = server.accept()
        with taken:
            taken.sendall(b"hello")
            assert caller.recv(5) == b"hello"
        return str(address[0])


@pytest.mark.parametrize("back_end", ["relay", "none"])
def test_nodes_reach_each_other_also_through_others(chain: Topology, back_end: str) -> None:
    with Network(chain, back_end) as network:
        assert talk(network, "a", "b") == network.address("a")
        assert talk(network, "c", "a") == network.address("c")
        through_b = network.counters("b")
        assert through_b["first"]["tx_bytes"] > 0
        assert through_b["second"]["rx_bytes"] > 0


@pytest.mark.parametrize("back_end", ["relay", "none"])
def test_nodes_without_a_way_do_not_reach_each_other(chain: Topology, back_end: str) -> None:
    with Network(chain, back_end) as network, pytest.raises(OSError, match="unreachable"):
        talk(network, "a", "alone")


def test_the_core_is_reached_by_a_way_that_is_not_shaped(chain: Topology) -> None:
    with Network(chain, "relay") as network:
        with calls.inside(network.core):
            server = socket.create_server((network.core_address, 0))
        with server:
            for node in ("a", "alone"):
                with network.inside(node):
                    caller = socket.create_connection(server.getsockname(), timeout=WAIT_S)
                taken, address = server.accept()
                caller.close()
                taken.close()
                assert address[0] == network.layout.control(node)
        assert all(each["packets"] == 0 for each in network.counts().values())


def test_the_host_sees_nothing_of_it(chain: Topology) -> None:
    before = set(socket.if_nameindex())
    with Network(chain, "relay"), Network(chain, "none"):
        assert set(socket.if_nameindex()) == before


def test_what_it_made_is_gone_afterwards(chain: Topology, tmp_path: Path) -> None:
    before = namespaces()
    with Network(chain, "relay", tmp_path) as network:
        made = namespaces() - before
        assert made == {network.layout.core, *(network.layout.namespace(n) for n in "abc"),
                        network.layout.namespace("alone")}  # fmt: skip
        assert list(tmp_path.iterdir())
    assert namespaces() == before
    assert not list(tmp_path.iterdir())


def test_a_network_that_cannot_be_finished_is_taken_down(
    chain: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = namespaces()
    monkeypatch.setattr("edgenet.shaping.relay.sys.executable", "/bin/false")
    with pytest.raises(NodeError, match="the relay"), Network(chain, "relay", tmp_path):
        pass
    assert namespaces() == before
    assert not list(tmp_path.iterdir())


def test_a_relay_that_ended_is_noticed(chain: Topology) -> None:
    with Network(chain, "relay") as network:
        network.check()
        (process,) = [child for child in _children() if "edgenet.shaping.router" in child[1]]
        os.kill(process[0], signal.SIGKILL)
        with pytest.raises(NodeError, match=f"the relay .process {process[0]}. has ended"):
            _until_it_raises(network)


def _until_it_raises(network: Network) -> None:
    for _ in range(1000):
        network.check()
        threading.Event().wait(0.01)


def _children() -> list[tuple[int, str]]:
    import psutil

    return [(child.pid, " ".join(child.cmdline())) for child in psutil.Process().children()]


KILLED = """\
import os, signal, sys
from pathlib import Path
from edgenet.shaping.network import Network
from edgenet.topology import loads
with Network(loads(sys.stdin.read()), "relay", Path(sys.argv[1])) as network:
    print(network.core.name, flush=True)
    signal.pause()
"""


def test_clean_removes_what_a_killed_launcher_left(chain: Topology, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as it:
        assert it.stdin is not None
        assert it.stdout is not None
        it.stdin.write(CHAIN)
        it.stdin.close()
        core = it.stdout.readline().strip()
        (in_use,) = clean(tmp_path)
        assert (in_use.in_use_by, in_use.removed) == (it.pid, ())
        it.kill()
    left = {name for name in namespaces() if name.startswith(core)}
    assert len(left) == 5
    (cleaned,) = clean(tmp_path)
    assert {f"namespace {name}" for name in left} <= set(cleaned.removed)
    assert not left & namespaces()
    assert list(clean(tmp_path)) == []


def test_clean_touches_only_what_was_written_down(tmp_path: Path) -> None:
    name = f"edgenet-test{os.getpid()}"
    calls.create(name)
    try:
        assert list(clean(tmp_path)) == []
        assert name in namespaces()
    finally:
        assert calls.remove(name)
    assert not calls.remove(name)


def test_names_are_on_record_before_they_are_made(
    chain: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = []

    def refuse(name: str) -> None:
        texts.extend(path.read_text() for path in tmp_path.iterdir())
        raise OSError("as if killed here")

    monkeypatch.setattr(calls, "create", refuse)
    with pytest.raises(OSError, match="as if killed"), Network(chain, "relay", tmp_path):
        pass
    assert all(f"-{node}" in texts[0] for node in ("a", "b", "c", "alone"))


def test_a_record_cut_off_in_its_first_line_is_no_stumbling_block(tmp_path: Path) -> None:
    record = Record(tmp_path)
    path = tmp_path / f"{record.tag}.jsonl"
    path.write_text('{"owner": {"pid"')
    assert list(clean(tmp_path)) == []
    os.utime(path, (0, 0))
    assert [found.removed for found in clean(tmp_path)] == [()]
    assert not path.exists()


def test_a_change_must_name_a_lane_that_is_there(chain: Topology) -> None:
    with Network(chain, "relay") as network:
        with pytest.raises(ShapingError, match="its links are first, second"):
            network.change("third", Channel())
        with pytest.raises(ShapingError, match="no such way"):
            network.cut("first", ("a", "c"))


def test_an_unshaped_network_cannot_be_changed(chain: Topology) -> None:
    with Network(chain, "none") as network, pytest.raises(ShapingError, match="netem or relay"):
        network.cut("first")


def test_one_direction_may_be_cut_alone(chain: Topology) -> None:
    with Network(chain, "relay") as network:
        network.cut("first", ("a", "b"))
        with network.inside("b"):
            there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with network.inside("a"):
            here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with there, here:
            for end, node in ((there, "b"), (here, "a")):
                end.bind((network.address(node), 0))
                end.settimeout(WAIT_S)
            here.sendto(b"lost", there.getsockname())
            there.sendto(b"found", here.getsockname())
            assert here.recv(10) == b"found"
            network.restore("first")
            here.sendto(b"again", there.getsockname())
            assert there.recv(10) == b"again"
