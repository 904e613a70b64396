"""`edgenet run` and torchrun with real nodes that really train."""

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
from small_runs import last_end

pytestmark = pytest.mark.processes

PROMISED_S = 15.0  # from a fault to the last node's word
DEADLINE_S = 60.0  # for the command to end, which on a busy host takes its time to write the report
ENDLESS = "train.rounds=100000"


class Command:
    """`edgenet run T` in its own process."""

    def __init__(self, topology: Path, *options: str) -> None:
        self.out = topology.parent / "runs"
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "edgenet",
                "run",
                str(topology),
                "--out",
                str(self.out),
                *options,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, timeout_s: float = 60.0) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        out, err = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, out, err

    def in_round(self, number: int) -> dict[str, int]:
        """Process ids by node, once the server has finished that many rounds."""
        deadline = time.monotonic() + 90
        while True:
            assert time.monotonic() < deadline, "the rounds do not come"
            assert self.process.poll() is None, self.process.communicate()
            events = {path.parent.name: read_lines(path) for path in self.journals()}
            rounds = [e for e in events.get("server", []) if e["e"] == "round"]
            if len(rounds) >= number:
                starts = {name: lines[0] for name, lines in events.items()}
                return {name: start["pid"] for name, start in starts.items()}
            time.sleep(0.02)

    def journals(self) -> list[Path]:
        return [path for path in self.out.glob("*/nodes/*/events.jsonl") if path.stat().st_size]

    @property
    def run(self) -> Path:
        (run,) = self.out.iterdir()
        return run

    def summary(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.run / "summary.json").read_text())
        return value


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines(True) if line.endswith("\n")]


@pytest.fixture
def edgenet_run(topology_file: Path) -> Iterator[Callable[..., Command]]:
    commands: list[Command] = []

    def start(*options: str, topology: Path = topology_file) -> Command:
        commands.append(Command(topology, *options))
        return commands[-1]

    yield start
    for command in commands:  # of a test that failed half way
        if command.process.poll() is None:
            command.process.kill()
            command.end()


Run = Callable[..., Command]


def test_a_run_shows_its_rounds_and_leaves_its_results(edgenet_run: Run) -> None:
    command = edgenet_run("--set", "train.rounds=3")
    code, out, err = command.end()
    assert code == 0, err
    assert [line for line in out.splitlines() if line.startswith("round ")][-1].startswith(
        "round 3/3"
    )
    assert "3 of 3 rounds, accuracy " in out
    assert err == (
        "edgenet: shaping: paced (auto: the nodes share one network, so the links pace "
        "themselves)\n"
    )
    names = {path.name for path in command.run.iterdir()}
    assert names >= {
        "topology.yaml", "run.json", "rounds.csv", "model.pt", "trace.json", "summary.json",
        "report.html", "nodes",
    }  # fmt: skip
    assert {path.name for path in (command.run / "nodes").iterdir()} == {
        "server", "learner0", "learner1", "learner2",
    }  # fmt: skip


def test_json_is_the_summary_and_nothing_else(edgenet_run: Run) -> None:
    command = edgenet_run("--format", "json", "--set", "train.rounds=1", "--seed", "11")
    code, out, err = command.end()
    assert code == 0, err
    summary = json.loads(out)
    assert summary == command.summary()
    assert (summary["seed"], summary["rounds"], summary["shaping"]["used"]) == (11, 1, "paced")
    assert {node["status"] for node in summary["nodes"].values()} == {"done"}
    shown = subprocess.run(
        [sys.executable, "-m", "edgenet", "show", str(command.run), "--format", "json"],
        capture_output=True,
    )
    assert json.loads(shown.stdout) == summary


def test_the_resolved_topology_runs_again_to_the_same_weights(
    edgenet_run: Run, tmp_path: Path
) -> None:
    first = edgenet_run("--set", "train.lr=0.05", "--seed", "3")
    assert first.end()[0] == 0
    again_from = tmp_path / "again"
    again_from.mkdir()
    topology = again_from / "resolved.yaml"
    topology.write_text((first.run / "topology.yaml").read_text())
    again = edgenet_run(topology=topology)
    assert again.end()[0] == 0
    assert_same_weights(first.run, again.run)


def assert_same_weights(a: Path, b: Path) -> None:
    one, other = (torch.load(run / "model.pt", weights_only=True) for run in (a, b))
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_killed_learner_is_recorded_and_the_run_finishes(edgenet_run: Run) -> None:
    command = edgenet_run("--set", "train.rounds=40")
    pids = command.in_round(1)
    os.kill(pids["learner1"], signal.SIGKILL)
    code, _, err = command.end()
    assert code == 0, err
    assert "learner1 was killed by SIGKILL; the run goes on without it" in err
    summary = command.summary()
    assert (summary["outcome"], summary["rounds"]) == ("done", 40)
    assert summary["nodes"]["learner1"]["status"] == "lost"
    assert [fault["peer"] for fault in summary["faults"]] == ["learner1"]


def test_too_few_learners_end_the_run_with_a_name(edgenet_run: Run) -> None:
    command = edgenet_run("--set", ENDLESS, "--set", "faults.quorum=3")
    pids = command.in_round(1)
    os.kill(pids["learner1"], signal.SIGKILL)
    code, _, err = command.end(DEADLINE_S)
    assert code == 3
    assert "server failed: " in err
    assert "learner1" in err.splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_lost_server_ends_everything_in_time(edgenet_run: Run, number: signal.Signals) -> None:
    command = edgenet_run("--set", ENDLESS)
    pids = command.in_round(1)
    struck = time.time()
    os.kill(pids["server"], number)
    code, out, err = command.end(DEADLINE_S)
    assert code == 3
    assert last_end(command.run) - struck < PROMISED_S
    assert err.splitlines()[-1].startswith("edgenet: server ")
    assert not any(map(psutil.pid_exists, pids.values()))
    assert "/100000  accuracy " in out
    assert command.summary()["outcome"] == "failed"
    assert (command.run / "model.pt").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stop_keeps_what_was_computed(edgenet_run: Run, number: signal.Signals) -> None:
    command = edgenet_run("--set", ENDLESS)
    pids = command.in_round(2)
    command.process.send_signal(number)
    code, _, err = command.end(DEADLINE_S)
    assert code == 130
    assert err.splitlines()[-1].startswith("edgenet: interrupted; what was computed is in ")
    assert not any(map(psutil.pid_exists, pids.values()))
    summary = command.summary()
    assert summary["rounds"] >= 2
    assert {node["status"] for node in summary["nodes"].values()} == {"interrupted"}


def test_sixty_nodes_start(edgenet_run: Run) -> None:
    command = edgenet_run("--set", "nodes.learner.count=60", "--set", ENDLESS)
    command.in_round(1)
    command.process.send_signal(signal.SIGINT)
    assert command.end(DEADLINE_S)[0] == 130


def torchrun(topology: Path, ranks: int, *options: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("torchrun")
    count = ("--nproc-per-node", str(ranks))
    environment = os.environ | {"TMPDIR": str(topology.parent)}  # torchrun leaves its logs there
    environment.pop("EDGENET_KEY", None)
    return subprocess.run(
        [str(program), "--standalone", *count, "-m", "edgenet.worker", str(topology), *options],
        capture_output=True,
        text=True,
        timeout=100,
        env=environment,
    )


def test_torchrun_gives_the_same_weights(edgenet_run: Run, topology_file: Path) -> None:
    local = edgenet_run()
    assert local.end()[0] == 0
    out = topology_file.parent / "torchrun"
    done = torchrun(topology_file, 4, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("set EDGENET_KEY") == 1
    (run,) = out.iterdir()
    assert f"results: {run}" in done.stdout
    assert_same_weights(local.run, run)
    summary = json.loads((run / "summary.json").read_text())
    assert {node["status"] for node in summary["nodes"].values()} == {"done"}
    assert json.loads((run / "run.json").read_text())["launcher"] == "torchrun"


def test_torchrun_with_the_wrong_number_tells_the_right_one(topology_file: Path) -> None:
    done = torchrun(topology_file, 2, "--out", str(topology_file.parent / "none"))
    assert done.returncode != 0
    assert (
        "4 nodes have a role, but torchrun started 2 ranks; use --nproc-per-node 4" in done.stderr
    )
    assert "exitcode  : 2" in done.stderr
    assert not (topology_file.parent / "none").exists()
