"""`edgenet run --resume`: a launcher killed in the middle, and runs that cannot go on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
from small_runs import assert_same, events, run_processes, topology

from edgenet.meters.checkpoints import Shelf
from edgenet.results.rundir import RunDir
from edgenet.topology.load import dump

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


def test_a_run_whose_launcher_was_killed_goes_on(tmp_path: Path) -> None:
    faults = {"heartbeat": "1 s", "silence": "20 s", "checkpoint": 2}
    spec = topology("psl", 2, faults=faults, cut=1, rounds=80, optimizer=MOVING, lr=0.001)
    whole = run_processes(spec, tmp_path / "whole")
    file = tmp_path / "small.yaml"
    file.write_text(dump(spec), encoding="utf-8")
    run = killed_when(file, tmp_path / "out", lambda run: 4 in Shelf(run.path, "server").rounds())
    done = edgenet("run", "--resume", run.path, "--format", "json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["rounds"], summary["attempts"], summary["outcome"]) == (80, 2, "done")
    (again,) = events(run.path, "server", "resumed")
    assert again["after"] >= 2
    assert f"goes on after round {again['after']} of 80" in done.stderr
    assert [each["after"] for each in run.run()["attempts"]] == [0, again["after"]]
    mine, other = (torch.load(each / "model.pt", weights_only=True) for each in (run.path, whole))
    assert_same(mine, other, exact=True)
    refused = edgenet("run", "--resume", run.path)
    assert refused.returncode == 2
    assert "this run is complete (80 rounds)" in refused.stderr
