"""Nodes that come later, leave, die and come back, under a launcher whose nodes follow a script."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from test_launch_local import DEADLINE_S, Launch, Launcher, launch

from edgenet.errors import TopologyError
from edgenet.launchers.comings import Comings
from edgenet.launchers.policy import Referee, Seat
from edgenet.launchers.resuming import Point
from edgenet.launchers.witness import Witness
from edgenet.meters import Journal
from edgenet.meters.start import Start
from edgenet.node.plan import resolve
from edgenet.results.events import launcher_events
from edgenet.results.rundir import RunDir, new_run_dir
from edgenet.topology import dump, loads
from edgenet.topology.comings import late_starters

__all__ = ["launch"]  # a fixture

NODES = """\
name: sample
nodes: {server: {}, learner: {count: 3}}
links: {air: {rate: 100 Mbit, base: server, members: learner}}
"""
TRAIN = "train: {scheme: fedavg, model: two-nn-small, data: {name: digits, train: 60, test: 20}}\n"
SERVER = {"do": "on-usr1", "joins": True, "peers": ["learner0", "learner1", "learner2"]}
LEARNER = {"essential": False, "joins": True, "peers": ["server"]}


@pytest.fixture
def written(topology_file: Path) -> Callable[[str], None]:
    """Gives the topology of a run more lines."""

    def write(more: str) -> None:
        topology_file.write_text(NODES + TRAIN + more, encoding="utf-8")

    return write


def until(holds: Callable[[], Any]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < end
        threading.Event().wait(0.01)


def lives(launcher: Launcher, node: str) -> list[int]:
    """The process of each of a node's lives in which it has joined."""
    path = launcher.run / "nodes" / node / "events.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    told = [json.loads(line) for line in lines]
    return [one["pid"] for one, then in pairwise(told) if then["e"] == "joined"]


def finish(launcher: Launcher) -> tuple[int, str]:
    os.kill(lives(launcher, "server")[0], signal.SIGUSR1)
    return launcher.end()


# ---- in topologies ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ("events: [{at: 1 s, start: nobody}]", "t.yaml:5: event 1 names unknown node 'nobody'"),
        ("events: [{start: learner1}]", "t.yaml:5: event 1 does not say when; add 'at: 30 s' or "
         "'at: round 3'"),
        ("events: [{at: round 0, stop: learner1}]", "t.yaml:5: event 1 has a bad at: 'round 0'"),
        ("events: [{at: round 2, cut: air}]", "t.yaml:5: event 1 has a bad at: 'round 2'"),
        ("events:\n- {at: 1 s, stop: learner1}\n- {at: 2 s, kill: learner1}",
         "t.yaml:7: event 2 has 'learner1' kill at 2 s, but it is not there then"),
        ("events:\n- {at: 1 s, start: learner1}\n- {at: 2 s, start: learner1}",
         "t.yaml:7: event 2 has 'learner1' start at 2 s, but it is there already"),
        ("events:\n- {at: 1 s, start: learner1}\n- {at: round 2, stop: learner1}",
         "t.yaml:7: event 2 has 'learner1' stop at round 2, another event of it is at 1 s"),
        ("events: [{at: 1 s, kill: server}]", "t.yaml:5: event 1 has 'server' kill, its server, "
         "but under scheme 'fedavg' only learner0..learner2 can come and go"),
        ("events:\n- {at: 1 s, start: learner1}\n- {at: 1 s, start: learner2}",
         "1 of 3 nodes of role learner are there from the start, but the quorum is 2"),
        ("faults: {restart: -1}", "t.yaml:5: faults has restart -1; it must lie between 0"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(more: str, sentence: str) -> None:
    with pytest.raises(TopologyError) as caught:
        resolve(loads(NODES + TRAIN + more + "\n", "t.yaml"))
    assert sentence in str(caught.value)


def test_where_nobody_can_come_and_go_it_is_said() -> None:
    train = TRAIN.replace("fedavg", "data-parallel")
    with pytest.raises(TopologyError, match="under scheme 'data-parallel' no node can come and go"):
        resolve(loads(NODES + train + "events: [{at: 1 s, stop: learner1}]\n"))


def test_comings_survive_being_written_out() -> None:
    more = (
        "events: [{at: round 3, start: learner1}, {at: 2 s, kill: learner2}]\nfaults: {restart: 3}"
    )
    topology = loads(NODES + TRAIN + more)
    assert loads(dump(topology)) == topology
    assert topology.events[0].at_round == 3
    assert late_starters(topology.events) == {"learner1"}


# ---- in runs of scripted nodes ---------------------------------------------------------------


@pytest.mark.processes
def test_a_killed_node_is_started_again_as_often_as_it_may(
    launch: Launch, written: Callable[[str], None]
) -> None:
    written("faults: {restart: 2}\n")
    launcher = launch(server=SERVER, learner0=LEARNER)
    launcher.started()
    for life in range(3):
        until(lambda n=life: len(lives(launcher, "learner0")) == n + 1)
        os.kill(lives(launcher, "learner0")[-1], signal.SIGKILL)
    assert launcher.process.stderr is not None
    said = [launcher.process.stderr.readline() for _ in range(4)]
    code, _ = finish(launcher)
    assert code == 0
    assert said[1] == "learner0 was killed by SIGKILL; it is started again (1 of 2)\n"
    assert said[3] == (
        "learner0 was killed by SIGKILL; it was started again as often as faults.restart allows; "
        "the run goes on without it\n"
    )
    assert len(lives(launcher, "learner0")) == 3
    summary = launcher.read("summary.json")
    assert [each["number"] for each in summary["restarts"]] == [1, 2]
    assert all(0 < each["back_s"] < DEADLINE_S for each in summary["restarts"])
    assert "started again (2 of 2), it was back after" in (launcher.run / "report.html").read_text()


@pytest.mark.processes
def test_who_failed_or_crashed_comes_back_but_not_who_has_bad_input(
    launch: Launch, written: Callable[[str], None]
) -> None:
    written("faults: {restart: 1}\n")
    launcher = launch(
        server=SERVER,
        learner0={**LEARNER, "do": "once"},
        learner1={**LEARNER, "do": "fail"},
        learner2={**LEARNER, "do": "bad-input"},
    )
    launcher.started()
    until(lambda: [len(lives(launcher, f"learner{i}")) for i in range(3)] == [2, 2, 1])
    os.kill(lives(launcher, "learner0")[1], 0)  # it stays
    code, _ = finish(launcher)
    assert code == 0
    assert [len(lives(launcher, f"learner{i}")) for i in range(3)] == [2, 2, 1]


@pytest.mark.processes
def test_nodes_come_leave_and_come_back_at_their_times(
    launch: Launch, written: Callable[[str], None]
) -> None:
    written("""\
events:
- {at: 300 ms, start: learner1}
- {at: 100 ms, stop: learner0}
- {at: 1 s, start: learner0}
- {at: 3 s, kill: learner1}
- {at: 1 h, start: learner2}
""")
    script = {"server": SERVER} | {f"learner{i}": LEARNER for i in range(3)}
    launcher = launch(**script)
    del launcher.script["learner1"], launcher.script["learner2"]
    launcher.started()
    until(lambda: len(list(launcher_events(RunDir(launcher.run)))) >= 6)
    until(lambda: len(lives(launcher, "learner0")) == 2)
    code, said = finish(launcher)
    assert code == 0
    assert "learner1 was killed by SIGKILL; the run goes on without it" in said
    assert "learner0 " not in said  # it left because it was told to
    summary = launcher.read("summary.json")
    assert [(each["asked_s"], each["says"]) for each in summary["changes"]] == [
        (0.1, "learner0 leaves"), (0.3, "learner1 starts"), (1.0, "learner0 starts"),
        (3.0, "learner1 is killed"),
    ]  # fmt: skip
    assert all(each["late_s"] < 5.0 for each in summary["changes"])
    assert summary["nodes"]["learner2"]["status"] == "absent"
    assert (len(lives(launcher, "learner1")), lives(launcher, "learner2")) == (1, [])


@pytest.mark.processes
def test_who_does_not_leave_when_told_is_killed(
    launch: Launch, written: Callable[[str], None]
) -> None:
    written("events: [{at: 50 ms, stop: learner0}]\nfaults: {restart: 1}\n")
    launcher = launch(server=SERVER, learner0={**LEARNER, "do": "stubborn"})
    pid = launcher.started()["learner0"]
    until(lambda: not psutil.pid_exists(pid))
    code, said = finish(launcher)
    assert code == 0
    assert "learner0" not in said
    assert launcher.read("run.json")["ended"]["learner0"] == {"code": None, "signal": 9}
    assert len(lives(launcher, "learner0")) == 1


@pytest.mark.processes
def test_a_stop_by_the_user_is_obeyed_while_nodes_come_back(
    launch: Launch, written: Callable[[str], None]
) -> None:
    written("faults: {restart: 1000}\n")
    launcher = launch(server=SERVER, learner0={**LEARNER, "do": "fail"})
    launcher.started()
    until(lambda: len(lives(launcher, "learner0")) > 3)
    launcher.process.send_signal(signal.SIGINT)
    assert launcher.end()[0] == 130


# ---- a run that goes on ----------------------------------------------------------------------


class Stage:
    """Notes who is started and who is told to leave."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def fork(self, node: str) -> None:
        self.told.append(("start", node))

    def signal(self, node: str, number: signal.Signals) -> None:
        self.told.append((number.name, node))


STAGED = (
    "nodes: {hub: {}, a: {}, b: {}}\nlinks: {l: {base: hub, members: [a, b]}}\n"
    "train: {scheme: fedavg}\n"
)
STAGED_SEATS = [
    Seat(name=name, role="x", device="host", essential=name == "hub") for name in ("hub", "a", "b")
]


def test_who_is_to_start_while_it_still_leaves_starts_when_it_has_left(tmp_path: Path) -> None:
    text = STAGED + "events: [{at: 1 ms, stop: a}, {at: 2 ms, start: a}]\n"
    run, referee, stage = new_run_dir(tmp_path, "scene"), Referee(seats=STAGED_SEATS), Stage()
    comings = Comings(run, loads(text), referee, stage, lambda *_: None, print)
    Start.of(run.path).mark(1.0)  # both are due
    for _ in range(3):
        comings.look()
    assert stage.told == [("SIGTERM", "a")]
    referee.ended("a", 130, None, 0.0)
    assert not comings.ended("a")
    comings.look()
    assert stage.told == [("SIGTERM", "a"), ("start", "a")]
    comings.close()
    assert [event.text("what") for event in launcher_events(run)] == ["stop", "start"]


@pytest.mark.parametrize(
    ("point", "later", "told"),
    [
        (Point(), {"b"}, [("start", "b"), ("SIGTERM", "a"), ("SIGKILL", "b"), ("start", "a")]),
        (Point(1), {"b"}, [("start", "b"), ("SIGTERM", "a"), ("SIGKILL", "b"), ("start", "a")]),
        (Point(2), set(), [("SIGTERM", "a"), ("SIGKILL", "b"), ("start", "a")]),
        (Point(4), {"a"}, [("SIGKILL", "b"), ("start", "a")]),
        (Point(5), {"a"}, [("start", "a")]),
        (Point(6), set(), []),
    ],
)
def test_who_had_come_or_left_by_then_is_there_or_not(
    point: Point, later: set[str], told: list[tuple[str, str]], tmp_path: Path
) -> None:
    run, text = (
        new_run_dir(tmp_path, "scene"),
        STAGED
        + (
            "events: [{at: round 2, start: b}, {at: round 4, stop: a}, {at: round 5, kill: b}, "
            "{at: round 6, start: a}]\n"
        ),
    )
    referee, stage = Referee(seats=STAGED_SEATS), Stage()
    comings = Comings(run, loads(text), referee, stage, lambda *_: None, print, point=point)
    assert comings.later == later == referee.absent
    Start.of(run.path).mark()
    journal = Journal(run.events("hub"))
    for number in range(point.after + 1, 7):
        comings.look()
        if ("SIGTERM", "a") in stage.told and "a" not in referee.ends:
            referee.ended("a", 130, None, 0.0)
            comings.ended("a")
        journal.event("round", r=number)
    comings.look()
    journal.close()
    comings.close()
    assert stage.told == told
    said = [event.text("what") for event in launcher_events(run) if event.name == "change"]
    kills = sum(what == "SIGKILL" for what, _ in told)
    assert said.count("kill") == kills  # only those that were carried out
    assert [what for what in said if what != "kill"] == ["start", "stop", "start"]
    Comings(run, loads(text), referee, stage, lambda *_: None, print, point=Point(6)).close()
    again = [event.text("what") for event in launcher_events(run) if event.name == "change"]
    assert again == said  # and once


# ---- what journals tell ----------------------------------------------------------------------


class Scene:
    """Journals of a hub and two leaves, and a witness of them."""

    def __init__(self, folder: Path) -> None:
        self.run = new_run_dir(folder, "scene")
        self.journals = {name: Journal(self.run.events(name)) for name in ("hub", "a", "b")}
        self.now = time.time()
        seats = [
            Seat(name="hub", role="x", device="host", essential=True, peers=("a", "b")),
            *(Seat(name=n, role="y", device="host", essential=False, peers=("hub",)) for n in "ab"),
        ]
        self.witness = Witness(self.run, seats, lambda: self.now)

    def say(self, node: str, event: str, **fields: Any) -> None:
        self.journals[node].event(event, **fields)
        self.witness.look()


@pytest.fixture
def scene(tmp_path: Path) -> Any:
    scene = Scene(tmp_path)
    yield scene
    for journal in scene.journals.values():
        journal.close()


def test_a_witness_knows_who_is_silent(scene: Scene) -> None:
    def all_run(_: str) -> bool:
        return True

    assert not scene.witness.accused("a", all_run)
    scene.say("hub", "fault", peer="a", what="lost")
    assert not scene.witness.accused("a", all_run)
    scene.say("hub", "fault", peer="a", what="silent")
    assert scene.witness.accused("a", all_run)
    scene.say("hub", "linked", peer="a")
    assert not scene.witness.accused("a", all_run)
    scene.say("a", "fault", peer="hub", what="silent")
    assert not scene.witness.accused("hub", all_run)  # b has heard it
    assert scene.witness.accused("hub", lambda name: name != "b")
    scene.say("a", "end", status="failed", silent="hub")
    assert scene.witness.silent_peer("a") == "hub"
    scene.say("a", "start")
    assert scene.witness.silent_peer("a") is None


def test_a_witness_tells_the_frozen_from_those_who_write(scene: Scene) -> None:
    scene.say("a", "start")
    assert not scene.witness.still("a")
    scene.now += 60.0
    assert scene.witness.still("a")
    assert not scene.witness.still("nobody")


def test_a_witness_follows_the_rounds(scene: Scene) -> None:
    assert scene.witness.round == 1
    scene.say("hub", "round", r=4)
    assert scene.witness.round == 5
