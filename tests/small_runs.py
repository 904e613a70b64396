"""Small runs for tests of schemes: a topology from a few words, run on links of either kind."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from edgenet.node.plan import resolve
from edgenet.node.threads import run_in_threads
from edgenet.topology.load import loads
from edgenet.topology.spec import Topology

LINKS = ("memory", "gloo")


@dataclass(frozen=True)
class Outcome:
    """What a run left behind."""

    state: dict[str, Tensor]
    rounds: list[dict[str, Any]]
    run_dir: Path


def topology(scheme: str, learners: int = 1, faults: Any = None, **train: Any) -> Topology:
    """server + learners on ideal wires; a small model and few digits, unless `train` says more."""
    tree = {
        "name": "small",
        "nodes": {"server": {"device": "host"}, "learner": {"device": "host", "count": learners}},
        "links": {"lan": {"rate": "10 Gbit", "base": "server", "members": "learner"}},
        "train": {
            "scheme": scheme,
            "model": "two-nn-small",
            "data": {"name": "digits", "train": 120, "test": 60},
            "rounds": 3,
            "batch": 20,
            "lr": 0.1,
            **train,
        },
        "faults": faults or {"heartbeat": "1 s", "silence": "20 s"},
        "shaping": "none",
        "seed": 3,
    }
    return loads(yaml.safe_dump(tree, sort_keys=False), file="small.yaml")


def run(spec: Topology, out: Path, links: str = "memory") -> Outcome:
    """Run to the end: 'memory' = threads of this process, 'gloo' = a process per node."""
    if links == "memory":
        run_in_threads(resolve(spec), out)
    else:
        out = run_processes(spec, out)
    state = torch.load(out / "model.pt", weights_only=True)
    return Outcome(state=state, rounds=events(out, "server", "round"), run_dir=out)


def run_processes(spec: Topology, out: Path) -> Path:
    """`edgenet run`, as a user calls it; returns the run's folder."""
    from edgenet.topology.load import dump

    file = out.with_suffix(".yaml")
    file.write_text(dump(spec), encoding="utf-8")
    command = [sys.executable, "-m", "edgenet", "run", str(file), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    (run_dir,) = out.iterdir()
    return run_dir


def events(out: Path, node: str, name: str) -> list[dict[str, Any]]:
    """Every event `name` in a node's journal."""
    lines = (out / "nodes" / node / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["e"] == name]


def last_end(run_dir: Path) -> float:
    """When the last node wrote that it ends, in seconds since the epoch."""
    nodes = [path.name for path in (run_dir / "nodes").iterdir()]
    return max(float(event["t"]) for node in nodes for event in events(run_dir, node, "end"))


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor], *, exact: bool = False) -> None:
    """The same names and weights, to 1e-5 or exactly."""
    assert list(a) == list(b)
    tolerance = {"rtol": 0.0, "atol": 0.0 if exact else 1e-5}
    for name in a:
        torch.testing.assert_close(a[name], b[name], **tolerance, msg=lambda m, n=name: f"{n}: {m}")
