"""The equalities that hold the mathematics: distributed runs against one process, same seed."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from small_runs import LINKS, assert_same, run, topology
from torch import Tensor, nn

from edgenet.data import Dataset, ShareBatches, load, partition, subset
from edgenet.models.layers import build, cut
from edgenet.topology.spec import Topology

pytestmark = pytest.mark.processes


def parts(spec: Topology, shares: int) -> tuple[nn.Module, Dataset, list[ShareBatches]]:
    """The model, the data and the shares that the nodes of a run would make."""
    train = spec.train
    dataset = subset(load(train.data.name, None), train.data, spec.seed)
    model = build(train.model, classes=10, shape=(1, 28, 28), seed=spec.seed)
    dealt = partition(dataset.train_y, train.partition, shares, spec.seed)
    batches = [ShareBatches(dataset, dealt[i], train.batch, spec.seed, i) for i in range(shares)]
    return model, dataset, batches


def sgd_step(model: nn.Module, x: Tensor, y: Tensor, lr: float) -> None:
    """Plain gradient descent, written out."""
    model.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    with torch.no_grad():
        for weight in model.parameters():
            weight -= lr * weight.grad


@pytest.mark.parametrize("links", LINKS)
@pytest.mark.parametrize("scheme", ["fedavg", "fedprox", "psl"])
def test_with_one_learner_every_scheme_is_centralized(
    scheme: str, links: str, tmp_path: Path
) -> None:
    extra = {"cut": 1} if scheme == "psl" else {"mu_prox": 0.0} if scheme == "fedprox" else {}
    central = run(topology("centralized"), tmp_path / "central")
    other = run(topology(scheme, **extra), tmp_path / "other", links)
    assert_same(central.state, other.state)
    assert [r["accuracy"] for r in central.rounds] == [r["accuracy"] for r in other.rounds]


def test_centralized_is_plain_sgd(tmp_path: Path) -> None:
    spec = topology("centralized")
    model, _, (batches,) = parts(spec, 1)
    for _ in range(spec.train.rounds):
        for x, y in batches:
            sgd_step(model, x, y, spec.train.lr)
    assert_same(run(spec, tmp_path / "run").state, model.state_dict())


@pytest.mark.parametrize("links", LINKS)
def test_fedavg_is_the_weighted_mean_of_local_training(links: str, tmp_path: Path) -> None:
    spec = topology("fedavg", 3, partition={"sizes": [20, 40, 60]}, local_epochs=2)
    model, _, shares = parts(spec, 3)
    for _ in range(spec.train.rounds):
        locals_ = []
        for batches in shares:
            local = copy.deepcopy(model)
            for _ in range(2):
                for x, y in batches:
                    sgd_step(local, x, y, spec.train.lr)
            locals_.append((batches.samples / 120, local.state_dict()))
        model.load_state_dict(
            {key: sum(n * state[key] for n, state in locals_) for key in model.state_dict()}
        )
    assert_same(run(spec, tmp_path / "run", links).state, model.state_dict())


def test_fedprox_with_mu_zero_is_fedavg_exactly(tmp_path: Path) -> None:
    fedavg = run(topology("fedavg", 3), tmp_path / "avg")
    fedprox = run(topology("fedprox", 3, mu_prox=0.0), tmp_path / "prox")
    assert_same(fedavg.state, fedprox.state, exact=True)


def test_fedprox_pulls_every_gradient_towards_the_server(tmp_path: Path) -> None:
    spec = topology("fedprox", 1, mu_prox=0.7, rounds=1)
    model, _, (batches,) = parts(spec, 1)
    anchor = [weight.detach().clone() for weight in model.parameters()]
    for x, y in batches:
        loss = nn.functional.cross_entropy(model(x), y)
        away = sum(((w - a) ** 2).sum() for w, a in zip(model.parameters(), anchor, strict=True))
        model.zero_grad()
        (loss + 0.7 / 2 * away).backward()
        with torch.no_grad():
            for weight in model.parameters():
                weight -= spec.train.lr * weight.grad
    assert_same(run(spec, tmp_path / "run").state, model.state_dict())


@pytest.mark.parametrize("links", LINKS)
def test_psl_updates_the_server_by_one_step_on_the_joint_batch(links: str, tmp_path: Path) -> None:
    """... and each client by the gradient of its own mean loss (Eqs. 4-6), for unequal |D_i|."""
    spec = topology("psl", 3, cut=1, partition={"sizes": [20, 40, 60]}, rounds=2)
    whole, _, shares = parts(spec, 3)
    first, tail = cut(whole, 1)
    heads = [copy.deepcopy(first) for _ in shares]
    for _ in range(spec.train.rounds):
        streams = [list(batches) for batches in shares]
        for step in range(3):
            turn = [i for i in range(3) if len(streams[i]) > step]
            total = sum(shares[i].samples for i in turn)
            batch = {i: streams[i][step] for i in turn}
            losses = {
                i: nn.functional.cross_entropy(tail(heads[i](x)), y) for i, (x, y) in batch.items()
            }
            joint = sum(shares[i].samples / total * losses[i] for i in turn)
            updates = [
                (w, g)
                for w, g in zip(
                    tail.parameters(),
                    torch.autograd.grad(joint, list(tail.parameters()), retain_graph=True),
                    strict=True,
                )
            ]
            for i in turn:
                own = list(heads[i].parameters())
                updates += zip(
                    own, torch.autograd.grad(losses[i], own, retain_graph=True), strict=True
                )
            with torch.no_grad():
                for weight, gradient in updates:
                    weight -= spec.train.lr * gradient
    expected = {
        **{
            key: sum(shares[i].samples / 120 * heads[i].state_dict()[key] for i in range(3))
            for key in first.state_dict()
        },
        **tail.state_dict(),
    }
    assert_same(run(spec, tmp_path / "run", links).state, expected)


@pytest.mark.parametrize("scheme", ["fedavg", "psl"])
def test_threads_and_processes_end_with_the_same_weights(scheme: str, tmp_path: Path) -> None:
    extra = {"cut": 1} if scheme == "psl" else {}
    spec = topology(scheme, 3, **extra)
    memory = run(spec, tmp_path / "memory", "memory")
    gloo = run(spec, tmp_path / "gloo", "gloo")
    assert_same(memory.state, gloo.state, exact=True)
