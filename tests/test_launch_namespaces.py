"""`edgenet run --launcher namespaces`: real nodes, a namespace each, over emulated links."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from facilities import needs, netem_runner

from edgenet.shaping import calls, record

pytestmark = [
    pytest.mark.root,
    pytest.mark.processes,
    needs("root", "network namespaces", "TUN"),
]

TOPOLOGY = """\
name: cell
nodes: {server: {}, learner: {count: 2}}
links: {air: {rate: 50 Mbit, delay: 2 ms, base: server, members: learner, shared: true}}
train: {scheme: fedavg, model: two-nn-small, data: {name: digits, train: 120, test: 60},
        rounds: 2, batch: 20, lr: 0.1}
seed: 7
"""
WAIT_S = 60.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cell.yaml"
    path.write_text(TOPOLOGY, encoding="utf-8")
    return path


def command(file: Path, *options: str, out: str = "runs") -> list[str]:
    start = [sys.executable, "-m", "edgenet", "run", str(file), "--out", str(file.parent / out)]
    return [*start, "--no-probe", *options]


def run(file: Path, *options: str, out: str = "runs") -> tuple[Path, str]:
    """The folder of a run that went well, and what was said."""
    done = subprocess.run(
        command(file, *options, out=out), capture_output=True, text=True, timeout=WAIT_S,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder,) = (file.parent / out).iterdir()
    return folder, done.stderr


def recorded(folder: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return value


def traces() -> set[str]:
    return {path.name for folder in (calls.FOLDER, record.FOLDER) for path in folder.glob("*")}


def test_a_run_over_the_relay_learns_what_a_local_run_learns(file: Path) -> None:
    before = traces()
    folder, said = run(file, "--shaping", "relay")
    assert "shaping: relay (asked for by name)" in said
    assert traces() == before
    local, _ = run(file, "--launcher", "local", "--shaping", "none", out="local")
    states = [torch.load(each / "model.pt", weights_only=True) for each in (folder, local)]
    torch.testing.assert_close(states[0], states[1], rtol=0.0, atol=1e-5)
    assert recorded(folder)["launcher"] == "namespaces"
    assert recorded(folder)["shaping"]["used"] == "relay"


def test_the_kernel_counts_the_payload_and_little_more(file: Path) -> None:
    folder, _ = run(file, "--shaping", "relay")
    counters = recorded(folder)["interfaces"]
    crossed = sum(counters[node]["air"]["tx_bytes"] for node in ("learner0", "learner1"))
    crossed += counters["server"]["air"]["tx_bytes"]
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert 1.0 < crossed / summary["bytes"]["total"] < 1.25


@pytest.mark.parametrize("shaping", ["none", "paced"])
def test_namespaces_may_go_without_a_kernel_back_end(file: Path, shaping: str) -> None:
    before = traces()
    folder, _ = run(file, "--launcher", "namespaces", "--shaping", shaping)
    assert recorded(folder)["launcher"] == "namespaces"
    assert recorded(folder)["shaping"]["used"] == shaping
    assert traces() == before


def test_after_a_killed_launcher_clean_leaves_nothing(file: Path) -> None:
    before = traces()
    endless = command(file, "--shaping", "relay", "--set", "train.rounds=100000")
    with subprocess.Popen(endless, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as launcher:
        _until(lambda: any((file.parent / "runs").glob("*/nodes/learner1/events.jsonl")))
        started = psutil.Process(launcher.pid).children(recursive=True)
        assert any("edgenet.shaping.router" in " ".join(each.cmdline()) for each in started)
        launcher.send_signal(signal.SIGKILL)
        launcher.communicate()
    assert psutil.wait_procs(started, timeout=WAIT_S)[1] == []
    assert len(traces() - before) == 5  # core, server, two learners, and the record of them
    clean = [sys.executable, "-m", "edgenet", "clean"]
    told = subprocess.run(clean, capture_output=True, text=True, timeout=WAIT_S, check=True)
    assert told.stdout.count("removed namespace edgenet-") == 4
    assert traces() == before


def test_interrupted_it_takes_its_network_down(file: Path) -> None:
    before = traces()
    endless = command(file, "--shaping", "relay", "--set", "train.rounds=100000")
    with subprocess.Popen(endless, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as launcher:
        _until(lambda: any((file.parent / "runs").glob("*/nodes/learner1/events.jsonl")))
        launcher.send_signal(signal.SIGINT)
        launcher.communicate(timeout=WAIT_S)
    assert launcher.returncode == 130
    assert traces() == before


def test_a_run_whose_relay_dies_fails_and_says_so(file: Path) -> None:
    before = traces()
    endless = command(file, "--shaping", "relay", "--set", "train.rounds=100000")
    with subprocess.Popen(endless, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as launcher:
        _until(lambda: any((file.parent / "runs").glob("*/nodes/learner1/events.jsonl")))
        (relay,) = [
            child
            for child in psutil.Process(launcher.pid).children()
            if "edgenet.shaping.router" in child.cmdline()
        ]
        relay.kill()
        _, said = launcher.communicate(timeout=WAIT_S)
    assert launcher.returncode == 3
    assert f"the relay (process {relay.pid}) has ended" in said.decode()
    assert traces() == before


@needs("sch_netem")
@pytest.mark.timeout(300)
def test_a_run_over_netem_learns_the_same(file: Path) -> None:
    folder, _ = run(file, "--shaping", "none", out="local")
    runner = [netem_runner(), "-w", str(file.parent)] if netem_runner() else []
    done = subprocess.run(
        [*runner, *command(file, "--launcher", "namespaces")],
        capture_output=True, text=True, timeout=280.0, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "shaping: netem (auto: netem works here)" in done.stderr
    (over,) = (file.parent / "runs").iterdir()
    states = [torch.load(each / "model.pt", weights_only=True) for each in (folder, over)]
    torch.testing.assert_close(states[0], states[1], rtol=0.0, atol=1e-5)


def _until(holds: Any) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
