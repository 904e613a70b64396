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


IP_TCP = 20 + 20  # bytes of headers; 12 more with timestamps, and up to 40 of options at all
TIMESTAMPS, MOST_OPTIONS = 12, 40
PAYLOAD = 1500 - IP_TCP - TIMESTAMPS
GLOO = 48  # around each frame
UNCOUNTED = 2 * (112 + 10)  # a link's goodbye, and single bytes that beat, after the last count


def test_the_kernel_counts_what_links_do_and_headers(file: Path) -> None:
    folder, _ = run(file, "--shaping", "relay", "--set", "train.rounds=4")
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    found, messages = summary["bytes"]["kernel"], summary["bytes"]["messages"]
    for name, sums in found["per_interface"].items():
        # Every packet has its headers; every packet but acknowledgements carries what was counted.
        assert sums["packets"] >= sums["counted"] / PAYLOAD, name
        assert sums["headers"] >= sums["packets"] * (IP_TCP + TIMESTAMPS), name
        most = sums["packets"] * (IP_TCP + MOST_OPTIONS) + GLOO * messages + 2 * UNCOUNTED
        assert sums["headers"] <= most, name
    assert found["headers"] == sum(sums["headers"] for sums in found["per_link"].values())
    assert found["counted"] == summary["bytes"]["total"] + summary["bytes"]["evaluation"]["total"]
    assert found["kernel"] == found["counted"] + found["headers"]


@pytest.mark.parametrize("shaping", ["none", "paced"])
def test_namespaces_may_go_without_a_kernel_back_end(file: Path, shaping: str) -> None:
    before = traces()
    folder, _ = run(file, "--launcher", "namespaces", "--shaping", shaping)
    assert recorded(folder)["launcher"] == "namespaces"
    assert recorded(folder)["shaping"]["used"] == shaping
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


def test_a_node_that_is_killed_comes_back_into_its_namespace(file: Path) -> None:
    before = traces()
    more = "events: [{at: round 2, kill: learner1}]\nfaults: {restart: 1}\n"
    file.write_text(TOPOLOGY.replace("rounds: 2", "rounds: 100000") + more, encoding="utf-8")

    def back() -> bool:
        """Whether it was taken in a second time, and takes part in the newest round."""
        journals = list((file.parent / "runs").glob("*/nodes/*/events.jsonl"))
        lines = {path.parent.name: path.read_text().splitlines()[:-1] for path in journals}
        events = [json.loads(line) for line in lines.get("server", ())]
        linked = [event["peer"] for event in events if event["e"] == "linked"]
        rounds = [event["active"] for event in events if event["e"] == "round"]
        return linked.count("learner1") == 2 and rounds[-1:] == [["learner0", "learner1"]]

    with subprocess.Popen(
        command(file, "--shaping", "relay"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as launcher:
        _until(back)
        launcher.send_signal(signal.SIGINT)
        _, said = launcher.communicate(timeout=WAIT_S)
    assert b"learner1 was killed by SIGKILL; it is started again (1 of 1)" in said
    assert traces() == before
