"""hosts.yaml, what a board must be, the wheel that it gets, and the files that it sends back."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from facilities import needs

from edgenet.errors import InputError, TopologyError
from edgenet.launchers.boards import kept, wireguard
from edgenet.launchers.boards.checks import complaints
from edgenet.launchers.boards.deploy import Deployment, Request
from edgenet.launchers.boards.fleet import Fleet, Post
from edgenet.launchers.boards.hosts import Board, load_hosts
from edgenet.launchers.boards.prepare import Goods
from edgenet.launchers.boards.runner import Order, order_of
from edgenet.launchers.boards.wheel import build
from edgenet.launchers.supervisor import StopSignals
from edgenet.launchers.torchrun import check_names
from edgenet.results.rundir import RunDir
from edgenet.topology import loads

TOPOLOGY = loads(
    "nodes: {server: {device: edge-server}, cam: {device: pi4, count: 3}, pc: {}}\n"
    "links: {lan: {members: [server, cam, pc]}}\ntrain: {scheme: fedavg, rounds: 1}\n"
)
SEATS = ("server", "cam0", "cam1", "cam2")


def load(folder: Path, text: str) -> tuple[Board, ...]:
    path = folder / "hosts.yaml"
    path.write_text(text, encoding="utf-8")
    return load_hosts(path, TOPOLOGY, SEATS)


def test_hosts_carry_named_nodes_and_then_counted_ones(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        "hosts:\n  a: {device: pi4}\n  b: {nodes: [cam1, pc]}\n  c: {nodes: server, ssh: u@c.lan}\n"
        "  d: {count: 1, packages: present, data: /data}\n",
    )
    assert [(board.name, board.nodes) for board in found] == [
        ("c", ("server",)),
        ("a", ("cam0",)),
        ("b", ("cam1",)),
        ("d", ("cam2",)),
    ]
    assert (found[0].ssh, found[1].ssh, found[3].packages) == ("u@c.lan", "a", "present")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "hosts.yaml: the file is empty"),
        ("a: {count: 4}", "has no hosts"),
        ("hosts:\n  a: {nodes: [server, cam]}\n  b: {nodes: cam1}", ":3: host 'b' carries 'cam1', "
         "and so does host 'a'"),
        ("hosts:\n  a: {nodes: server}", ":1: hosts leave out cam0..cam2; every node"),
        ("hosts:\n  a: {nodes: pc}", ":2: host 'a' carries no node that has a role"),
        ("hosts:\n  a: {nodes: cams}", ":2: host 'a' names unknown node 'cams'; did you"),
        ("hosts:\n  a: {}", ":2: host 'a' carries nothing"),
        ("hosts:\n  a: {count: 4, device: pi4}", "asks for 4 more nodes of device 'pi4'"),
        ("hosts:\n  a: {count: 4, device: pi9}", ":2: host 'a' has unknown device 'pi9'"),
        ("hosts:\n  a: {nodes: server, count: 1}", "has both 'nodes' and 'count'"),
        ("hosts:\n  a: {count: 4, user: pi}", ":2: host 'a' has unknown key 'user'"),
        ("hosts:\n  a: {count: 4, ssh: -oProxyCommand=x}", "it must be a host's name"),
        ("hosts:\n  a.lan: {count: 4}", ":2: host 'a.lan' has a bad name"),
        ("hosts:\n  a: {count: 4, packages: some}", "choices are fresh, present"),
        ("hosts:\n  a: {count: 4, agent: 10.0.0.1}", "write address:port"),
    ],
)  # fmt: skip
def test_a_wrong_hosts_file_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(TopologyError) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "hosts.yaml"))
    assert said in str(caught.value)


def test_no_hosts_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match="no such file or directory; give the path of a hosts"):
        load_hosts(tmp_path / "none.yaml", TOPOLOGY, SEATS)


BOARD = Board(name="a", ssh="a", address="10.0.0.1", nodes=("cam0", "cam1"))
GOOD = {
    "port": 4000, "why": "", "machine": "aarch64", "bits": 64, "torch": None, "venv": True,
    "pip": True, "memory_bytes": 2 << 30, "disk_bytes": 8 << 30, "present": False,
}  # fmt: skip


def test_a_good_board_has_nothing_against_it() -> None:
    assert list(complaints(BOARD, GOOD, 0.3, "e")) == []


@pytest.mark.parametrize(
    ("change", "offset_s", "said"),
    [
        ({"machine": "armv7l", "bits": 32}, 0.0, "is a 32-bit armv7l, which torch has no wheels"),
        ({"port": None, "why": "Cannot assign"}, 0.0, "cannot listen at 10.0.0.1 (Cannot assign)"),
        ({"disk_bytes": 1 << 30}, 0.0, "has 1024 MiB free for ~/.edgenet; it takes 3072 MiB"),
        ({"memory_bytes": 500 << 20}, 0.0, "has 500 MiB of memory to spare, but 2 nodes"),
        ({"venv": False}, 0.0, "sudo apt install python3-venv"),
        ({}, 31.0, "has a clock that is 31 s ahead of this host's"),
        ({"edgenet": "0.1-aa"}, 0.0, "has an agent of edgenet 0.1-aa, and this is e; install"),
        ({}, -90.0, "behind this host's; set it"),
    ],
)
def test_what_a_board_lacks_is_told_with_the_remedy(
    change: dict[str, Any], offset_s: float, said: str
) -> None:
    (found,) = complaints(BOARD, {**GOOD, **change}, offset_s, "e")
    assert said in found


def test_packages_that_are_to_be_present_must_be() -> None:
    present = Board(name="a", ssh="a", address="10.0.0.1", nodes=("cam0",), packages="present")
    (found,) = complaints(present, GOOD, 0.0, "e")
    assert "has no torch in python3" in found
    assert (
        list(complaints(present, {**GOOD, "torch": "2.6", "disk_bytes": 1 << 30}, 0.0, "e")) == []
    )


def test_the_wheel_installs_and_is_the_same_twice(tmp_path: Path) -> None:
    wheel = build()
    assert wheel.content == build().content
    assert any(line.startswith("torch>=") for line in wheel.requirements)
    assert not any("pytest" in line for line in wheel.requirements)
    path = tmp_path / wheel.name
    path.write_bytes(wheel.content)
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*pip, "--target", tmp_path / "site", path], check=True, timeout=60)
    with zipfile.ZipFile(BytesIO(wheel.content)) as archive:
        names = archive.namelist()
    assert "edgenet/worker.py" in names
    assert all((tmp_path / "site" / name).is_file() for name in names)


def test_an_environment_is_another_one_where_anything_differs() -> None:
    goods = Goods(wheel=build())
    other = Board(name="a", ssh="a", nodes=("cam0",), python="python3.12")
    assert goods.environment(BOARD) != goods.environment(other)
    assert goods.environment(BOARD) == Goods(wheel=build()).environment(BOARD)


ORDER = Order(
    topology="x", nodes=("cam0", "cam1"), host=1, hosts=2, master=("10.0.0.9", 4000),
    address="10.0.0.1", key="secret",
)  # fmt: skip


def test_the_key_is_on_no_command_line(tmp_path: Path) -> None:
    assert "secret" not in " ".join(ORDER.command())
    assert ORDER.environment(tmp_path)["EDGENET_KEY"] == "secret"


def test_no_board_takes_pickled_words_from_the_others() -> None:
    """torchrun's c10d rendezvous does, from whoever reaches its store."""
    words = " ".join(ORDER.command())
    assert "--node-rank 1 --master-addr 10.0.0.9 --master-port 4000" in words
    assert "--rdzv" not in words


def test_single_nodes_are_not_started_again_on_boards(tmp_path: Path, topology_file: Path) -> None:
    request = Request(
        path=topology_file, hosts=tmp_path / "hosts.yaml", overrides=("faults.restart=2",)
    )
    with pytest.raises(InputError, match=r"--set faults.restart=2: faults.restart needs"):
        Deployment(print, print).run(request)


def test_an_order_survives_the_line_and_a_bad_one_is_refused() -> None:
    fields = {**vars(ORDER), "nodes": ["cam0", "cam1"], "master": ["10.0.0.9", 4000], "do": "run"}
    assert order_of(fields) == ORDER
    for bad in ({**fields, "more": 1}, {"do": "run"}, {**fields, "master": []}):
        with pytest.raises(ValueError, match="the order lacks or has too much"):
            order_of(bad)


def test_code_from_elsewhere_stays_in_the_run_folder() -> None:
    fields = {**vars(ORDER), "code": ["../../.bashrc", "x"]}
    assert order_of(fields).code == (".bashrc", "x")


class Said:
    """A board that says some lines and hangs up."""

    def __init__(self, *lines: dict[str, Any]) -> None:
        self.wire, self.lines, self.ended = self, [*lines], False

    def send(self, **fields: Any) -> None:
        """Nobody listens."""

    def read_for(self, timeout_s: float) -> list[dict[str, Any]]:
        lines, self.lines, self.ended = self.lines, [], not self.lines
        return lines

    def why(self) -> str:
        return "the cable was cut"

    def kill(self) -> None:
        """Gone already."""


def file(path: str, data: bytes = b"x") -> dict[str, Any]:
    return {"is": "file", "path": path, "data": base64.b64encode(data).decode()}


def watched(folder: Path, *lines: dict[str, Any]) -> Post:
    run = RunDir(folder / "run")
    run.nodes.mkdir(parents=True)
    post = Post(board=BOARD, line=Said(*lines), essential=True)
    Fleet([post], run, StopSignals(), lambda board, line: None).watch()
    return post


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/x", "nodes/../../x", "nodes//x", ".ssh/x", "topology.yaml", "b\n/c", ""],
)
def test_a_board_writes_nowhere_but_into_the_run(tmp_path: Path, path: str) -> None:
    watched(tmp_path, file(path), {"is": "ended", "code": 0}, {"is": "gathered"})
    found = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert found == []


def test_files_come_in_pieces(tmp_path: Path) -> None:
    pieces = file("nodes/cam0/log.txt", b"one "), file("nodes/cam0/log.txt", b"two")
    post = watched(tmp_path, *pieces, {"is": "ended", "code": 0}, {"is": "gathered"})
    assert (tmp_path / "run/nodes/cam0/log.txt").read_bytes() == b"one two"
    assert (post.code, post.lost) == (0, None)


def test_a_board_that_hangs_up_is_lost(tmp_path: Path) -> None:
    assert watched(tmp_path, {"is": "log", "text": "hello"}).lost == "the cable was cut"


@pytest.mark.parametrize(
    "line", [{"is": "log"}, {"is": "ended", "code": None}, file("a", b"") | {"data": 5}]
)
def test_a_board_that_talks_nonsense_is_lost(tmp_path: Path, line: dict[str, Any]) -> None:
    post = watched(tmp_path, line, {"is": "gathered"})
    assert post.lost is not None
    assert "makes no sense" in post.lost


def test_boards_that_share_a_home_have_folders_of_their_own() -> None:
    other = replace(BOARD, nodes=("another",))
    assert BOARD.run("r") != other.run("r")
    assert BOARD.run("r") != BOARD.run("s")
    assert kept.folder_of(BOARD.run("r"))
    assert BOARD.run("") == ""


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("server", "cam9"), "--nodes names 'cam9', which has no role"),
        (("server", "cam0"), "no host plays cam1; name each node on one host"),
        (("server", "cam0", "cam0"), "no host plays cam1"),
    ],
)
def test_hosts_must_share_the_seats_between_them(names: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_names(names, ("server", "cam0", "cam1"))
    check_names(("cam1", "server", "cam0"), ("server", "cam0", "cam1"))


@pytest.mark.root
@needs("root", "WireGuard")
def test_a_board_that_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wireguard, "FOLDER", tmp_path)
    monkeypatch.setattr(wireguard, "_HANDSHAKE_S", 0.5)
    devices = socket.if_nameindex()
    peer = {"name": "b1", "public": "A" * 43 + "=", "endpoint": "127.0.0.1:9", "calls": True}
    orders = iter([{"peers": [{**peer, "address": "10.99.99.2/32"}]}, {"do": "call"}])
    said: list[dict[str, Any]] = []

    def say(**fields: Any) -> None:
        said.append(fields)

    order = {"name": f"edgenet-t{os.getpid()}"[:15], "address": "10.99.99.1/24"}
    wireguard.tunnel(order, say, lambda: next(orders))
    assert [*said[0]] == ["public", "port"]
    assert said[1] == {"knows": True}
    assert said[2:] == [
        {"failed": "no WireGuard handshake with 'b1' at 127.0.0.1:9 within 0 s; let UDP through"}
    ]
    assert socket.if_nameindex() == devices
