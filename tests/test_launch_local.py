"""Whole runs on this host, from the launcher's start to its exit code; scripted nodes."""

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

pytestmark = pytest.mark.processes

HERE = Path(__file__).parent
DEADLINE_S = 40.0  # from a fault to the end of the command


class Launcher:
    """A launcher in its own process, and what can be seen of its run."""

    def __init__(self, topology: Path, script: dict[str, Any]) -> None:
        self.out = topology.parent / "runs"
        environment = os.environ | {
            "STANDIN_SCRIPT": json.dumps(script),
            "PYTHONPATH": f"{HERE}:{HERE.parent}",
        }
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "launch_runner.py"), str(topology), str(self.out)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.script = script

    def end(self) -> tuple[int, str]:
        """Its exit code and what it said."""
        _, said = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, said

    def started(self) -> dict[str, int]:
        """Process ids by node, once every node has started, and joined if it ever does."""
        pids: dict[str, int] = {}
        deadline = time.monotonic() + DEADLINE_S
        while len(pids) < len(self.script):
            assert time.monotonic() < deadline, "not all nodes start"
            assert self.process.poll() is None, self.process.communicate()
            for name, fields in self.script.items():
                for path in self.out.glob(f"*/nodes/{name}/events.jsonl"):
                    first, *more = path.read_text().splitlines()[:2] or [""]
                    if first and (more or not fields.get("joins")):
                        pids[name] = json.loads(first)["pid"]
            time.sleep(0.01)
        return pids

    @property
    def run(self) -> Path:
        (run,) = self.out.iterdir()
        return run

    def read(self, name: str) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.run / name).read_text())
        return value


Launch = Callable[..., Launcher]


@pytest.fixture
def launch(topology_file: Path) -> Iterator[Launch]:
    launchers: list[Launcher] = []

    def start(**script: Any) -> Launcher:
        launchers.append(Launcher(topology_file, script))
        return launchers[-1]

    yield start
    for launcher in launchers:  # of a test that failed half way
        if launcher.process.poll() is None:
            launcher.process.kill()
            launcher.end()


def test_a_good_run_leaves_its_record(launch: Launch) -> None:
    launcher = launch(server={"do": "done"}, learner0={"do": "done", "essential": False})
    assert launcher.end() == (0, "shaping: paced (auto: the nodes share one network, so the "
                                 "links pace themselves)\n")  # fmt: skip
    record = launcher.read("run.json")
    assert record["exit_code"] == 0
    assert record["error"] is None
    assert record["nodes"]["learner0"] == {"role": "learner", "device": "host"}
    assert record["ended"]["server"] == {"code": 0, "signal": None}
    assert (record["seed"], record["rounds"], record["scheme"]) == (5, 2, "fedavg")
    assert record["shaping"]["used"] == "paced"
    assert {"torch", "python", "edgenet"} <= set(record["versions"])
    assert record["host"]["cpus"] == os.cpu_count()
    assert launcher.read("summary.json")["outcome"] == "done"
    assert (launcher.run / "topology.yaml").read_text()


def test_failed_server_ends_the_run_with_its_words(launch: Launch) -> None:
    launcher = launch(server={"do": "fail"}, learner0={"essential": False})
    code, said = launcher.end()
    assert code == 3
    assert "server failed: out of memory at round 2 (log: " in said
    assert launcher.read("run.json")["exit_code"] == 3
    assert launcher.read("summary.json")["nodes"]["server"]["status"] == "failed"


def test_killed_server_is_named_and_nothing_runs_on(launch: Launch) -> None:
    launcher = launch(server={}, learner0={"essential": False}, learner1={"do": "stubborn"})
    pids = launcher.started()
    os.kill(pids["server"], signal.SIGKILL)
    code, said = launcher.end()
    remedy = "server was killed by SIGKILL; set faults.restart to have all nodes started again (log"
    assert (code, remedy in said) == (3, True)
    assert not any(map(psutil.pid_exists, pids.values()))
    assert launcher.read("run.json")["ended"]["server"] == {"code": None, "signal": 9}


def test_killed_learner_is_told_and_the_run_goes_on(launch: Launch) -> None:
    launcher = launch(server={"do": "on-usr1"}, learner0={"essential": False})
    pids = launcher.started()
    os.kill(pids["learner0"], signal.SIGKILL)
    assert launcher.process.stderr is not None
    said = [launcher.process.stderr.readline() for _ in range(2)]
    assert said[1] == "learner0 was killed by SIGKILL; the run goes on without it\n"
    os.kill(pids["server"], signal.SIGUSR1)
    assert launcher.end()[0] == 0
    assert launcher.read("summary.json")["outcome"] == "done"


def test_many_losses_are_not_all_told(launch: Launch) -> None:
    learners = {f"learner{i}": {"do": "fail-on-usr1", "essential": False} for i in range(8)}
    launcher = launch(server={"do": "on-usr1"}, **learners)
    pids = launcher.started()
    server = pids.pop("server")
    for pid in pids.values():
        os.kill(pid, signal.SIGUSR1)
    assert launcher.process.stderr is not None
    said = [launcher.process.stderr.readline() for _ in range(7)]
    os.kill(server, signal.SIGUSR1)
    code, rest = launcher.end()
    assert (code, rest) == (0, "")
    assert sum("failed: out of memory" in line for line in said) == 5
    assert said[-1].startswith("further losses are told in ")


def test_frozen_server_is_stopped_once_all_peers_failed(launch: Launch) -> None:
    launcher = launch(server={"peers": ["learner0"]}, learner0={"do": "fail-on-usr1",
                                                                "essential": False})  # fmt: skip
    pids = launcher.started()
    os.kill(pids["server"], signal.SIGSTOP)
    os.kill(pids["learner0"], signal.SIGUSR1)
    code, said = launcher.end()
    assert code == 3
    assert "server did not end although all its peers had failed (frozen?); " in said
    assert "before that, learner0 failed: out of memory" in said
    assert not any(map(psutil.pid_exists, pids.values()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stop_by_the_user_is_orderly(launch: Launch, number: signal.Signals) -> None:
    launcher = launch(server={}, learner0={"essential": False})
    pids = launcher.started()
    launcher.process.send_signal(number)
    code, said = launcher.end()
    assert code == 130
    assert f"interrupted; what was computed is in {launcher.run}" in said
    assert not any(map(psutil.pid_exists, pids.values()))
    ended = launcher.read("run.json")["ended"]
    assert {node: end["code"] for node, end in ended.items()} == {"server": 130, "learner0": 130}
    assert launcher.read("summary.json")["outcome"] == "interrupted"


def test_killed_launcher_leaves_no_orphan(launch: Launch) -> None:
    launcher = launch(server={}, learner0={"do": "stubborn"})
    family = psutil.Process(launcher.process.pid).children
    nodes = [psutil.Process(pid) for pid in launcher.started().values()]
    everyone = [*family(), *nodes]
    launcher.process.kill()
    launcher.end()
    _, alive = psutil.wait_procs(everyone, timeout=10)
    assert not alive


def test_launcher_killed_while_warming_up_leaves_no_orphan(launch: Launch) -> None:
    launcher = launch(server={"do": "slow-start"})
    deadline = time.monotonic() + DEADLINE_S
    children: list[psutil.Process] = []
    while not children:
        assert time.monotonic() < deadline
        children = psutil.Process(launcher.process.pid).children()
    launcher.process.kill()
    launcher.end()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


def test_bad_input_leaves_nothing_behind(launch: Launch, topology_file: Path) -> None:
    topology_file.write_text("nodes: [")
    launcher = launch(server={})
    code, said = launcher.end()
    assert (code, said.startswith(f"{topology_file}:")) == (2, True)
    assert not launcher.out.exists()


def test_missing_data_is_bad_input_and_starts_nothing(launch: Launch) -> None:
    launcher = launch(server={"do": "no-data"})
    code, said = launcher.end()
    assert (code, said.splitlines()[-1]) == (2, "digits: not there")
    assert not launcher.out.exists()


def test_a_pipe_is_refused(topology_text: str, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    launcher = Launcher(pipe, {"server": {}})
    pipe.write_text(topology_text)
    code, said = launcher.end()
    assert (code, "is a pipe or a device" in said) == (2, True)
