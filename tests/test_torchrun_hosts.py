"""torchrun across hosts, of which three network namespaces play one each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from facilities import needs
from small_runs import assert_same, run_processes, topology

from edgenet.shaping.network import Network
from edgenet.topology import dump, loads

ROOT = Path(__file__).parents[1]
HOSTS = loads(
    "name: hosts\nnodes: {host: {count: 3}}\nlinks: {lan: {members: host}}\n"
    "train: {scheme: fedavg, rounds: 1}\n"
)
RANKS = (2, 1, 1)
"""How many of the four nodes each host takes."""

pytestmark = [
    pytest.mark.root,
    pytest.mark.processes,
    pytest.mark.timeout(200),
    needs("root", "network namespaces"),
]


def start(network: Network, host: int, file: Path, **more: str) -> subprocess.Popen[str]:
    """What a user types on one of the hosts."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TMPDIR": str(file.parent),  # torchrun leaves its logs there
        "MASTER_ADDR": network.address("host0"),
        "HOSTS": str(len(RANKS)),
        "HOST": str(host),
        "RANKS": str(RANKS[host]),
        "OUT": str(file.parent / f"host{host}"),
        "EDGENET_KEY": "the same everywhere",
    }
    with network.inside(f"host{host}"):
        return subprocess.Popen(
            [ROOT / "launch" / "torchrun_hosts.sh", file],
            env=environment | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def ends(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """(exit code, what it said) of each."""
    try:
        said = [process.communicate(timeout=150)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return [(process.returncode, each) for process, each in zip(processes, said, strict=True)]


def weights(out: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(out / "model.pt", weights_only=True)
    return state


def test_three_hosts_give_the_weights_of_one(tmp_path: Path) -> None:
    spec = topology("fedavg", learners=3)
    file = tmp_path / "small.yaml"
    file.write_text(dump(spec), encoding="utf-8")
    with Network(HOSTS, "none", tmp_path) as network:
        ended = ends([start(network, host, file) for host in range(len(RANKS))])
    assert [code for code, _ in ended] == [0, 0, 0], ended
    (run,) = (tmp_path / "host0").iterdir()
    assert_same(weights(run_processes(spec, tmp_path / "local")), weights(run), exact=True)
    assert "learner1, learner2 stayed on their hosts" in ended[0][1]
    found = {}
    for host, names in enumerate((["learner0", "server"], ["learner1"], ["learner2"])):
        nodes = tmp_path / f"host{host}" / run.name / "nodes"
        assert sorted(path.name for path in nodes.iterdir()) == names
        for name in names:
            lines = (nodes / name / "events.jsonl").read_text(encoding="utf-8").splitlines()
            found[name] = json.loads(lines[-1])
    assert {event["status"] for event in found.values()} == {"done"}
    assert len(found) == sum(RANKS)
