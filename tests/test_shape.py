"""`edgenet shape`: queues on an interface that is not ours, and what was there before put back."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from facilities import needs, netem_runner

from edgenet.cli.main import main
from edgenet.cli.shape import addresses
from edgenet.errors import InputError, ShapingError
from edgenet.shaping import calls, own
from edgenet.shaping.kernel import Kernel
from edgenet.shaping.qdiscs import queues, restore
from edgenet.shaping.remembered import all_here, recall
from edgenet.topology import Topology, loads

SCRIPT = Path(__file__).with_name("shape_trials.py")
TOPOLOGY = """\
name: board
nodes: {edge: {}, cam: {count: 3}}
links:
  air: {rate: 20 Mbit, delay: 5 ms, base: edge, members: [cam0, cam1], shared: true}
  wire: {rate: 50 Mbit, between: [edge, cam2]}
train: {scheme: fedavg}
"""
TO = {"cam0": "10.9.0.2", "cam1": "10.9.0.3", "cam2": "10.9.0.4"}

root = pytest.mark.root
kernel_only = needs("root", "network namespaces")


@pytest.fixture
def board() -> Topology:
    return loads(TOPOLOGY, file="board.yaml")


def test_a_way_is_all_of_its_hops_and_shares_the_first(board: Topology) -> None:
    down, cam1 = own.ways(board, "edge", TO)[0], own.ways(board, "cam0", {"cam1": "10.9.0.3"})[0]
    assert (down.pool, down.there.delay_s) == ("air/down", 0.005)
    assert (cam1.pool, cam1.there.delay_s, cam1.there.rate_bps) == ("air/up", 0.01, 20e6)
    assert own.ways(board, "edge", TO)[2].pool is None


@pytest.mark.parametrize(
    ("node", "to", "said"),
    [
        ("cam9", TO, "there is no node 'cam9' in board.yaml; nodes are edge, cam0"),
        ("edge", {"cam7": "10.0.0.1"}, "there is no node 'cam7'"),
        ("edge", {"edge": "10.0.0.1"}, "give --hosts FILE or --peer NAME=ADDRESS"),
    ],
)
def test_a_wrong_name_is_told(board: Topology, node: str, to: dict[str, str], said: str) -> None:
    with pytest.raises(ShapingError, match=said.replace(".", r"\.")):
        own.ways(board, node, to)


def test_members_of_unequal_rates_are_refused_with_the_remedy() -> None:
    text = TOPOLOGY.replace(
        "air: {rate: 20 Mbit, delay: 5 ms",
        "air: {lte: {bandwidth: 20 MHz, resource_blocks: 100}",
    ).replace(
        "{}, cam: {count: 3}", "{at: [0, 0]}, cam: {count: 3, at: [[9, 0], [400, 0], [9, 9]]}"
    )
    with pytest.raises(ShapingError, match=r"--set links\.air\.shared=false"):
        own.ways(loads(text), "edge", TO)


def test_addresses_come_from_a_file_and_from_the_command_line(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.yaml"
    hosts.write_text("cam0: 10.9.0.2\ncam1: {address: 10.9.0.3}\n", encoding="utf-8")
    assert addresses(hosts, ["cam2=10.9.0.4", "cam0=10.9.0.9"]) == TO | {"cam0": "10.9.0.9"}
    hosts.write_text("hosts: {cam0: 10.9.0.2}\n", encoding="utf-8")
    assert addresses(hosts, []) == {"cam0": "10.9.0.2"}
    text = "hosts: {hall: {nodes: [cam0, cam1], address: 10.9.0.2}, cam2: {address: 10.9.0.4}}\n"
    hosts.write_text(text, encoding="utf-8")
    boards = {"cam0": "10.9.0.2", "cam1": "10.9.0.2", "cam2": "10.9.0.4"}
    assert addresses(hosts, []) == boards
    for bad in (["cam0"], ["cam0=nowhere.invalid"]):
        with pytest.raises(InputError, match="cam0"):
            addresses(None, bad)
    hosts.write_text("- cam0\n", encoding="utf-8")
    with pytest.raises(InputError, match="is no mapping"):
        addresses(hosts, [])


@contextmanager
def wire() -> Iterator[Kernel]:
    """This thread in a namespace of its own, at one end of a cable 'eth0'."""
    with calls.scratch(), Kernel(calls.HERE) as kernel:
        kernel.add("eth0", "veth", state="up", peer={"ifname": "far"})
        kernel.set("far", state="up")
        kernel.address("eth0", "10.9.0.1", 24)
        yield kernel


def wish(board: Topology, **more: Any) -> own.Wish:
    return own.Wish(device="eth0", node="edge", ways=own.ways(board, "edge", TO), **more)


def kinds(kernel: Kernel) -> list[str]:
    return sorted(each.kind for each in queues(kernel, "eth0") if each.handle)


@root
@kernel_only
def test_a_limit_on_the_rate_needs_no_netem_and_goes_without_a_trace(
    board: Topology, tmp_path: Path
) -> None:
    with wire() as kernel:
        before, segments = queues(kernel, "eth0"), kernel.segments("eth0")
        record = own.apply(wish(board, rate_only=True), tmp_path)
        assert kinds(kernel) == ["bfifo", "bfifo", "bfifo", "htb"]
        assert recall("eth0", tmp_path) == record
        assert list(all_here(tmp_path)) == [record]
        own.apply(wish(board, rate_only=True), tmp_path)  # again, in the place of the first
        assert kinds(kernel) == ["bfifo", "bfifo", "bfifo", "htb"]
        assert own.clear("eth0", tmp_path)
        assert (queues(kernel, "eth0"), kernel.segments("eth0")) == (before, segments)
        assert not own.clear("eth0", tmp_path)
    assert list(tmp_path.iterdir()) == []


@root
@kernel_only
def test_the_queue_that_was_there_is_put_back_as_it_was(board: Topology, tmp_path: Path) -> None:
    with wire() as kernel:
        tc = ["tc", "qdisc", "add", "dev", "eth0", "root", "handle", "77:"]
        subprocess.run([*tc, "tbf", "rate", "3mbit", "burst", "9k", "latency", "70ms"], check=True)
        before = queues(kernel, "eth0")
        assert [str(each) for each in before] == ["tbf 77:"]
        own.apply(wish(board, rate_only=True), tmp_path)
        assert "tbf" not in kinds(kernel)
        own.clear("eth0", tmp_path)
        assert queues(kernel, "eth0") == before


@root
@kernel_only
def test_a_tree_of_classes_is_not_touched(board: Topology, tmp_path: Path) -> None:
    with wire() as kernel:
        for words in (
            "qdisc add dev eth0 root handle 5: htb",
            "class add dev eth0 parent 5: classid 5:1 htb rate 1mbit",
            "qdisc add dev eth0 parent 5:1 pfifo",
        ):
            subprocess.run(["tc", *words.split()], check=True)
        with pytest.raises(ShapingError, match="which could not be put back"):
            own.apply(wish(board, rate_only=True), tmp_path)
        assert kinds(kernel) == ["htb", "pfifo"]
        assert "htb 5:" in [str(each) for each in queues(kernel, "eth0")]
    assert list(tmp_path.iterdir()) == []


@root
@kernel_only
def test_what_fails_half_way_is_taken_back(
    board: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ShapingError("as if the kernel refused")

    monkeypatch.setattr("edgenet.shaping.traffic.Traffic.match", fail)
    with wire() as kernel:
        restore(kernel, "eth0", _pfifo(77))
        before = queues(kernel, "eth0")
        with pytest.raises(ShapingError, match="as if the kernel refused"):
            own.apply(wish(board, rate_only=True), tmp_path)
        assert queues(kernel, "eth0") == before
    assert list(tmp_path.iterdir()) == []


def _pfifo(limit: int) -> Any:
    from edgenet.shaping.qdiscs import ROOT, Queue

    options = limit.to_bytes(4, sys.byteorder)
    return Queue(kind="pfifo", handle=0x90000, parent=ROOT, options=options, sizes=None)


@root
@kernel_only
def test_a_missing_module_is_told_with_both_remedies(
    board: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgenet.shaping.netem.lacking", lambda: {"sch_netem"})
    with wire() as kernel, pytest.raises(ShapingError) as told:
        own.apply(wish(board), tmp_path)
    assert "modprobe sch_netem" in str(told.value)
    assert "--rate-only" in str(told.value)
    assert kernel.path == calls.HERE
    assert list(tmp_path.iterdir()) == []


@root
@kernel_only
def test_an_unknown_interface_is_told(board: Topology, tmp_path: Path) -> None:
    with (
        wire(),
        pytest.raises(ShapingError, match="no interface 'wlan7'; interfaces are eth0, far"),
    ):
        own.apply(own.Wish(device="wlan7", node="edge", ways=own.ways(board, "edge", TO)), tmp_path)


@root
@kernel_only
def test_the_command_applies_shows_and_clears(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgenet.shaping.remembered.FOLDER", tmp_path / "records")
    for function in ("recall", "keep", "forget", "all_here"):
        monkeypatch.setattr(f"edgenet.shaping.remembered.{function}.__defaults__",
                            (tmp_path / "records",), raising=False)  # fmt: skip
    file = tmp_path / "board.yaml"
    file.write_text(TOPOLOGY, encoding="utf-8")
    apply = ["shape", "apply", str(file), "--node", "edge", "--peer", "cam0=10.9.0.2"]
    with wire() as kernel:
        assert main([*apply, "--rate-only"]) == 0
        assert "edge -> cam0" in capsys.readouterr().out
        assert kinds(kernel) == ["bfifo", "htb"]
        assert main(["shape", "show", "--format", "json"]) == 0
        (shown,) = json.loads(capsys.readouterr().out)
        assert (shown["device"], shown["ways"][0][:2]) == ("eth0", ["cam0", "10.9.0.2"])
        assert main(["shape", "clear"]) == 0
        assert "eth0 is as it was" in capsys.readouterr().err
        assert kinds(kernel) == []
        assert main(["shape", "clear", "--interface", "eth0"]) == 2
        assert "nothing is applied to 'eth0'" in capsys.readouterr().err


@root
@pytest.mark.processes
@needs("root", "network namespaces", "sch_netem")
@pytest.mark.timeout(180)
def test_with_netem_both_directions_are_what_was_asked_and_all_is_put_back() -> None:
    runner = [netem_runner()] if netem_runner() else []
    done = subprocess.run(
        [*runner, sys.executable, str(SCRIPT)],
        capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["before"] == found["after"] == ["netem 9:"]
    assert found["options"] == [True]
    assert found["interfaces"] == []
    # A busy host makes the one processor of that kernel slower, never faster, than was asked; how
    # close the queues are is what test_networks tells.
    for figures in (found["egress"], found["both"]):
        assert 8e6 < figures["rate_bps"] < 1.05 * 20e6
        assert figures["delay_s"] == pytest.approx(10e-3, abs=1e-3)
        assert figures["other_s"] < 1e-3
    assert found["egress"]["back_s"] < 1e-3
    assert found["both"]["back_s"] == pytest.approx(5e-3, abs=1e-3)
    assert 8e6 < found["both"]["back_bps"] < 1.05 * 40e6


def test_an_interface_towards_an_address_is_found() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        here.connect(("127.0.0.1", 9))
    assert own.device_towards("127.0.0.1") == "lo"
