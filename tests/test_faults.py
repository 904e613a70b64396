"""What a run does when a node is killed or frozen in the middle of it, seen from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from small_runs import events, last_end, topology

from edgenet.topology.load import dump
from edgenet.topology.spec import Topology

pytestmark = pytest.mark.processes

ROUNDS = 15
PROMISED_S = 15.0
"""From a fault to the last node's word."""
BOUND_S = 60.0
"""For the command to end, which on a busy host takes its time to write the report."""


class Run:
    """`edgenet run` in a process of its own."""

    def __init__(self, spec: Topology, folder: Path) -> None:
        file, self._out = folder / "faults.yaml", folder / "runs"
        file.write_text(dump(spec), encoding="utf-8")
        command = [sys.executable, "-m", "edgenet", "run", str(file), "--out", str(self._out)]
        self.process = subprocess.Popen(
            [*command, "--format", "json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def out(self) -> Path:
        """The run's folder."""
        (run_dir,) = self._out.iterdir()
        return run_dir

    def reach(self, number: int, node: str = "server") -> None:
        """Wait until round `number` is behind `node`."""
        self.wait(lambda: self._round(node) >= number, f"round {number} at {node}")

    def pid(self, node: str) -> int:
        """The node's process."""
        return int(events(self.out, node, "start")[0]["pid"])

    def end(self, within_s: float) -> tuple[int, dict[str, Any], str]:
        """(exit code, summary, stderr), which must come within so many seconds."""
        out, err = self.process.communicate(timeout=within_s)
        return self.process.returncode, json.loads(out) if out.strip() else {}, err

    def _round(self, node: str) -> int:
        try:
            return max((event["r"] for event in events(self.out, node, "round")), default=0)
        except (OSError, ValueError):
            return 0

    def wait(self, true: Callable[[], bool], what: str, within_s: float = 60.0) -> None:
        """Wait until something is true, while the run goes on."""
        end = time.monotonic() + within_s
        while not true():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end, f"no {what} within {within_s} s"
            time.sleep(0.02)

    def close(self) -> None:
        """Stop what a failed test left running."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate(timeout=30)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Topology], Run]]:
    """Starts runs and ends them."""
    runs: list[Run] = []

    def start_(spec: Topology) -> Run:
        runs.append(Run(spec, tmp_path))
        return runs[-1]

    yield start_
    for run in runs:
        run.close()


def long_run(scheme: str, **faults: Any) -> Topology:
    """Three learners and enough rounds to be hit in the middle of one."""
    extra = {"cut": 1} if scheme == "psl" else {}
    faults = {"heartbeat": "0.5 s", "silence": "2 s", **faults}
    data = {"name": "digits", "train": 1200, "test": 60}
    return topology(scheme, 3, faults, data=data, rounds=ROUNDS, local_epochs=2, batch=10, **extra)


def gone(pids: list[int]) -> bool:
    """Whether none of the processes is there any more."""
    return not any(psutil.pid_exists(pid) for pid in pids)


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
@pytest.mark.parametrize("scheme", ["fedavg", "psl"])
def test_the_run_goes_on_without_a_learner(
    scheme: str, blow: signal.Signals, start: Callable[[Topology], Run]
) -> None:
    run = start(long_run(scheme))
    run.reach(2)
    pids = [run.pid(node) for node in ("server", "learner0", "learner1", "learner2")]
    os.kill(run.pid("learner1"), blow)
    code, summary, err = run.end(60.0)
    assert code == 0, err
    assert summary["rounds"] == ROUNDS
    assert summary["nodes"]["learner1"]["status"] == "lost"
    assert summary["nodes"]["learner0"]["status"] == "done"
    last = events(run.out, "server", "round")[-1]
    assert last["active"] == ["learner0", "learner2"]
    assert [fault["peer"] for fault in events(run.out, "server", "fault")] == ["learner1"]
    assert gone(pids)


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
@pytest.mark.parametrize("scheme", ["fedavg", "psl"])
def test_without_a_quorum_it_ends_and_names_the_node(
    scheme: str, blow: signal.Signals, start: Callable[[Topology], Run]
) -> None:
    run = start(long_run(scheme, quorum=3))
    run.reach(2)
    pids = [run.pid(node) for node in ("server", "learner0", "learner1", "learner2")]
    victim, struck = run.pid("learner1"), time.time()
    os.kill(victim, blow)
    code, _, err = run.end(BOUND_S)
    assert code == 3
    assert last_end(run.out) - struck < PROMISED_S
    assert "learner1" in err
    assert gone(pids)


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
@pytest.mark.parametrize("scheme", ["fedavg", "psl"])
def test_a_lost_server_ends_the_run_and_what_was_computed_is_there(
    scheme: str, blow: signal.Signals, start: Callable[[Topology], Run]
) -> None:
    run = start(long_run(scheme))
    run.reach(3)
    pids = [run.pid(node) for node in ("server", "learner0", "learner1", "learner2")]
    victim, struck = run.pid("server"), time.time()
    os.kill(victim, blow)
    code, summary, err = run.end(BOUND_S)
    assert code == 3
    assert last_end(run.out) - struck < PROMISED_S
    assert "server" in err
    assert gone(pids)
    assert summary["rounds"] >= 3
    assert len((run.out / "rounds.csv").read_text(encoding="utf-8").splitlines()) >= 4
    assert torch.load(run.out / "model.pt", weights_only=True)


def test_ctrl_c_ends_the_run_in_an_orderly_way(start: Callable[[Topology], Run]) -> None:
    run = start(long_run("fedavg"))
    run.reach(2)
    pids = [run.pid(node) for node in ("server", "learner0", "learner1", "learner2")]
    run.process.send_signal(signal.SIGINT)
    code, summary, err = run.end(BOUND_S)
    assert code == 130, err
    assert summary["rounds"] >= 2
    assert gone(pids)


def test_a_killed_command_leaves_nothing_running(start: Callable[[Topology], Run]) -> None:
    run = start(long_run("fedavg"))
    run.reach(2)
    pids = [run.pid(node) for node in ("server", "learner0", "learner1", "learner2")]
    run.process.kill()
    run.process.communicate(timeout=10)
    end = time.monotonic() + BOUND_S
    while not gone(pids):
        assert time.monotonic() < end, "nodes outlive their launcher"
        time.sleep(0.05)
