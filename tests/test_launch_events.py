"""Runs during which the network changes: what happens when, what is written down, how they end."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from facilities import needs

from edgenet.errors import InputError, NodeError, ShapingError
from edgenet.launchers.conductor import Conductor
from edgenet.launchers.resuming import BEGINNING, Point
from edgenet.launchers.shaping import check_still
from edgenet.meters import Journal
from edgenet.meters.start import Start
from edgenet.results.events import launcher_events
from edgenet.results.rundir import RunDir, new_run_dir
from edgenet.topology import loads
from edgenet.topology.spec import Channel

TOPOLOGY = """\
name: cell
nodes: {server: {}, learner: {count: 2}}
links: {air: {rate: 20 Mbit, delay: 2 ms, base: server, members: learner}}
train: {scheme: fedavg, model: two-nn-small, data: {name: digits, train: 120, test: 60},
        rounds: 30, batch: 20, lr: 0.1}
faults: {silence: 20 s}
seed: 7
"""
EVENTS = """\
events:
  - {at: 100 ms, degrade: air, factor: 0.5, delay: 20 ms}
  - {at: 400 ms, cut: air, nodes: learner1}
  - {at: 1400 ms, restore: air}
"""
WAIT_S = 60.0
CUT_S = 1.0

Changes = Mapping[tuple[str, str, str], Channel]


def run(folder: Path, text: str, *options: str) -> RunDir:
    """A run that went well."""
    folder.mkdir()
    (folder / "cell.yaml").write_text(text, encoding="utf-8")
    start = [
        sys.executable,
        "-m",
        "edgenet",
        "run",
        str(folder / "cell.yaml"),
        "--out",
        str(folder),
    ]
    done = subprocess.run(
        [*start, *options], capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    (found,) = folder.glob("*/run.json")
    return RunDir(found.parent)


over_each = pytest.mark.parametrize(
    "shaping",
    [
        "paced",
        pytest.param("relay", marks=[pytest.mark.root, needs("root", "network namespaces", "TUN")]),
    ],
)


@pytest.mark.processes
@pytest.mark.timeout(200)
@over_each
def test_a_run_outlives_a_cut_and_learns_the_same(tmp_path: Path, shaping: str) -> None:
    changed = run(tmp_path / "changed", TOPOLOGY + EVENTS, "--shaping", shaping, "--no-probe")
    plain = run(tmp_path / "plain", TOPOLOGY, "--shaping", "none")
    states = [torch.load(each.model, weights_only=True) for each in (changed, plain)]
    torch.testing.assert_close(states[0], states[1], rtol=0.0, atol=1e-5)
    summary = json.loads(changed.summary.read_text(encoding="utf-8"))
    assert summary["faults"] == []
    assert [(each["what"], each["asked_s"]) for each in summary["changes"]] == [
        ("degrade", 0.1), ("cut", 0.4), ("restore", 1.4),
    ]  # fmt: skip
    assert summary["changes"][1]["nodes"] == ["learner1"]
    times = [each["t_s"] for each in summary["changes"]]
    late_s = [each["late_s"] for each in summary["changes"]]
    lasted_s = times[2] - late_s[2] - (times[1] - late_s[1])
    assert lasted_s == pytest.approx(CUT_S, abs=0.5)
    rounds = changed.rounds.read_text(encoding="utf-8").splitlines()
    assert len(rounds) == 31
    assert summary["wall_s"] > CUT_S
    assert "air is cut (learner1)" in changed.report.read_text(encoding="utf-8")
    trace = json.loads(changed.trace.read_text(encoding="utf-8"))["traceEvents"]
    assert [each["name"] for each in trace if each["ph"] == "i" and "air" in each["name"]] == [
        "air is degraded to 0.5 of its rate, delay 20 ms", "air is cut (learner1)",
        "air is restored",
    ]  # fmt: skip


@pytest.mark.processes
@pytest.mark.timeout(200)
@over_each
def test_a_node_that_stays_cut_off_is_lost(tmp_path: Path, shaping: str) -> None:
    events = "events: [{at: 100 ms, cut: air, nodes: learner1}]\n"
    text = TOPOLOGY.replace("silence: 20 s", "silence: 2 s, heartbeat: 500 ms, quorum: 0.5")
    found = run(tmp_path / "cut", text + events, "--shaping", shaping)
    summary = json.loads(found.summary.read_text(encoding="utf-8"))
    assert {
        (each["peer"], each["what"]) for each in summary["faults"] if each["node"] == "server"
    } == {("learner1", "silent")}
    assert summary["rounds"] == 30


def conduct(
    folder: Path, text: str, apply: Any, joined: tuple[str, ...], point: Point = BEGINNING
) -> Conductor:
    """A conductor of a run in which these nodes have joined."""
    run_dir = new_run_dir(folder, "cell")
    for name in joined:
        journal = Journal(run_dir.events(name))
        journal.event("joined")
        journal.close()
    waited_for = () if point.after else ("server", "learner0")  # their journals are passed over
    return Conductor(run_dir, loads(TOPOLOGY + text), waited_for, apply, point=point)


def until(holds: Any) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_a_conductor_gives_lanes_what_the_timeline_says(tmp_path: Path) -> None:
    given: list[Changes] = []
    with conduct(tmp_path, EVENTS, given.append, ("server", "learner0")):
        until(lambda: len(given) == 3)
    degraded = Channel(rate_bps=10e6, delay_s=0.02)
    assert len(given[0]) == 4
    assert set(given[0].values()) == {degraded}
    assert set(given[1]) == {("air", "learner1", "server"), ("air", "server", "learner1")}
    assert [each.loss for each in given[1].values()] == [1.0, 1.0]
    assert set(given[2].values()) == {Channel(rate_bps=20e6, delay_s=0.002)}
    (folder,) = tmp_path.iterdir()
    told = [event.name for event in launcher_events(RunDir(folder))]
    assert told == ["began", "change", "change", "change", "end"]
    assert Start.of(folder).at() is not None


def test_what_had_happened_by_then_is_not_done_again(tmp_path: Path) -> None:
    given: list[Changes] = []
    text = (
        "events: [{at: 1 s, degrade: air, factor: 0.5}, {at: 2 s, degrade: air, delay: 20 ms}, "
        "{at: 100.2 s, restore: air}]\n"
    )
    with conduct(tmp_path, text, given.append, ("server",), Point(after=7, at_s=100.0)):
        until(lambda: len(given) == 2)
    assert set(given[0].values()) == {Channel(rate_bps=10e6, delay_s=0.02)}
    assert set(given[1].values()) == {Channel(rate_bps=20e6, delay_s=0.002)}
    (folder,) = tmp_path.iterdir()
    began, change, _ = launcher_events(RunDir(folder))
    assert began.number("at_s") == 100.0
    assert change.text("what") == "restore"
    started = Start.of(folder).at()
    assert started is not None
    assert 100.2 < time.monotonic() - started < 100.0 + WAIT_S


def test_times_count_from_when_the_last_has_joined(tmp_path: Path) -> None:
    given: list[Changes] = []
    with conduct(tmp_path, EVENTS, given.append, ("server",)):
        (folder,) = tmp_path.iterdir()
        threading.Event().wait(0.5)
        assert given == []
        assert Start.of(folder).at() is None
        journal = Journal(RunDir(folder).events("learner0"))
        journal.event("joined")
        journal.close()
        until(lambda: len(given) == 3)


def test_nobody_is_waited_for_longer_than_nodes_wait(tmp_path: Path) -> None:
    given: list[Changes] = []
    text = EVENTS.replace("events:", "faults: {join: 100 ms}\nevents:")
    run_dir = new_run_dir(tmp_path, "cell")
    journal = Journal(run_dir.events("server"))
    journal.event("joined")
    journal.close()
    topology = loads(TOPOLOGY.replace("faults: {silence: 20 s}\n", "") + text)
    with Conductor(run_dir, topology, ("server", "never"), given.append):
        until(lambda: len(given) == 3)
    assert next(event.fields["nodes"] for event in launcher_events(run_dir)) == 1


def test_where_nobody_trains_nothing_changes(tmp_path: Path) -> None:
    given: list[Changes] = []
    run_dir = new_run_dir(tmp_path, "cell")
    journal = Journal(run_dir.events("server"))
    journal.event("end", status="done")
    journal.close()
    with Conductor(run_dir, loads(TOPOLOGY + EVENTS), ("server",), given.append):
        until(lambda: [event.name for event in launcher_events(run_dir)] == ["end"])
    assert given == []
    assert Start.of(run_dir.path).at() is None


def test_what_cannot_be_applied_ends_the_run(tmp_path: Path) -> None:
    def refuse(changes: Changes) -> None:
        raise ShapingError("no such way")

    with conduct(tmp_path, EVENTS, refuse, ("server", "learner0")) as conductor:
        with pytest.raises(NodeError, match="no such way"):
            until(lambda: conductor.check())


def test_fading_is_applied_by_its_interval(tmp_path: Path) -> None:
    given: list[Changes] = []
    run_dir = new_run_dir(tmp_path, "cell")
    topology = loads(
        "nodes: {a: {at: [0, 0]}, b: {at: [90, 0]}}\ntrain: {scheme: fedavg}\n"
        "links: {cell: {lte: {fading: 20 ms}, base: a, members: b}}"
    )
    with Conductor(run_dir, topology, (), given.append):
        until(lambda: len(given) > 5)
    rates = [changes["cell", "b", "a"].rate_bps for changes in given]
    assert len(set(rates)) == len(rates)
    followed = next(each for each in launcher_events(run_dir) if each.name == "followed")
    assert followed.count("steps") >= len(given)


def test_a_network_that_stays_as_it_is_needs_no_conductor(tmp_path: Path) -> None:
    run_dir = new_run_dir(tmp_path, "cell")
    with Conductor(run_dir, loads(TOPOLOGY), ("server",), None):
        pass
    assert not run_dir.events_file.exists()


def test_torchrun_refuses_what_nobody_would_start() -> None:
    check_still(loads(TOPOLOGY))
    with pytest.raises(InputError, match=r"t.yaml:8: the events section needs `edgenet run`"):
        check_still(loads(TOPOLOGY + EVENTS, "t.yaml"))
    again = TOPOLOGY.replace("{silence: 20 s}", "{restart: 1}")
    with pytest.raises(InputError, match=r"t.yaml:6: faults.restart needs `edgenet run`"):
        check_still(loads(again, "t.yaml"))
    with pytest.raises(InputError, match="what link 'cell' follows needs `edgenet run`"):
        check_still(
            loads(
                "nodes: {a: {at: [0, 0]}, b: {at: [90, 0]}}\ntrain: {scheme: fedavg}\n"
                "links: {cell: {lte: {fading: 1 s}, base: a, members: b}}"
            )
        )
