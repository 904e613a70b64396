"""Workers in a row, for tests of pipelines: a topology from a few words, run to its weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from small_runs import run_processes
from torch import Tensor, nn

from edgenet.data import ShareBatches, load, partition, subset
from edgenet.models.layers import build
from edgenet.node.plan import resolve
from edgenet.node.threads import run_in_threads
from edgenet.topology.load import loads
from edgenet.topology.spec import Topology

EXACT = ("pipedream", "mcpipe", "mcpipe-adaptive")
MOVING = {"momentum": 0.9, "weight_decay": 0.01}
DEEP = "alexnet-w4"


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """As nodes compute: sums in one order, and no threads that wait for cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def chain(scheme: str, workers: int = 2, feeder: bool = False, **train: Any) -> Topology:
    """Workers on a switch; with a master that feeds, if asked."""
    nodes: dict[str, Any] = {"master": {"device": "host"}} if feeder else {}
    nodes["worker"] = {"device": "host", "count": workers}
    tree = {
        "name": "chain",
        "nodes": nodes,
        "links": {"lan": {"rate": "10 Gbit", "members": list(nodes)}},
        "train": {
            "scheme": scheme,
            "model": DEEP,
            "data": {"name": "digits", "train": 90, "test": 40},
            "rounds": 2,
            "batch": 10,
            "lr": 0.05,
            **train,
        },
        "faults": {"heartbeat": "1 s", "silence": "20 s"},
        "shaping": "none",
        "seed": 4,
    }
    return loads(yaml.safe_dump(tree, sort_keys=False), file="chain.yaml")


def finish(spec: Topology, out: Path, links: str = "memory") -> dict[str, Tensor]:
    """The weights at the end."""
    if links == "memory":
        run_in_threads(resolve(spec), out)
    else:
        out = run_processes(spec, out)
    state: dict[str, Tensor] = torch.load(out / "model.pt", weights_only=True)
    return state


def single(spec: Topology) -> tuple[nn.Module, ShareBatches]:
    """The model and the batches of the master."""
    train = spec.train
    dataset = subset(load(train.data.name, None), train.data, spec.seed)
    model = build(train.model, classes=10, shape=dataset.shape, seed=spec.seed)
    (dealt,) = partition(dataset.train_y, train.partition, 1, spec.seed)
    return model, ShareBatches(dataset, dealt, train.batch, spec.seed, 0)
