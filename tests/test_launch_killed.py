"""SIGKILL of a launcher whose nodes stand in namespaces: what is left, and what `edgenet clean`
does about it, with other networks standing beside."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from facilities import needs

from edgenet.shaping import calls, record
from edgenet.shaping.kernel import Kernel
from edgenet.shaping.network import Network
from edgenet.topology import loads

pytestmark = [
    pytest.mark.root,
    pytest.mark.processes,
    needs("root", "network namespaces", "TUN"),
]

TOPOLOGY = """\
name: killed
nodes: {server: {}, learner: {count: 2}}
links: {air: {rate: 50 Mbit, delay: 2 ms, base: server, members: learner, shared: true}}
train: {scheme: fedavg, model: two-nn-small, data: {name: digits, train: 120, test: 60},
        rounds: 100000, batch: 20, lr: 0.1}
"""
OTHER = "nodes: {a: {}, b: {}}\nlinks: {w: {between: [a, b]}}\ntrain: {scheme: fedavg}\n"
WAIT_S = 60.0
GONE_S = 10.0
"""From the kill to the last process: the fork server gives its nodes 2 s."""


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[Callable[[str], int]]:
    """Start a run with a back end, kill its launcher in the middle; returns its process id."""

    def kill(shaping: str) -> int:
        path = tmp_path / "killed.yaml"
        path.write_text(TOPOLOGY, encoding="utf-8")
        command = [sys.executable, "-m", "edgenet", "run", str(path), "--out", str(tmp_path)]
        options = ["--launcher", "namespaces", "--shaping", shaping, "--no-probe"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen([*command, *options], **pipes) as launcher:
            _until(lambda: any(tmp_path.glob("*/nodes/learner1/events.jsonl")))
            started = psutil.Process(launcher.pid).children(recursive=True)
            # fork server, rendezvous, nodes, relay
            assert len(started) == (6 if shaping == "relay" else 5)
            standing = devices(launcher.pid)
            assert set(standing) == {"", "server", "learner0", "learner1"}
            for node in ("server", "learner0", "learner1"):
                assert standing[node] == {"lo", "control", "air"}
            launcher.send_signal(signal.SIGKILL)
            launcher.communicate()
        assert psutil.wait_procs(started, timeout=GONE_S)[1] == []
        return launcher.pid

    yield kill
    subprocess.run([sys.executable, "-m", "edgenet", "clean"], check=True, capture_output=True)


def devices(pid: int) -> dict[str, set[str]]:
    """What stands in the kernel of the network that a process has made: interfaces by node, the
    core under ''. Taken from its record."""
    found: dict[str, set[str]] = {}
    for path in record.FOLDER.glob("*.jsonl"):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if lines[0]["owner"]["pid"] != pid:
            continue
        names = [name for line in lines for name in line.get("namespaces", ())]
        for name in names:
            if calls.path_of(name).exists():
                node = name.removeprefix(f"edgenet-{path.stem}").removeprefix("-")
                with Kernel(calls.path_of(name)) as kernel:
                    found[node] = kernel.devices()
    return found


def records(pid: int) -> int:
    texts = [path.read_text(encoding="utf-8") for path in record.FOLDER.glob("*.jsonl")]
    return sum(json.loads(text.splitlines()[0])["owner"]["pid"] == pid for text in texts)


@pytest.mark.parametrize("shaping", ["relay", "none"])
def test_clean_removes_all_that_a_killed_launcher_left_and_nothing_else(
    killed: Callable[[str], int], shaping: str
) -> None:
    temporary, interfaces = set(os.listdir(tempfile.gettempdir())), socket.if_nameindex()
    stranger = f"edgenet-{os.getpid():06x}-server"  # named alike, recorded by nobody
    calls.create(stranger)
    try:
        with Network(loads(OTHER), "none") as other:
            pid = killed(shaping)
            assert set(os.listdir(tempfile.gettempdir())) == temporary
            assert socket.if_nameindex() == interfaces
            left = devices(pid)
            assert set(left) == {"", "server", "learner0", "learner1"}
            # A relay's TUN devices went with it; cables stay with the namespaces.
            own = {"lo", "control"} if shaping == "relay" else {"lo", "control", "air"}
            assert left["server"] == left["learner0"] == left["learner1"] == own
            assert records(pid) == 1
            told = subprocess.run(
                [sys.executable, "-m", "edgenet", "clean"],
                capture_output=True, text=True, timeout=WAIT_S, check=True,
            ).stdout  # fmt: skip
            tag = other.layout.tag
            assert f"{tag}: in use by process {os.getpid()}; left as it is" in told
            assert (devices(pid), records(pid)) == ({}, 0)
            assert set(devices(os.getpid())) == {"", "a", "b"}
            assert stranger not in told
            assert calls.path_of(stranger).exists()
            other.check()
    finally:
        assert calls.remove(stranger)
    assert set(os.listdir(tempfile.gettempdir())) == temporary
    assert socket.if_nameindex() == interfaces


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
