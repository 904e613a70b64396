"""Pipelines against one process on the same seed, over memory links and over gloo processes."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from small_runs import assert_same, events, run_processes
from torch import Tensor, nn

from edgenet.data import ShareBatches, load, partition, subset
from edgenet.devices import PROFILES
from edgenet.errors import Interrupted, NodeError, TopologyError
from edgenet.models.layers import build
from edgenet.models.local import LocalStage
from edgenet.models.stage import cross_entropy
from edgenet.models.versions import Stored
from edgenet.node.memory import MemoryLimit
from edgenet.node.plan import resolve
from edgenet.node.threads import run_in_threads
from edgenet.schemes.layout import Layout, advise, balance
from edgenet.schemes.timetable import BACKWARD, FORWARD
from edgenet.topology.load import loads
from edgenet.topology.spec import Topology

EXACT = ("pipedream", "mcpipe", "mcpipe-adaptive")
MOVING = {"momentum": 0.9, "weight_decay": 0.01}
DEEP = "alexnet-w4"


@pytest.fixture(autouse=True)
def _one_torch_thread() -> Iterator[None]:
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


@functools.cache
def _window_sets() -> list[tuple[int, int]]:
    return [(2, 1), (2, 2), (2, 3), (2, 6), (3, 2), (3, 4), (3, 6), (4, 3), (4, 5)]


@pytest.mark.parametrize(("workers", "window"), _window_sets())
@pytest.mark.parametrize("optimizer", [{}, MOVING], ids=["plain", "moving"])
def test_exact_schemes_are_the_reference_that_follows_the_same_versions(
    workers: int, window: int, optimizer: dict[str, Any], tmp_path: Path
) -> None:
    settings = {"window": window, "optimizer": {"name": "sgd", **optimizer}, "lr": 0.02}
    expected = reference(chain("pipedream", workers, **settings))
    for scheme in EXACT:
        spec = chain(scheme, workers, **settings)
        assert_same(finish(spec, tmp_path / scheme), expected)


@pytest.mark.parametrize(
    "scheme",
    ["model-parallel", "gpipe", "1f1b", "pipedream", "pipedream-2bw", "greedy", *EXACT[1:]],
)
def test_with_window_1_every_pipeline_is_centralized(scheme: str, tmp_path: Path) -> None:
    central = finish(chain("centralized", 2), tmp_path / "central")
    assert_same(finish(chain(scheme, 3, window=1), tmp_path / "piped"), central)


@pytest.mark.parametrize("scheme", ["gpipe", "1f1b"])
@pytest.mark.parametrize("workers", [2, 4])
def test_micro_batches_make_one_step_on_the_joint_batch(
    scheme: str, workers: int, tmp_path: Path
) -> None:
    """90 samples in batches of 20: the last is of 10, and cut into parts of 3, 3, 2, 2."""
    central = finish(chain("centralized", 2, batch=20), tmp_path / "central")
    spec = chain(scheme, workers, batch=20, window=4)
    assert_same(finish(spec, tmp_path / "piped"), central)


def test_greedy_is_not_exact_and_2bw_is_a_step_behind(tmp_path: Path) -> None:
    central = finish(chain("centralized", 2), tmp_path / "central")
    for scheme in ("greedy", "pipedream-2bw"):
        other = finish(chain(scheme, 3, window=4), tmp_path / scheme)
        assert max(float((central[key] - other[key]).abs().max()) for key in central) > 1e-4


def test_2bw_is_gradient_descent_one_step_behind(tmp_path: Path) -> None:
    spec = chain("pipedream-2bw", 3, window=4, batch=20)
    model, batches = single(spec)
    newest = {key: value.detach().clone() for key, value in model.named_parameters()}
    for _ in range(spec.train.rounds):
        before = newest
        for x, y in batches:
            used = {key: value.clone().requires_grad_() for key, value in before.items()}
            output = torch.func.functional_call(model, used, x)
            nn.functional.cross_entropy(output, y).backward()
            before = newest
            newest = {key: newest[key] - spec.train.lr * used[key].grad for key in newest}
    assert_same(finish(spec, tmp_path / "run"), newest)


@pytest.mark.parametrize("scheme", ["pipedream", "1f1b"])
def test_a_master_that_feeds_changes_nothing(scheme: str, tmp_path: Path) -> None:
    works = finish(chain(scheme, 3), tmp_path / "works")
    feeds = chain(scheme, 3, feeder=True)
    plan = resolve(feeds)
    assert plan.layout.workers == ("worker0", "worker1", "worker2")
    assert_same(finish(feeds, tmp_path / "feeds"), works, exact=True)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("scheme", "workers", "window"),
    [("mcpipe-adaptive", 3, 4), ("gpipe", 2, 3), ("pipedream", 4, 2)],
)
def test_gloo_processes_end_as_threads_do(
    scheme: str, workers: int, window: int, tmp_path: Path
) -> None:
    spec = chain(scheme, workers, window=window)
    memory = finish(spec, tmp_path / "memory")
    assert_same(finish(spec, tmp_path / "gloo", "gloo"), memory)


def test_only_neighbours_are_linked() -> None:
    seats = resolve(chain("pipedream", 4)).seats
    assert [[peer for peer, _ in seat.peers] for seat in seats] == [
        ["worker1"], ["worker0", "worker2"], ["worker1", "worker3"], ["worker2"],
    ]  # fmt: skip


def test_memory_is_counted_and_follows_the_plan(tmp_path: Path) -> None:
    """The middle stage, whose window is full: m versions under pipedream, one under mcpipe."""
    split = {"split": ["C5", "F2"], "windows": [4, 4, 1], "window": 4}
    peaks = {}
    for scheme in EXACT:
        spec = chain(scheme, 3, **split)
        finish(spec, tmp_path / scheme)
        seen = events(tmp_path / scheme, "worker1", "memory")
        assert max(event["live"] for event in seen) == 4
        last = events(tmp_path / scheme, "worker2", "memory")
        assert max(event["live"] for event in last) == 1
        peaks[scheme] = max(event["versions"] for event in seen)
    model = build(DEEP, classes=10, shape=(1, 28, 28), seed=0)
    size = sum(p.nbytes for name, p in model.named_parameters() if name[:2] in ("F1", "F2"))
    assert peaks == {"pipedream": 4 * size, "mcpipe": size, "mcpipe-adaptive": size}


def test_the_order_of_the_events_is_that_of_the_timetable(tmp_path: Path) -> None:
    spec = chain("pipedream", 3)
    finish(spec, tmp_path)
    for n, row in enumerate(resolve(spec).layout.table.stages):
        verbs = {FORWARD: "forward", BACKWARD: "backward"}
        planned = [verbs.get(action.verb, "step") for action in row] * spec.train.rounds
        spans = events(tmp_path, f"worker{n}", "span")
        assert [s["n"] for s in spans if s["k"] == "compute"] == planned


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ({"window": 0}, "train.window is 0; it must be"),
        ({"split": [1, 2, 1]}, "train.split is"),
        ({"split": ["C1", "F9"]}, "train.split has 'F9' in it; layers are C1"),
        ({"windows": [4, 1]}, "train.windows has 2 numbers for 3 workers"),
        ({"windows": [2, 3, 1]}, "the stages wait for each other"),
        ({"optimizer": "adam"}, "train.optimizer is adam"),
        ({"master": "sleeps"}, "train.master is 'sleeps'"),
        ({"model": "two-nn", "window": True}, "train.window is True"),
        ({"model": "resnet-16-w8"}, "use model-parallel, gpipe or 1f1b"),
    ],
)
def test_bad_input_is_a_sentence_with_its_place(train: dict[str, Any], said: str) -> None:
    with pytest.raises(TopologyError) as refused:
        resolve(chain("mcpipe", 3, **train))
    assert said in str(refused.value)
    assert str(refused.value).startswith("chain.yaml:")


def test_more_workers_than_layers_are_refused() -> None:
    with pytest.raises(TopologyError, match=r"train\.split finds 4 workers for 3 layers"):
        resolve(chain("gpipe", 4, model="two-nn"))


@pytest.mark.parametrize("optimizer", [{"name": "sgd", **MOVING}, {"name": "adam"}])
def test_data_parallel_is_one_step_on_the_joint_batch(
    optimizer: dict[str, Any], tmp_path: Path
) -> None:
    """Of three workers with 36, 24 and 30 samples: one runs out of batches before the others."""
    spec = chain(
        "data-parallel", 3, lr=0.001, optimizer=optimizer, partition={"sizes": [36, 24, 30]}
    )
    train, seed = spec.train, spec.seed
    dataset = subset(load(train.data.name, None), train.data, seed)
    model = build(train.model, classes=10, shape=dataset.shape, seed=seed)
    dealt = partition(dataset.train_y, train.partition, 3, seed)
    shares = [ShareBatches(dataset, dealt[i], train.batch, seed, i) for i in range(3)]
    joint = LocalStage(model, train.optimizer, train.lr)
    for _ in range(train.rounds):
        streams = [list(share) for share in shares]
        for step in range(4):
            batches = [stream[step] for stream in streams if len(stream) > step]
            x, y = (torch.cat(part) for part in zip(*batches, strict=True))
            _, error = cross_entropy(joint.forward(x), y)
            joint.backward(error)
            joint.step()
    run_in_threads(resolve(spec), tmp_path)
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert_same(state, model.state_dict())


def test_local_is_centralized_at_the_master(tmp_path: Path) -> None:
    spec = chain("local", 2, feeder=True)
    assert [seat.name for seat in resolve(spec).seats] == ["master"]
    central = finish(chain("centralized", 2), tmp_path / "central")
    assert_same(finish(spec, tmp_path / "local"), central, exact=True)


def test_a_stage_without_memory_says_what_it_held_and_what_would_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's own words for it come from an allocator that is asked for the impossible."""

    def grow(layer: Stored, oldest: int) -> None:
        if layer.newest == 3 and len(layer.product.weights[0]) == 64:
            torch.empty(1 << 60, dtype=torch.uint8)
        whole(layer, oldest)

    whole = Stored.update
    monkeypatch.setattr(Stored, "update", grow)
    split = {"split": ["C5", "F2"], "windows": [4, 4, 1]}
    plan = resolve(chain("pipedream", 3, **split))
    with pytest.raises(NodeError) as ended:
        run_in_threads(plan, tmp_path)
    said = str(ended.value)
    assert said.startswith("worker1 ran out of memory in an update: it held 3 weight versions")
    assert "that is stage 2 (F1, F2) under pipedream" in said
    assert f"mcpipe-adaptive needs {plan.layout.least_bytes[1] / 1e6:.1f} MB" in said
    assert "train.split" in said


def test_a_stage_on_too_small_a_device_says_the_same() -> None:
    layout = resolve(chain("pipedream", 3)).layout
    limit = MemoryLimit("worker1", PROFILES["pi1"], read=lambda: 10**12)
    limit.check()
    with pytest.raises(NodeError) as ended, limit.kept(lambda: f"; {advise(layout, 'worker1')}"):
        raise Interrupted("stopped by SIGTERM")
    assert "worker1 holds 931 GiB, but its device 'pi1' has" in str(ended.value)
    assert "that is stage 2 (" in str(ended.value)
    assert "mcpipe-adaptive needs" in str(ended.value)


def test_the_split_is_balanced_by_speed() -> None:
    even = resolve(chain("gpipe", 3)).layout.starts
    tree = chain("gpipe", 3)
    slow = replace(tree.nodes[0], device="pi3")
    uneven = resolve(replace(tree, nodes=(slow, *tree.nodes[1:]))).layout.starts
    assert 1 <= uneven[1] < even[1]


def test_the_split_can_be_balanced_by_memory() -> None:
    """F1, the largest layer, ends up alone."""
    names = resolve(chain("gpipe", 3, balance="memory")).layout
    assert ("F1",) in [names.names(n) for n in range(3)]
    assert balance([1, 1, 1, 9], [1.0, 1.0]) == (0, 3)
    assert balance([4, 4, 4, 4], [3.0, 1.0]) == (0, 3)
