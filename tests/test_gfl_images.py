"""The rivals of the junction: averaged layers, and images that travel; against one process."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import LINKS, assert_same, events, run, topology
from test_parallel import IMAGE, data_of, figures, spec_of
from torch import Tensor, nn

from edgenet.data import Order, ShareBatches
from edgenet.errors import TopologyError
from edgenet.models.layers import build
from edgenet.node.plan import resolve
from edgenet.topology.spec import Topology

pytestmark = pytest.mark.processes


def model_of(spec: Topology) -> nn.Module:
    return build(spec.train.model, classes=10, shape=IMAGE, seed=spec.seed)


def mean_of(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {key: sum(state[key] for state in states) / len(states) for key in states[0]}


@pytest.mark.parametrize("links", LINKS)
def test_gfl_that_averages_every_layer_without_mu_is_fedavg(links: str, tmp_path: Path) -> None:
    extra = {"partition": {"sizes": [20, 40, 60]}, "local_epochs": 2}
    fedavg = run(topology("fedavg", 3, **extra), tmp_path / "avg")
    gfl = run(topology("gfl", 3, mu_prox=0.0, **extra), tmp_path / "gfl", links)
    assert_same(fedavg.state, gfl.state, exact=True)
    assert figures(fedavg) == pytest.approx(figures(gfl))
    named = topology("gfl", 3, mu_prox=0.0, averaged="F1/F2/F3", **extra)
    assert_same(fedavg.state, run(named, tmp_path / "named").state, exact=True)


@pytest.mark.parametrize("averaged", ["F2/F3", ["F3"]])
def test_gfl_is_separate_training_with_some_layers_averaged(
    averaged: str | list[str], tmp_path: Path
) -> None:
    """Every learner on all samples in its own view; the proximal term on averaged layers alone."""
    spec, mu = spec_of("gfl", 3, averaged=averaged, mu_prox=0.5), 0.5
    shared = tuple(averaged.split("/") if isinstance(averaged, str) else averaged)
    dataset, eyes, _ = data_of(spec)
    models = {name: model_of(spec) for name in eyes}
    batches = {
        name: ShareBatches(dataset, torch.arange(120), 20, spec.seed, i, eye=eyes[name])
        for i, name in enumerate(eyes)
    }
    for _ in range(spec.train.rounds):
        for name, model in models.items():
            anchor = copy.deepcopy(model.state_dict())
            for x, y in batches[name]:
                loss = nn.functional.cross_entropy(model(x), y)
                for key, weight in model.named_parameters():
                    if key.startswith(shared):
                        loss = loss + mu / 2 * ((weight - anchor[key]) ** 2).sum()
                model.zero_grad()
                loss.backward()
                with torch.no_grad():
                    for weight in model.parameters():
                        weight -= spec.train.lr * weight.grad
        means = mean_of([model.state_dict() for model in models.values()])
        for model in models.values():
            model.load_state_dict(
                {k: means[k] for k in means if k.startswith(shared)}, strict=False
            )
    found = run(spec, tmp_path / "run")
    assert_same(found.state, mean_of([model.state_dict() for model in models.values()]))
    right = sum(
        int(model(eye.inputs(eye.test(at))).argmax(1) == dataset.test_y[at])
        for i, (model, eye) in enumerate(zip(models.values(), eyes.values(), strict=True))
        for at in torch.arange(i, 60, 3).split(1)
    )
    assert found.rounds[-1]["accuracy"] == pytest.approx(right / 60)


def test_gfl_sends_the_averaged_layers_alone(tmp_path: Path) -> None:
    spec = spec_of("gfl", 2, averaged=["F3"], rounds=3)
    out = run(spec, tmp_path / "run").run_dir
    sent = {"weights": 0, "evaluation": 0}
    for event in events(out, "learner0", "bytes"):
        if event["dir"] == "out" and event["k"] in sent:
            sent[event["k"]] += event["payload"]
    layer = (20 * 10 + 10) * 4
    assert 3 * layer <= sent["weights"] <= 3 * (layer + 16)  # and two numbers
    assert sent["evaluation"] == 3 * (784 * 50 + 50 + 50 * 20 + 20) * 4


def test_gfl_counts_averaged_layers_once() -> None:
    own, averaged = 784 * 50 + 50 + 50 * 20 + 20, 20 * 10 + 10
    assert resolve(spec_of("gfl", 3, averaged=["F3"])).parameters == 3 * own + averaged
    assert resolve(spec_of("gfl", 3)).parameters == own + averaged


@pytest.mark.parametrize("links", LINKS)
def test_transfer_images_is_centralized_on_the_union_of_the_views(
    links: str, tmp_path: Path
) -> None:
    spec = spec_of("transfer-images", 3)
    dataset, eyes, _ = data_of(spec)
    images = torch.cat([eye.train(torch.arange(120)) for eye in eyes.values()])
    labels = dataset.train_y.repeat(3)
    model, order = model_of(spec), Order(torch.arange(360), 20, spec.seed, 0)
    for _ in range(spec.train.rounds):
        for at in order:
            model.zero_grad()
            loss = nn.functional.cross_entropy(model(dataset.normalised(images[at])), labels[at])
            loss.backward()
            with torch.no_grad():
                for weight in model.parameters():
                    weight -= spec.train.lr * weight.grad
    found = run(spec, tmp_path / "run", links)
    assert_same(found.state, model.state_dict())
    sent = [e for e in events(found.run_dir, "learner1", "bytes") if e["k"] == "data"]
    assert {(e["r"], e["dir"]) for e in sent} == {(1, "out")}
    assert sum(e["payload"] for e in sent) == 120 * 784


@pytest.mark.parametrize(
    ("scheme", "train", "sentence"),
    [
        ("gfl", {"averaged": "F1/C9"}, "train.averaged names 'C9'; layers are F1, F2, F3"),
        ("gfl", {"averaged": ["F1", 2]}, "train.averaged has 2 in it; it must be a name"),
        ("gfl", {"mu_prox": -1}, "train.mu_prox is -1.0; it must be a number of 0 or more"),
        (
            "transfer-images",
            {"data": {"name": "digits", "views": ["blur", "sensor"]}},
            "train.data.views lets learner1 see no images",
        ),
    ],
)
def test_a_mistake_is_one_sentence(scheme: str, train: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TopologyError, match=r"small.yaml:\d+: ") as caught:
        resolve(spec_of(scheme, 2, **train))
    assert sentence in str(caught.value)
