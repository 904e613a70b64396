"""Orders to a run that goes on: what they do, that they are written down, and who may give them."""

from __future__ import annotations

import json
import math
import socket
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from facilities import needs
from test_cli_run import Command
from test_launch_events import CUT_S, TOPOLOGY, until
from test_launch_events import run as run_plain
from test_launch_local import Launcher

from edgenet.channels import Orders, Timeline, channel
from edgenet.errors import InputError
from edgenet.launchers.conductor import Conductor
from edgenet.launchers.control import Control, ask, short_name
from edgenet.launchers.policy import Referee
from edgenet.launchers.supervisor import StopSignals, Supervisor
from edgenet.links.pace import hold
from edgenet.meters import Journal
from edgenet.results.rounds import read_rounds
from edgenet.results.rundir import RunDir, new_run_dir
from edgenet.shaping.paced import Pacer
from edgenet.topology import loads
from edgenet.topology.events import read_order

WAIT_S = 60.0


@pytest.fixture
def scripted(topology_file: Path) -> Iterator[Launcher]:
    """A run of nodes that sleep until they are told to end."""
    script = {"server": {"do": "on-usr1"}, "learner0": {"essential": False}}
    launcher = Launcher(topology_file, script)
    yield launcher
    if launcher.process.poll() is None:
        launcher.process.terminate()
        launcher.end()


@pytest.mark.processes
def test_nodes_are_paused_continued_and_killed(scripted: Launcher) -> None:
    learner = psutil.Process(scripted.started()["learner0"])
    run = RunDir(scripted.run)
    assert stat.S_IMODE(run.control.stat().st_mode) == 0o600
    assert ask(run, {"pause": "learner0"}) == "learner0 is paused"
    until(lambda: learner.status() == psutil.STATUS_STOPPED)
    assert ask(run, {"continue": "learner0"}) == "learner0 goes on"
    until(lambda: learner.status() != psutil.STATUS_STOPPED)
    assert ask(run, {"kill": "learner0"}) == "learner0 is killed"
    assert scripted.process.stderr is not None
    said = [scripted.process.stderr.readline() for _ in range(2)]
    assert "learner0 was killed by SIGKILL; the run goes on" in said[1]
    assert refused(run, {"kill": "learner0"}) == "learner0 has ended already"
    scripted.process.terminate()
    scripted.end()
    assert scripted.read("run.json")["ended"]["learner0"] == {"code": None, "signal": 9}
    changes = scripted.read("summary.json")["changes"]
    assert [(each["what"], each["by"]) for each in changes] == [
        ("pause", "hand"), ("continue", "hand"), ("kill", "hand"),
    ]  # fmt: skip
    assert "learner0 is killed, by hand" in run.report.read_text(encoding="utf-8")
    assert not run.control.exists()
    with pytest.raises(InputError, match="no launcher takes orders there"):
        ask(run, {"kill": "server"})


def refused(run: RunDir, order: dict[str, Any]) -> str:
    try:
        return ask(run, order)
    except InputError as error:
        return str(error)


@pytest.mark.processes
def test_what_is_no_order_is_refused_in_a_sentence(scripted: Launcher) -> None:
    scripted.started()
    run = RunDir(scripted.run)
    for order, said in (
        ({"explode": "server"}, "an order is one of pause, continue, kill, degrade, cut, restore"),
        ({}, "this one says nothing"),
        ({"kill": "server", "pause": "server"}, "this one says kill, pause"),
        ({"kill": "learner9"}, "there is no node 'learner9'; did you mean 'learner0'?"),
        ({"cut": "air"}, "the nodes have not all joined yet; try again in a moment"),
    ):
        assert said in refused(run, order)
    assert [said_raw(run, text) for text in (b"kill\n", b"[]\n", b"")] == [
        "an order is a JSON object in one line: Expecting value: line 1 column 1 (char 0)",
        "an order is a JSON object",
        "an order is a JSON object in one line: Expecting value: line 1 column 1 (char 0)",
    ]


def said_raw(run: RunDir, text: bytes) -> str:
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(WAIT_S)
        with short_name(run.control) as name:
            caller.connect(name)
        caller.sendall(text)
        caller.shutdown(socket.SHUT_WR)
        answer: dict[str, str] = json.loads(caller.recv(4096))
        return answer["refused"]


over_each = pytest.mark.parametrize(
    "shaping",
    [
        "paced",
        pytest.param("relay", marks=[pytest.mark.root, needs("root", "network namespaces", "TUN")]),
    ],
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """The same run, left alone."""
    return run_plain(tmp_path_factory.mktemp("left") / "alone", TOPOLOGY, "--shaping", "none")


@pytest.mark.processes
@over_each
def test_a_link_is_degraded_cut_and_restored_by_hand(
    tmp_path: Path, shaping: str, undisturbed: RunDir
) -> None:
    (tmp_path / "cell.yaml").write_text(TOPOLOGY, encoding="utf-8")
    command = Command(tmp_path / "cell.yaml", "--shaping", shaping, "--no-probe")
    command.in_round(1)
    run = RunDir(command.run)
    assert ask(run, {"degrade": "air", "factor": 0.5}) == "air is degraded to 0.5 of its rate"
    assert ask(run, {"cut": "air", "nodes": ["learner1"]}) == "air is cut (learner1)"
    cut_at = time.monotonic()
    until(lambda: time.monotonic() > cut_at + CUT_S)
    assert ask(run, {"restore": "air"}) == "air is restored"
    code, _, err = command.end()
    assert code == 0, err
    summary = command.summary()
    assert summary["faults"] == []
    assert [(each["what"], each["by"]) for each in summary["changes"]] == [
        ("degrade", "hand"), ("cut", "hand"), ("restore", "hand"),
    ]  # fmt: skip
    assert max(row["wall_s"] for row in read_rounds(run.rounds)) > 0.9 * CUT_S
    states = [torch.load(each.model, weights_only=True) for each in (run, undisturbed)]
    torch.testing.assert_close(states[0], states[1], rtol=0.0, atol=1e-5)


def orders_to(folder: Path, used: str) -> tuple[Conductor, Orders]:
    """A conductor of a run whose nodes have joined, and what its links would be told."""
    run = new_run_dir(folder, "cell")
    journal = Journal(run.events("server"))
    journal.event("joined")
    journal.close()
    return Conductor(run, loads(TOPOLOGY), ("server",), None, used), Orders(run.path)


@pytest.mark.parametrize(
    ("used", "order", "said"),
    [
        ("paced", {"cut": "wire"}, "by hand: the order names unknown link 'wire'; links are air"),
        ("paced", {"cut": "air", "nodes": ["x"]}, "unknown"),
        ("paced", {"degrade": "air"}, "degrades 'air' by nothing"),
        ("paced", {"degrade": "air", "rate": "fast"}, "has a bad rate"),
        ("paced", {"degrade": "air", "rate": {}}, "must be one quantity"),
        ("none", {"cut": "air"}, "nothing is shaped in this run"),
    ],
)
def test_an_order_that_cannot_be_changes_nothing(
    tmp_path: Path, used: str, order: dict[str, Any], said: str
) -> None:
    conductor, orders = orders_to(tmp_path, used)
    with conductor, pytest.raises(InputError, match=said):
        conductor.order(order)
    assert orders.new() == []


def test_an_order_that_comes_before_the_nodes_waits_for_them(tmp_path: Path) -> None:
    conductor, orders = orders_to(tmp_path, "paced")
    (folder,) = tmp_path.iterdir()
    run, nobody = RunDir(folder), Referee(seats=())
    supervisor = Supervisor(StopSignals())
    with conductor, Control(run, conductor, supervisor, nobody) as control:
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask, run, {"cut": "air"})
            assert not wait([asked], timeout=0.2).done
            assert orders.new() == []
            control.serve()
            assert asked.result(timeout=WAIT_S) == "air is cut"


def test_links_that_pace_themselves_are_told(tmp_path: Path) -> None:
    conductor, orders = orders_to(tmp_path, "paced")
    with conductor:
        conductor.order({"degrade": "air", "rate": "2 Mbit"})
    (told,) = orders.new()
    assert (told.kind, told.target, told.settings) == ("degrade", "air", {"rate_bps": 2e6})


class ByHand:
    """A course of the topology's, to which the test gives orders."""

    def __init__(self, folder: Path) -> None:
        self.topology = loads(TOPOLOGY)
        self.orders = Orders(folder)
        self.course = Timeline(self.topology, Orders(folder)).course("server", "learner0")

    def give(self, at_s: float, **order: Any) -> None:
        self.orders.give(read_order(order, self.topology, at_s))


def test_a_course_follows_orders_as_they_come(tmp_path: Path) -> None:
    by_hand = ByHand(tmp_path)
    assert by_hand.course.at(5.0) == (loads_channel(by_hand), math.inf)
    by_hand.give(1.0, degrade="air", rate="2 Mbit")
    until(lambda: by_hand.course.at(5.0)[0].rate_bps == 2e6)
    by_hand.give(2.0, cut="air")
    until(lambda: by_hand.course.at(5.0)[0].loss == 1.0)
    by_hand.give(3.0, restore="air")
    until(lambda: by_hand.course.at(5.0)[0].loss == 0.0)
    assert by_hand.course.at(1.5)[0].rate_bps == 2e6


def loads_channel(by_hand: ByHand) -> Any:
    (link,) = by_hand.topology.links
    return channel(link, "server", "learner0", by_hand.topology)


def test_a_frame_that_is_held_goes_when_the_way_is_restored(tmp_path: Path) -> None:
    by_hand, began = ByHand(tmp_path), time.monotonic()
    by_hand.give(0.0, cut="air")
    pacer = Pacer(by_hand.course, started=lambda: began)
    assert pacer.deliver_at(1000, began) == math.inf
    holding = threading.Thread(target=hold, args=(pacer, 1000, began, threading.Event()))
    holding.start()
    by_hand.give(0.05, restore="air")
    holding.join(WAIT_S)
    assert not holding.is_alive()
    assert pacer.again() == pytest.approx(began + 0.05 + 1000 * 8 / 20e6 + 0.002)


def test_a_link_that_is_abandoned_holds_nothing(tmp_path: Path) -> None:
    by_hand, abandoned = ByHand(tmp_path), threading.Event()
    by_hand.give(0.0, cut="air")
    abandoned.set()
    hold(Pacer(by_hand.course, started=lambda: 0.0), 1000, 1.0, abandoned)
