"""Predictions: the arithmetic by hand, and the bytes against a run's own count."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import run, topology
from test_parallel import spec_of

from edgenet.data import load, subset
from edgenet.links.protocol import Kind
from edgenet.models.layers import build, cut
from edgenet.models.timing import stage_cost
from edgenet.node.costing import Costs, message_bytes
from edgenet.node.forecast import Chain, Hop, Medium, Sync, Turn, Way, Worker, chain_s, star_s
from edgenet.node.plan import resolve
from edgenet.node.planner import Forecast
from edgenet.node.predict_split import steps_of
from edgenet.node.predictions import predict
from edgenet.results.events import run_events
from edgenet.results.ledger import Ledger
from edgenet.results.rundir import RunDir
from edgenet.topology.load import dump, loads
from edgenet.topology.spec import Channel, Optimizer, Topology

SLOW = Channel(rate_bps=8e6, delay_s=0.01)


def way(medium: Medium | None = None) -> Way:
    return Way(SLOW, medium=medium)


def worker(before_s: float, after_s: float, medium: Medium | None = None) -> Worker:
    return Worker(
        before_s=before_s, after_s=after_s, up_bytes=100_000, down_bytes=50_000,
        up=way(medium), down=way(medium),
    )  # fmt: skip


def server(forward_s: float = 0.0, step_s: float = 0.0) -> Chain:
    return Chain([Turn(forward_s=forward_s, backward_s=0.0, step_s=step_s)])


def test_a_transfer_takes_serialisation_and_delay() -> None:
    assert way().arrival_s(100_000, 2.0) == pytest.approx(2.0 + 0.1 + 0.01)
    busy = way()
    busy.arrival_s(100_000, 0.0)
    assert busy.arrival_s(100_000, 0.05) == pytest.approx(0.1 + 0.1 + 0.01)
    assert Way(Channel(), message_s=0.001).arrival_s(10**7, 0.0) == pytest.approx(0.001)


def test_a_step_waits_for_the_slowest_worker() -> None:
    turn = 0.3 + 0.11 + 0.05 + 0.06 + 0.2
    assert star_s([worker(0.1, 0.1), worker(0.3, 0.2)], server(0.05), 4) == pytest.approx(4 * turn)
    own_s = 0.1 + 0.11 + 4 * 0.05 + 3 * 0.9 + 0.06 + 0.1  # the server's own update is slower
    found = star_s([worker(0.1, 0.1)], server(0.05, 0.9), 4)
    assert found == pytest.approx(max(own_s, own_s + 0.9 - 0.16))


def test_weights_are_averaged_after_each_workers_steps_but_its_last() -> None:
    step_s = 0.3 + 0.11 + 0.05 + 0.06 + 0.2
    both = 0.02 + (0.05 + 0.01) + 0.5 + (0.05 + 0.01) + 0.02  # copied, sent, averaged, sent, copied
    sync = Sync(steps=(3, 3), nbytes=50_000, copy_s=0.02, mean_s=0.5)
    found = star_s([worker(0.1, 0.1), worker(0.3, 0.2)], server(0.05), 4, sync)
    assert found == pytest.approx(4 * step_s + 3 * both)
    first = replace(sync, steps=(1, 0))  # it has the mean long before the slower one needs it
    alone = star_s([worker(0.1, 0.1), worker(0.3, 0.2)], server(0.05), 1, first)
    assert alone == pytest.approx(0.1 + 0.11 + 0.2 + 0.05 + 0.06 + 0.1 + both)


def test_many_steps_take_as_long_as_few_do_each() -> None:
    few, many = (star_s([worker(0.1, 0.1)], server(0.05), steps) for steps in (10, 1000))
    assert many == pytest.approx(100 * few)


def test_workers_on_one_medium_take_turns() -> None:
    alone = star_s([worker(0, 0, Medium())], server(), 1)
    air = Medium()
    both = star_s([worker(0, 0, air), worker(0, 0, air)], server(), 1)
    assert both - 0.02 == pytest.approx(2 * (alone - 0.02))


def test_a_chain_waits_for_what_is_above() -> None:
    low = Turn(forward_s=0.1, backward_s=0.2, step_s=0.05)
    top = Turn(forward_s=0.3, backward_s=0.1, step_s=0.02)
    hops = [Hop(up=way(), up_bytes=10_000, down=way(), down_bytes=10_000)]
    step = 0.1 + 0.02 + 0.3 + 0.1 + 0.02 + 0.2 + 0.05
    assert chain_s(Chain([low, top], hops), 5) == pytest.approx(5 * step)
    slow = Turn(forward_s=0.3, backward_s=0.1, step_s=2.0)  # its update holds the next step up
    held = Chain([low, slow], [Hop(up=way(), up_bytes=0, down=way(), down_bytes=0)])
    assert chain_s(held, 100) == pytest.approx(100 * 2.4, rel=0.01)


def test_steps_of_unequal_shares() -> None:
    found = list(steps_of({"a": 2, "b": 1}, {"a": 5, "b": 0}, 20))
    assert found == [({"a": 20, "b": 20}, 1), ({"a": 20}, 1), ({"a": 5}, 1)]
    same = list(steps_of({"a": 3, "b": 3}, {"a": 0, "b": 7}, 20))
    assert same == [({"a": 20, "b": 20}, 3), ({"b": 7}, 1)]


def test_a_stage_is_charged_what_it_holds() -> None:
    dataset = subset(load("digits", None), topology("psl", cut=1).train.data, 3)
    head, tail = cut(build("two-nn-small", classes=10, shape=dataset.shape, seed=1), 1)
    x = dataset.normalised(dataset.train_x[:20])
    cost, smashed = stage_cost(head, x, optimizer=Optimizer(), first=True, budget_s=0.01)
    weights = 4 * (784 * 50 + 50)
    assert (cost.weight_bytes, cost.gradient_bytes) == (weights, weights)
    assert cost.stash_bytes >= x.nbytes + smashed.nbytes
    adam, _ = stage_cost(
        tail, smashed, optimizer=Optimizer(name="adam"), first=False, budget_s=0.01
    )
    assert adam.gradient_bytes == adam.largest_bytes + 920 == adam.weight_bytes
    assert adam.optimizer_bytes == 2 * adam.weight_bytes
    assert min(cost.forward_s, cost.backward_s, cost.step_s, adam.train_s) > 0


def changed(text: str) -> Callable[[Sequence[str]], Topology]:
    """What makes a topology of a file's text and `--set`s."""
    return lambda changes: loads(text, overrides=changes)


def planned(spec: Topology, scheme: str, **more: Any) -> dict[str, Forecast]:
    """The candidates of a scheme on a topology, by name."""
    text = dump(spec)
    outlook = predict(changed(text), Costs(1e9, budget_s=0.001), (scheme,), **more)
    return {each.name: each for each in outlook.found}


def counted(run_dir: Path) -> dict[int, int]:
    """Round -> bytes, by the run's own books."""
    return {number: volume.total for number, volume in books(run_dir).by_round().items()}


def books(run_dir: Path) -> Ledger:
    """What a run counted."""
    ledger = Ledger()
    for event in run_events(RunDir(run_dir)):
        if event.name == "bytes":
            ledger.add(event)
    return ledger


SPLIT = ("psl", "sfl", "ssl", "slr", "sgl", "sglr")
CANDIDATES: list[tuple[str, str, dict[str, Any]]] = [
    ("psl, cut F1", "psl", {"partition": {"sizes": [20, 45, 55]}, "local_epochs": 2}),
    ("psl, cut F2", "psl", {"partition": {"sizes": [20, 45, 55]}, "local_epochs": 2}),
    ("sfl, cut F1", "sfl", {"local_epochs": 2}),
    ("sfl, cut F1, sync batch", "sfl", {"sync": "batch", "local_epochs": 2,
                                        "partition": {"sizes": [20, 45, 55]}}),
    ("sfl, cut F2, sync batch", "sfl", {"sync": "batch"}),
    ("ssl, cut F2", "ssl", {"partition": {"sizes": [20, 45, 55]}}),
    ("slr, cut F1", "slr", {"alpha": 1.0, "local_epochs": 2}),
    ("sgl, cut F2", "sgl", {"partition": {"sizes": [20, 45, 55]}, "phi": 0.7}),
    ("sglr, cut F1, phases final-40", "sglr", {"phases": "final-40"}),
    ("fedavg", "fedavg", {}),
    ("gfl, averaged F3", "gfl", {}),
    ("gfl, averaged F1/F2/F3", "gfl", {}),
    ("gfl, averaged F1/F3", "gfl", {"averaged": "F3/F1"}),
    ("d-sgd, F2.. on learner0", "d-sgd", {}),
    ("d-sgd, F2.. on learner0, F3.. on learner1", "d-sgd", {"local_epochs": 2}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "scheme", "train"), CANDIDATES, ids=[c[0] for c in CANDIDATES])
def test_bytes_are_those_of_a_run(
    name: str, scheme: str, train: dict[str, Any], tmp_path: Path
) -> None:
    spec = topology(scheme, 3, **base_of(scheme), **train)
    assert_bytes(spec, planned(spec, scheme)[name], tmp_path)


COMINGS = {"rounds": 4, "leaves": {"learner0": 2}, "joins": {"learner0": 4}}
MERGED: list[tuple[str, str, int, dict[str, Any]]] = [
    ("fpl, J->F1", "fpl", 0, {}),
    ("fpl, J->F3", "fpl", 0, {"merge": "mean"}),
    ("fpl, J->F2, F2.. on learner2", "fpl", 1, {}),
    ("fpl, J->F2, F2.. on learner2, F3.. on learner3", "fpl", 2, {}),
    ("fpl, J->F2", "fpl", 1, {}),
    ("fpl, J->F2", "fpl", 0, {"rounds": 3, "leaves": {"learner0": 2}}),
    ("fpl, J->F2, F2.. on learner2", "fpl", 1, COMINGS),
    ("fpl, J->F1, F1.. on learner2", "fpl", 1, {"merge": "mean"}),
    ("sl-vertical, cut F1", "sl-vertical", 0, {}),
    ("sl-vertical, cut F1, F3.. on learner2", "sl-vertical", 1, {}),
    ("gfl, averaged F2/F3", "gfl", 0, {}),
    ("transfer-images", "transfer-images", 0, {}),
]


@pytest.mark.parametrize(
    ("name", "scheme", "stages", "train"), MERGED, ids=[f"{c[0]} {c[3] or ''}" for c in MERGED]
)
def test_bytes_of_sources_are_those_of_a_run(
    name: str, scheme: str, stages: int, train: dict[str, Any], tmp_path: Path
) -> None:
    spec = spec_of(scheme, 2, stages=stages, **{"rounds": 2, "batch": 50, **train})
    assert_bytes(spec, planned(spec, scheme)[name], tmp_path)


def base_of(scheme: str) -> dict[str, Any]:
    """What the topology of a scheme must say: split learning has a cut."""
    return {"cut": 1} if scheme in SPLIT else {}


def assert_bytes(spec: Topology, forecast: Forecast, tmp_path: Path) -> None:
    """A run with the forecast's settings moves just as many bytes as forecast; without what is said
    before the first round, and to all in the end."""
    settings = changed(dump(spec))(forecast.settings)
    rounds = counted(run(settings, tmp_path / "run").run_dir)
    ends = 0 if spec.train.scheme in ("d-sgd", "transfer-images") else called_off(settings)
    measured = sum(nbytes for number, nbytes in rounds.items() if number > 0) - ends
    assert spec.train.rounds * forecast.sent_bytes == pytest.approx(measured, abs=ROUNDING)
    if forecast.once_bytes:
        assert forecast.once_bytes == pytest.approx(rounds[1] - rounds.get(2, 0), abs=ROUNDING)


ROUNDING = 20
"""Bytes: half a byte a round, and heartbeats of a byte where a round is long. No message is as
short."""


def called_off(spec: Topology) -> int:
    """Bytes of the empty message that ends the training of all the server works with."""
    server, *_ = resolve(spec).seats
    others = [name for name, role in server.peers if role != "stage"]
    return len(others) * message_bytes([], Kind.CONTROL)


ON_AIR: list[tuple[str, str, dict[str, Any]]] = [
    ("sgl, cut F1", "sgl", {"phi": 0.75}),
    ("sglr, cut F2, phases final-40", "sglr", {"phi": 0.75, "phases": "final-40", "local_epochs": 2,
                              "partition": {"sizes": [20, 25, 25, 50]}}),
    ("sfl, cut F1", "sfl", {}),
    ("sfl, cut F1, sync batch", "sfl", {"sync": "batch"}),
    ("gfl, averaged F3", "gfl", {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "scheme", "train"), ON_AIR, ids=[c[0] for c in ON_AIR])
def test_what_a_broadcast_spares_is_what_it_spares_a_run(
    name: str, scheme: str, train: dict[str, Any], tmp_path: Path
) -> None:
    """Two media with two members each: what is spared depends on who is drawn."""
    spec = topology(scheme, 4, **base_of(scheme), **train)
    (lan,) = spec.links
    halves = [("learner0", "learner1"), ("learner2", "learner3")]
    media = (replace(lan, name=f"air{n}", ends=ends, shared=True) for n, ends in enumerate(halves))
    spec = replace(spec, links=tuple(media))
    forecast = planned(spec, scheme)[name]
    settings = changed(dump(spec))(forecast.settings)
    spared = copied(run(settings, tmp_path / "run").run_dir)
    predicted = spec.train.rounds * (forecast.sent_bytes - forecast.on_air_bytes)
    assert predicted == pytest.approx(spared, rel=0.02, abs=150)
    assert spared > 1000


def copied(run_dir: Path) -> int:
    """Bytes of a run that media which can broadcast would not have carried."""
    told: dict[str, Any] = books(run_dir).as_dict()
    return int(told["total"] - told["on_air"]["total"])


BOARDS = """\
name: boards
nodes:
  server: {device: laptop}
  learner: {device: [pi4, pi1], count: 2}
links:
  air: {wifi: 802.11n-5GHz, base: server, members: learner}
train: {scheme: psl, cut: F1, model: two-nn-small, data: {name: digits, train: 120}, batch: 20}
"""


def test_slow_devices_and_shared_media_make_rounds_longer() -> None:
    def round_s(costs: Costs, **more: Any) -> float:
        found = predict(changed(BOARDS), costs, ("psl",), **more).found
        return {each.name: each.round_s for each in found}["psl, cut F1"]

    host = Costs(1e9, budget_s=0.01)  # measured once for both
    alone, shared = round_s(host), round_s(host, shared=True)
    slower = round_s(Costs(1e12, budget_s=0.01))
    assert alone < shared < slower
    assert math.isfinite(slower)


def test_a_device_with_too_little_memory_is_told() -> None:
    text = BOARDS.replace("two-nn-small", "leaf-cnn").replace("F1", "C1")
    costs = Costs(1e9, budget_s=0.001, base_bytes=10**8, alone_bytes=515 * 10**6)
    first = predict(changed(text), costs, ("psl",)).found[0]
    assert first.memory_bytes["learner0"] == first.memory_bytes["learner1"]
    assert first.room_bytes["learner0"] >= 0
    assert first.memory_bytes["learner1"] < 200e6  # which alone a Pi 1 would have
    assert list(first.lacks_bytes) == ["learner1"]
    assert first.energy_j is not None
    assert torch.get_num_threads() >= 1


def test_a_wide_junction_is_planned_without_its_memory() -> None:
    """In front of C2 the LEAF CNN's junction has 118 million weights, and as many gradients."""
    text = BOARDS.replace("two-nn-small", "leaf-cnn").replace("count: 2", "count: 3")
    costs = Costs(1e9, budget_s=0.001)
    found = predict(changed(text), costs, ("fpl",)).found
    each = {forecast.name: forecast for forecast in found}
    weights = 4 * (3 * 6272 * 6272 + 6272)
    held = each["fpl, J->C2"].memory_bytes["server"] - costs.base_bytes
    assert held > 2 * weights
    assert held < 2.2 * weights + each["fpl, J->F1"].memory_bytes["server"]
