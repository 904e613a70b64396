"""Sources that share one model: distributed runs against one process, same seed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import LINKS, Outcome, assert_same, events, run, topology
from torch import Tensor, nn

from edgenet.data import Dataset, Eye, Order, load, subset
from edgenet.data.seeds import generator
from edgenet.errors import TopologyError
from edgenet.models.junction import Merged, widened, with_junction
from edgenet.models.layers import build
from edgenet.node.plan import resolve
from edgenet.topology.spec import Topology

pytestmark = pytest.mark.processes

VIEWS = ["blur", "erase", "crop"]
IMAGE = (1, 28, 28)


def spec_of(scheme: str, sources: int, *, stages: int = 0, **train: Any) -> Topology:
    """server + sources, each with its view; the last nodes are stages."""
    data = {"name": "digits", "train": 120, "test": 60, "views": VIEWS}
    spec = topology(scheme, sources + stages, **{"data": data, **train})
    at = [node.name for node in spec.nodes[1 + sources :]]
    return replace(spec, place={"stage": tuple(at)} if at else {})


def data_of(spec: Topology) -> tuple[Dataset, dict[str, Eye], Order]:
    """The data, and how the sources of a run would see and order it."""
    dataset = subset(load("digits"), spec.train.data, spec.seed)
    names = [node.name for node in spec.nodes[1:] if node.name not in spec.place.get("stage", ())]
    views = spec.train.data.views or ("plain",)
    eyes = {name: Eye(dataset, views[i % 3], spec.seed, i) for i, name in enumerate(names)}
    order = Order(torch.arange(120), spec.train.batch, spec.seed, 0, each=spec.train.local_epochs)
    return dataset, eyes, order


class Plain(nn.Module):
    """The junction network as anybody would write it: one linear layer on the joined outputs."""

    def __init__(self, whole: Merged) -> None:
        super().__init__()
        self.names = whole.sources
        self.branches = nn.ModuleList(copy.deepcopy(whole.branch(name)) for name in self.names)
        junction, *rest = copy.deepcopy(whole.trunk)
        self.rest = nn.Sequential(*rest)
        self.joined = None
        if whole.junction is not None:
            columns = torch.cat([whole.junction.columns(name) for name in self.names], dim=1)
            self.joined = nn.Linear(columns.shape[1], columns.shape[0])
            with torch.no_grad():
                self.joined.weight.copy_(columns)
                self.joined.bias.copy_(junction.bias)
        else:
            self.rest.insert(0, junction)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        parts = [
            branch(inputs[n]).flatten(1)
            for n, branch in zip(self.names, self.branches, strict=True)
        ]
        x = torch.cat(parts, dim=1)
        return self.rest(x if self.joined is None else self.joined(x).relu())

    def weights(self) -> dict[str, Tensor]:
        """By the names that a run gives them."""
        found: dict[str, Tensor] = {}
        for name, branch in zip(self.names, self.branches, strict=True):
            found |= {f"branch_{name}.{key}": value for key, value in branch.state_dict().items()}
        if self.joined is not None:
            found["trunk.J.bias"] = self.joined.bias.detach()
            width = self.joined.in_features // len(self.names)
            for name, part in zip(self.names, self.joined.weight.split(width, dim=1), strict=True):
                found[f"trunk.J.from_{name}"] = part.detach()
        rest = list(self.rest.state_dict().values())
        return found | dict(enumerate(rest))


def train(model: Plain, spec: Topology) -> dict[str, Tensor]:
    """Plain gradient descent on the whole network; returns its weights."""
    dataset, eyes, order = data_of(spec)
    for epoch in range(spec.train.rounds):
        for at in order.epoch(epoch + 1):
            inputs = {name: eye.inputs(eye.train(at)) for name, eye in eyes.items()}
            model.zero_grad()
            nn.functional.cross_entropy(model(inputs), dataset.train_y[at]).backward()
            with torch.no_grad():
                for weight in model.parameters():
                    weight -= spec.train.lr * weight.grad
    return model.weights()


def compare(state: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Named where both name them alike, the layers behind the merge by their order."""
    rest = [key for key in state if key not in expected]
    renamed = {(rest.index(key) if key in rest else key): value for key, value in state.items()}
    assert set(renamed) == set(expected)
    assert_same(dict(sorted(renamed.items(), key=str)), dict(sorted(expected.items(), key=str)))


def figures(outcome: Outcome) -> list[float]:
    """Training loss, test loss and accuracy of every round."""
    keys = ("loss", "test_loss", "accuracy")
    return [event[key] for event in outcome.rounds for key in keys]


def junction_network(spec: Topology, before: str) -> Plain:
    model = build(spec.train.model, classes=10, shape=IMAGE, seed=spec.seed)
    _, eyes, _ = data_of(spec)
    shapes = {name: eye.shape for name, eye in eyes.items()}
    draw = generator("junction", spec.seed)
    return Plain(with_junction(model, before, shapes, image=IMAGE, generator=draw))


@pytest.mark.parametrize("links", LINKS)
def test_fpl_is_the_junction_network_trained_in_one_process(links: str, tmp_path: Path) -> None:
    spec = spec_of("fpl", 3, junction="F2", local_epochs=2, rounds=2)
    found = run(spec, tmp_path / "run", links)
    compare(found.state, train(junction_network(spec, "F2"), spec))
    assert [event["active"] for event in found.rounds] == [["learner0", "learner1", "learner2"]] * 2


@pytest.mark.parametrize("before", ["F1", "F3"])
def test_the_junction_may_stand_before_any_layer(before: str, tmp_path: Path) -> None:
    spec = spec_of("fpl", 2, junction=before, rounds=2)
    found = run(spec, tmp_path / "run")
    compare(found.state, train(junction_network(spec, before), spec))


@pytest.mark.parametrize(
    ("spread", "links"), [(None, "memory"), (None, "gloo"), ("F2/F3", "memory")]
)
def test_layers_behind_the_junction_may_be_spread_over_nodes(
    spread: str | None, links: str, tmp_path: Path
) -> None:
    extra = {"spread": spread} if spread else {}
    spec = spec_of("fpl", 2, stages=2, junction="F2", rounds=2, **extra)
    found = run(spec, tmp_path / "run", links)
    compare(found.state, train(junction_network(spec, "F2"), spec))
    together = run(spec_of("fpl", 2, junction="F2", rounds=2), tmp_path / "together")
    assert figures(found) == pytest.approx(figures(together))


def test_fpl_with_one_source_and_no_junction_is_centralized(tmp_path: Path) -> None:
    plain = {"name": "digits", "train": 120, "test": 60}
    central = run(topology("centralized", data=plain), tmp_path / "central")
    for junction in ("F1", "F2", "F3"):
        spec = spec_of("fpl", 1, junction=junction, merge="mean", data=plain)
        found = run(spec, tmp_path / junction)
        assert_same(dict(zip(central.state, found.state.values(), strict=True)), central.state)
        assert figures(found) == pytest.approx(figures(central))


@pytest.mark.parametrize("links", LINKS)
def test_sl_vertical_is_the_widened_network_trained_in_one_process(
    links: str, tmp_path: Path
) -> None:
    spec = spec_of("sl-vertical", 3, cut="F1", rounds=2)
    model = build(spec.train.model, classes=10, shape=IMAGE, seed=spec.seed)
    shapes = dict.fromkeys(["learner0", "learner1", "learner2"], IMAGE)
    draw = generator("widened", spec.seed)
    whole = widened(model, "F2", shapes, image=IMAGE, generator=draw)
    assert whole.trunk[0].linear.in_features == 150
    compare(run(spec, tmp_path / "run", links).state, train(Plain(whole), spec))


@pytest.mark.parametrize(("nodes", "links"), [(2, "memory"), (4, "memory"), (4, "gloo")])
def test_d_sgd_is_centralized_and_more_nodes_than_layers_do_not_disturb(
    nodes: int, links: str, tmp_path: Path
) -> None:
    data = {"name": "digits", "train": 120, "test": 60}
    central = run(topology("centralized", data=data), tmp_path / "central")
    split = run(topology("d-sgd", nodes, data=data), tmp_path / "split", links)
    assert_same(central.state, split.state)
    assert figures(split) == pytest.approx(figures(central))


def test_only_what_the_paper_sends_is_counted(tmp_path: Path) -> None:
    spec = spec_of("fpl", 2, junction="F2", rounds=1)
    out = run(spec, tmp_path / "run").run_dir
    sent: dict[tuple[str, str], int] = {}
    for node in ("server", "learner0", "learner1"):
        for event in events(out, node, "bytes"):
            key = (node, event["k"])
            sent[key] = sent.get(key, 0) + event["payload"] * (event["dir"] == "out")
    assert sent["learner0", "activation"] == 120 * 50 * 4
    assert sent["server", "gradient"] == 2 * 120 * 50 * 4
    assert sent["learner0", "evaluation"] == (784 * 50 + 50) * 4
    assert "data" not in {kind for _, kind in sent}


@pytest.mark.parametrize(
    ("train", "sentence"),
    [
        ({"junction": "F9"}, "train.junction cannot be placed there: the model has no layer 'F9'; "
         "layers are F1, F2, F3"),
        ({"merge": "max"}, "train.merge is 'max'; the choices are learned, mean"),
        ({"data": {"name": "digits", "views": ["blurr"]}}, "unknown view 'blurr'; views are blur"),
        ({"junction": "F2", "spread": "F2"}, "train.spread is F2; 1 nodes need 0 of the layers"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(train: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TopologyError, match=r"small.yaml:\d+: ") as caught:
        resolve(spec_of("fpl", 2, **train))
    assert sentence in str(caught.value)


def test_parameters_are_those_of_the_junction_network() -> None:
    plan = resolve(spec_of("fpl", 3, junction="F2"))
    branch, junction = 784 * 50 + 50, 150 * 50 + 50
    assert plan.parameters == 3 * branch + junction + (50 * 20 + 20) + (20 * 10 + 10)
