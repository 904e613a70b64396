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
from edgenet.schemes.layout import Layout
from edgenet.schemes.timetable import FORWARD
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


def reference(spec: Topology) -> dict[str, Tensor]:
    """One process that goes through the first stage's order with a copy of the weights for each
    version of each stage."""
    model, batches = single(spec)
    layout: Layout = resolve(spec).layout
    train, named = spec.train, dict(model.named_parameters())
    velocity = {key: torch.zeros_like(value) for key, value in named.items()}
    newest = {key: value.detach().clone() for key, value in named.items()}
    for _ in range(train.rounds):
        epoch = list(batches)
        history = [newest]
        for k, (x, y) in enumerate(epoch, start=1):
            used = {
                key: history[_version(layout, key, k)][key].clone().requires_grad_()
                for key in named
            }
            output = torch.func.functional_call(model, used, x)
            nn.functional.cross_entropy(output, y).backward()
            newest = {}
            for key, value in history[-1].items():
                gradient = used[key].grad + train.optimizer.weight_decay * value
                velocity[key] = train.optimizer.momentum * velocity[key] + gradient
                newest[key] = value - train.lr * velocity[key]
            history.append(newest)
    return newest


def _version(layout: Layout, key: str, batch: int) -> int:
    """The version of the parameter `key` that mini-batch `batch` uses."""
    layer = layout.layer_names.index(key.split(".")[0])
    stage = max(n for n, start in enumerate(layout.starts) if start <= layer)
    row = layout.table.stages[stage]
    return next(a.version for a in row if a.verb == FORWARD and a.batch == batch)
