"""Edge learning against one process on the same seed, and what crosses real links."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import LINKS, assert_same, run, topology
from torch import Tensor, nn

from edgenet.data import load, subset
from edgenet.errors import TopologyError
from edgenet.links.codec import Packet
from edgenet.links.protocol import Item, Kind
from edgenet.links.shared import Shared
from edgenet.models.layers import build
from edgenet.node.plan import resolve
from edgenet.schemes.allocation import equal_split
from edgenet.schemes.shards import Stock, Study
from edgenet.topology.spec import Topology

pytestmark = pytest.mark.processes

EDGE = {"shard": 20, "iterations": 2, "deadline": "1000 s", "rounds": 2}
SHARDS = 6  # 120 samples


def spec(scheme: str, learners: int = 3, **train: Any) -> Topology:
    own = {} if scheme == "equal-split" else {"benchmark": 2}
    return topology(scheme, learners, **{**EDGE, **own, **train})


def reference(spec: Topology, shares: Sequence[int], passes: int) -> dict[str, Tensor]:
    """Every learner trains the global model on its shards; then the plain mean; written out."""
    train = spec.train
    dataset = subset(load(train.data.name, None), train.data, spec.seed)
    model = build(train.model, classes=10, shape=(1, 28, 28), seed=spec.seed)
    stock = Stock(dataset, EDGE["shard"], spec.seed)
    names = [f"learner{i}" for i in range(len(shares))]
    for number in range(1, train.rounds + 1):
        states = []
        for name, (x, y) in stock.draw(number, dict(zip(names, shares, strict=True))).items():
            local = copy.deepcopy(model)
            study = Study(
                dataset=dataset, batch=train.batch, shard=20, seed=spec.seed, learner=name
            )
            batches = study.batches(x, y, number)
            for _ in range(passes):
                for a, b in batches:
                    sgd_step(local, a, b, train.lr)
            states.append(local.state_dict())
        model.load_state_dict(
            {key: sum(state[key] for state in states) / len(states) for key in model.state_dict()}
        )
    return model.state_dict()


def sgd_step(model: nn.Module, x: Tensor, y: Tensor, lr: float) -> None:
    model.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    with torch.no_grad():
        for weight in model.parameters():
            weight -= lr * weight.grad


@pytest.mark.parametrize("links", LINKS)
def test_dab_with_time_for_everything_is_the_plain_mean(links: str, tmp_path: Path) -> None:
    """Each learner takes all the shards: the plain mean of local training."""
    dab = spec("dab")
    assert_same(run(dab, tmp_path / "run", links).state, reference(dab, [SHARDS] * 3, 2))


@pytest.mark.parametrize("links", LINKS)
def test_equal_split_is_the_plain_mean_of_disjoint_parts(links: str, tmp_path: Path) -> None:
    even = spec("equal-split", 4)
    expected = reference(even, equal_split(SHARDS, 4), 2)
    assert_same(run(even, tmp_path / "run", links).state, expected)


def test_with_one_learner_and_one_pass_all_are_the_same(tmp_path: Path) -> None:
    runs = {
        scheme: run(spec(scheme, 1, iterations=1), tmp_path / scheme)
        for scheme in ("dab", "dab-dynamic", "equal-split")
    }
    assert_same(runs["dab"].state, runs["dab-dynamic"].state, exact=True)
    assert_same(runs["dab"].state, runs["equal-split"].state, exact=True)


class Sent:
    """Every message of a run, as it was handed to the links: (round, items, kind)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.messages: list[tuple[Shared, tuple[Item, ...], Kind]] = []
        encode: Callable[..., Packet] = Shared.encode

        def record(shared: Shared, items: tuple[Item, ...], kind: Kind) -> Packet:
            self.messages.append((shared, items, kind))
            return encode(shared, items, kind)

        monkeypatch.setattr(Shared, "encode", record)

    def by_learners(self) -> list[tuple[Item, ...]]:
        """What nodes sent that never send data."""
        servers = {id(shared) for shared, _, kind in self.messages if kind is Kind.DATA}
        return [items for shared, items, _ in self.messages if id(shared) not in servers]


def private(items: tuple[Item, ...]) -> bool:
    """Whether a message is more than a request for a number of shards, and parameters."""
    request, *rest = items
    return type(request) is not int or not 0 <= request <= SHARDS or len(rest) > 1


@pytest.mark.parametrize("scheme", ["dab", "dab-dynamic"])
def test_real_links_carry_nothing_but_requests_and_parameters(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = Sent(monkeypatch)
    run(spec(scheme), tmp_path / "run")
    told = sent.by_learners()
    assert len(told) == 3 * (2 + 2)
    assert not any(map(private, told))
    assert all(isinstance(t, Tensor) for items in told for rest in items[1:] for t in rest)


def test_what_csa_tells_is_seen_on_real_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = Sent(monkeypatch)
    run(spec("csa", deadline="40 s", margin=0.95, rounds=1), tmp_path / "run")
    assert sum(map(private, sent.by_learners())) == 3


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ({"deadline": "soon"}, "train.deadline: 'soon' is no time"),
        ({"deadline": "0 s"}, "train.deadline is 0 s; it must be above 0"),
        ({"iterations": 0}, "train.iterations is 0; it must be at least 1"),
        ({"shard": 500}, "train.shard is 500, but the 120 training samples do not fill the 2"),
        ({"benchmark": 0}, "train.benchmark is 0; it must be at least 1 shard"),
        ({"margin": 1.0}, "train.margin is 1.0; it must be a fraction"),
        ({"margin": "big"}, "train.margin is 'big'; it must be a number"),
    ],
)
def test_impossible_settings_are_refused_before_anything_starts(
    train: dict[str, Any], said: str
) -> None:
    with pytest.raises(TopologyError, match=said):
        resolve(spec("dab", **train))


@pytest.mark.parametrize(
    ("scheme", "misses", "said"),
    [
        ("dab-dynamic", 0, r"small\.yaml:\d+: train\.misses is 0; it must be at least 1"),
        ("dab-dynamic", "few", r"small\.yaml:\d+: train\.misses is 'few'; it must be a whole"),
        ("dab", 2, r"train has no key 'misses' under scheme 'dab'"),
    ],
)
def test_misses_are_counted_by_dab_dynamic_alone(scheme: str, misses: Any, said: str) -> None:
    with pytest.raises(TopologyError, match=said):
        resolve(spec(scheme, misses=misses))


def test_two_misses_in_a_row_end_a_part_unless_the_file_says_otherwise() -> None:
    assert resolve(spec("dab-dynamic")).options.terms.misses == 2
    assert resolve(spec("dab-dynamic", misses=3)).options.terms.misses == 3
