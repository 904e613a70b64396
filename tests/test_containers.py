"""Nodes in containers, by a real engine: the same weights as processes of this host give."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from facilities import compose_command, needs
from small_runs import assert_same

from edgenet.devices import PROFILES

ROOT = Path(__file__).parents[1]
TOPOLOGY = """\
name: boxes
nodes:
  server: {device: edge-server}
  learner: {device: [pi4, pi1], count: 2}
links:
  air: {wifi: 802.11n-5GHz, base: server, members: learner}
train:
  scheme: fedavg
  model: two-nn-small
  data: {name: digits, train: 120, test: 60}
  rounds: 2
  batch: 20
  lr: 0.1
seed: 7
"""
FEDAVG: tuple[str, ...] = ()
PSL = ("--set", "train.scheme=psl", "--set", "train.cut=1")
SECRET = "a-secret-of-the-test"

pytestmark = [needs("root", "docker"), pytest.mark.timeout(280), pytest.mark.root]


def environment() -> dict[str, str]:
    """This interpreter's `edgenet` in front, for the scripts of launch/."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHON": sys.executable, "EDGENET_KEY": SECRET}


def call(*command: str | Path, timeout: float = 120) -> str:
    """A command that must succeed; returns its stdout."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, check=False, env=environment()
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def weights(out: Path) -> dict[str, torch.Tensor]:
    """The model of the one run in a folder."""
    (model,) = out.glob("*/model.pt")
    state: dict[str, torch.Tensor] = torch.load(model, weights_only=True)
    return state


def local(file: Path, *options: str) -> dict[str, torch.Tensor]:
    """What `edgenet run` makes of the topology."""
    out = file.parent / "local"
    call(sys.executable, "-m", "edgenet", "run", file, *options, "--out", out)
    return weights(out)


@pytest.fixture(scope="module")
def image() -> None:
    """The image, built where it is not up to date."""
    call(ROOT / "launch" / "image.sh", timeout=270)


@pytest.fixture
def file(image: None, tmp_path: Path) -> Path:
    """The topology."""
    path = tmp_path / "boxes.yaml"
    path.write_text(TOPOLOGY, encoding="utf-8")
    return path


@dataclass(frozen=True)
class Cluster:
    """A compose project."""

    file: Path

    def compose(self, *words: str) -> str:
        """A command on the project."""
        return call(*compose_command(), "-p", self.file.parent.name, "-f", self.file, *words)

    def containers(self) -> dict[str, dict[str, Any]]:
        """Its containers by service, as the engine sees them."""
        ids = self.compose("ps", "--all", "--quiet").split()
        seen = json.loads(call("docker", "inspect", *ids))
        return {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in seen}


@pytest.fixture
def cluster(file: Path) -> Iterator[Cluster]:
    """The topology under psl, in containers that are made and not started."""
    written = file.with_name("docker-compose.yml")
    call(sys.executable, "-m", "edgenet", "compose", file, *PSL, "--output", written)
    made = Cluster(written)
    try:
        made.compose("up", "--no-start")
        yield made
    finally:
        made.compose("down", "--volumes", "--timeout", "2")


def test_the_script_gives_the_weights_of_a_local_run(file: Path) -> None:
    out = file.parent / "containers"
    command = [str(ROOT / "launch" / "compose.sh"), str(file), *FEDAVG]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=150, env=environment() | {"OUT": str(out)}
    )
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert "shaping: paced (auto: no netem: 'air' is shared" in done.stderr
    assert_same(local(file, *FEDAVG), weights(out), exact=True)
    (summary,) = out.glob("*/summary.json")
    nodes = json.loads(summary.read_text())["nodes"]
    assert {name: node["status"] for name, node in nodes.items()} == dict.fromkeys(
        ("server", "learner0", "learner1"), "done"
    )
    assert json.loads((summary.parent / "run.json").read_text())["launcher"] == "compose"


def test_devices_limit_containers_and_split_learning_is_the_same(
    cluster: Cluster, file: Path
) -> None:
    made = cluster.containers()
    for service, device in (("server", "edge-server"), ("learner0", "pi4"), ("learner1", "pi1")):
        limits, profile = made[service]["HostConfig"], PROFILES[device]
        assert limits["CpuQuota"] / limits["CpuPeriod"] == profile.cores
        assert limits["Memory"] == limits["MemorySwap"] == profile.memory_bytes
        assert not limits["CapAdd"]
        assert made[service]["Config"]["User"] == "edgenet"
    cluster.compose("up", "--detach")
    assert call("docker", "wait", *(each["Id"] for each in made.values())).split() == ["0"] * 3
    out = file.parent / "containers"
    call("docker", "cp", f"{made['server']['Id']}:/runs", out)
    assert_same(local(file, *PSL), weights(out), exact=True)
