"""`edgenet run --resume`: a launcher killed in the middle, and runs that cannot go on."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from small_runs import assert_same, events, run_processes, topology
from test_resume import Stopped, stop_in
from test_resume import spec as small_spec

from edgenet.cli.main import main
from edgenet.errors import EdgenetError, InputError
from edgenet.launchers import resuming
from edgenet.meters.checkpoints import Shelf
from edgenet.node.plan import resolve
from edgenet.node.threads import run_in_threads
from edgenet.results.events import launcher_events
from edgenet.results.rundir import RunDir, runs
from edgenet.topology.load import dump
from edgenet.topology.spec import TimedEvent, Topology

pytestmark = pytest.mark.processes

WAIT_S = 60.0
MOVING = {"name": "adam"}


def edgenet(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgenet", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)


def killed_when(file: Path, out: Path, holds: Callable[[RunDir], bool]) -> RunDir:
    """Start a run, and kill its launcher when that holds; its nodes go with it."""
    command = [sys.executable, "-m", "edgenet", "run", str(file), "--out", str(out)]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    deadline = time.monotonic() + WAIT_S
    with subprocess.Popen(command, **pipes) as launcher:
        while not (found := list(out.glob("*/nodes"))) or not holds(RunDir(found[0].parent)):
            assert launcher.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        started = psutil.Process(launcher.pid).children(recursive=True)
        launcher.send_signal(signal.SIGKILL)
    assert psutil.wait_procs(started, timeout=WAIT_S)[1] == []
    return RunDir(found[0].parent)


def kept(run: RunDir) -> int:
    """The last round of which the server has a checkpoint; older ones go, so wait for no other."""
    return max(Shelf(run.path, "server").rounds(), default=0)


def changed(run: RunDir) -> bool:
    """Whether the launcher has written down that something happened."""
    return any(event.name == "change" for event in launcher_events(run))


def test_a_run_whose_launcher_was_killed_goes_on(tmp_path: Path) -> None:
    faults = {"heartbeat": "1 s", "silence": "20 s", "checkpoint": 2}
    spec = topology("psl", 2, faults=faults, cut=1, rounds=80, optimizer=MOVING, lr=0.001)
    early = TimedEvent(at_s=0.001, kind="degrade", target="lan", settings={"factor": 0.5})
    spec = replace(spec, shaping="paced", events=(early,))
    whole = run_processes(spec, tmp_path / "whole")
    file = tmp_path / "small.yaml"
    file.write_text(dump(spec), encoding="utf-8")
    run = killed_when(file, tmp_path / "out", lambda run: kept(run) >= 4 and changed(run))
    done = edgenet("run", "--resume", run.path, "--format", "json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["rounds"], summary["attempts"], summary["outcome"]) == (80, 2, "done")
    (again,) = events(run.path, "server", "resumed")
    assert again["after"] >= 2
    assert f"goes on after round {again['after']} of 80" in done.stderr
    assert [each["after"] for each in run.run()["attempts"]] == [0, again["after"]]
    assert [change["what"] for change in summary["changes"]] == ["degrade"]
    first, second = (each for each in launcher_events(run) if each.name == "began")
    done = [
        each["t"] for each in events(run.path, "server", "round") if each["r"] == again["after"]
    ]
    assert second.number("at_s") == pytest.approx(done[-1] - first.t, abs=1e-3)
    mine, other = (torch.load(each / "model.pt", weights_only=True) for each in (run.path, whole))
    assert_same(mine, other, exact=True)
    refused = edgenet("run", "--resume", run.path)
    assert refused.returncode == 2
    assert "this run is complete (80 rounds)" in refused.stderr


def test_nobody_waits_for_a_node_that_had_left(tmp_path: Path) -> None:
    faults = {"heartbeat": "1 s", "silence": "20 s", "join": "60 s", "checkpoint": 2}
    leaves = TimedEvent(at_s=math.inf, at_round=3, kind="stop", target="learner1")
    spec = replace(topology("fedavg", 2, faults, rounds=150), events=(leaves,))
    file = tmp_path / "small.yaml"
    file.write_text(dump(spec), encoding="utf-8")
    run = killed_when(file, tmp_path / "out", lambda run: kept(run) >= 10 and changed(run))
    done = edgenet("run", "--resume", run.path, "--format", "json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["nodes"]["learner1"]["status"] == "left"
    assert [change["what"] for change in summary["changes"]] == ["stop"]
    assert len(events(run.path, "learner1", "start")) == 1
    start, joined = (events(run.path, "server", name)[-1]["t"] for name in ("start", "joined"))
    assert joined - start < 30.0  # half of the time for which nodes wait for each other


def test_a_run_that_ends_meanwhile_is_complete(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.topology.touch()
    run.run_json.write_text(json.dumps({"rounds": 5}))
    with ThreadPoolExecutor(1) as pool:
        with resuming.held(tmp_path):
            late = pool.submit(lambda: resuming.taken(tmp_path).__enter__())
            run.run_json.write_text(json.dumps({"rounds": 5, "exit_code": 0}))
        with pytest.raises(InputError, match=r"this run is complete \(5 rounds\)"):
            late.result(timeout=WAIT_S)


def stopped(spec: Topology, out: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run of `spec` as `edgenet run` would leave it when it is killed in round 4."""
    plan, run = resolve(spec), RunDir(out)
    with monkeypatch.context() as patch:
        stop_in(4, patch)
        with pytest.raises((Stopped, EdgenetError)):
            run_in_threads(plan, out)
    run.topology.write_text(dump(plan.topology), encoding="utf-8")
    run.run_json.write_text(json.dumps({"digest": plan.digest.hex(), "rounds": 5}))
    return run


def test_a_comparison_goes_on_in_the_middle_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = small_spec("fedavg")
    file, out = tmp_path / "small.yaml", tmp_path / "compare"
    file.write_text(dump(spec), encoding="utf-8")
    run = stopped(spec, out / "runs" / "small-20260101-000000", monkeypatch)
    assert main(["compare", str(file), "--schemes", "fedavg", "--out", str(out)]) == 0
    assert f"{run.path}: goes on after round 3 of 5" in capsys.readouterr().err
    assert [each.path for each in runs(out / "runs")] == [run.path]
    run_in_threads(resolve(spec), tmp_path / "whole")
    mine, other = (torch.load(each / "model.pt", weights_only=True)
                   for each in (run.path, tmp_path / "whole"))  # fmt: skip
    assert_same(mine, other, exact=True)
    assert run.run()["attempts"][-1]["exit_code"] == 0
