"""Predictions: the arithmetic by hand, and the bytes against a run's own count."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from small_runs import run, topology

from edgenet.cli.main import main
from edgenet.data import load, subset
from edgenet.models.layers import build, cut
from edgenet.models.timing import stage_cost
from edgenet.node.forecast import Leg, Worker, step_s, transfer_s
from edgenet.node.plan import resolve
from edgenet.node.planner import Planner, _steps, shared_medium
from edgenet.results.events import run_events
from edgenet.results.ledger import Ledger
from edgenet.results.rundir import RunDir
from edgenet.topology.load import loads
from edgenet.topology.spec import Channel, Optimizer

SLOW = Channel(rate_bps=8e6, delay_s=0.01)


def worker(before_s: float, after_s: float, medium: str | None = None) -> Worker:
    leg = Leg(channel=SLOW, medium=medium)
    return Worker(
        before_s=before_s, after_s=after_s, up_bytes=100_000, down_bytes=50_000, up=leg, down=leg
    )


def test_a_transfer_takes_serialisation_and_delay() -> None:
    leg = Leg(channel=SLOW)
    assert transfer_s(100_000, leg) == pytest.approx(0.1 + 0.01)
    assert transfer_s(100_000, leg, sharing=3) == pytest.approx(0.3 + 0.01)
    assert transfer_s(10**9, Leg(channel=Channel())) == 0


def test_a_step_waits_for_the_slowest_worker() -> None:
    fast, slow = worker(0.1, 0.1), worker(0.3, 0.2)
    assert step_s([fast, slow], 0.05) == pytest.approx(0.05 + 0.3 + 0.11 + 0.06 + 0.2)
    assert step_s([fast], 0.05, 0.9) == pytest.approx(0.05 + 0.9)  # the server is slower still
    assert step_s([], 0.05) == 0.05


def test_workers_on_one_medium_take_turns() -> None:
    alone = step_s([worker(0, 0, "air")], 0)
    both = step_s([worker(0, 0, "air"), worker(0, 0, "air")], 0)
    assert both - 0.02 == pytest.approx(2 * (alone - 0.02))


def test_steps_of_unequal_shares() -> None:
    found = list(_steps({"a": 2, "b": 1}, {"a": 5, "b": 0}, 20))
    assert found == [({"a": 20, "b": 20}, 1), ({"a": 20}, 1), ({"a": 5}, 1)]
    same = list(_steps({"a": 3, "b": 3}, {"a": 0, "b": 7}, 20))
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
    assert adam.gradient_bytes == 3 * adam.weight_bytes
    assert min(cost.forward_s, cost.backward_s, cost.step_s, adam.train_s) > 0


def counted(run_dir: Path) -> int:
    """Bytes of a round, by the run's own books."""
    ledger = Ledger()
    for event in run_events(RunDir(run_dir)):
        if event.name == "bytes":
            ledger.add(event)
    return ledger.by_round()[2].total


@pytest.mark.parametrize("layer", ["F1", "F2"])
def test_bytes_are_those_of_a_run(layer: str, tmp_path: Path) -> None:
    spec = topology("psl", 3, cut=layer, partition={"sizes": [20, 45, 55]}, local_epochs=2)
    planner = Planner(resolve(spec), 1e9, budget_s=0.001)
    forecast = {each.name: each for each in planner.split()}[f"psl, cut {layer}"]
    measured = counted(run(spec, tmp_path / "run").run_dir)
    assert forecast.sent_bytes == pytest.approx(measured, rel=0.02)


def test_bytes_of_fedavg_are_those_of_a_run(tmp_path: Path) -> None:
    spec = topology("fedavg", 3)
    forecast = Planner(resolve(spec), 1e9, budget_s=0.001).federated()
    measured = counted(run(spec, tmp_path / "run").run_dir)
    assert forecast.sent_bytes == pytest.approx(measured, rel=0.02)


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
    plan = resolve(loads(BOARDS))
    assert shared_medium(plan.topology, "learner0", "server") == "air"
    alone = next(Planner(plan, 1e9, budget_s=0.05).split())
    shared = next(Planner(plan, 1e9, budget_s=0.05, shared=True).split())
    slower = next(Planner(plan, 1e12, budget_s=0.05).split())
    assert alone.round_s < shared.round_s < slower.round_s
    assert math.isfinite(slower.round_s)


def test_a_device_with_too_little_memory_is_told() -> None:
    plan = resolve(loads(BOARDS.replace("two-nn-small", "leaf-cnn").replace("F1", "C1")))
    (first, *_) = Planner(plan, 1e9, budget_s=0.001).split()
    assert first.memory_bytes["learner0"] == first.memory_bytes["learner1"]
    assert first.fits["learner0"] is True
    assert first.fits["learner1"] is (first.memory_bytes["learner1"] <= 512e6)
    assert first.energy_j is not None
    assert torch.get_num_threads() >= 1


def test_the_command_ranks_the_candidates_and_draws_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, plot = tmp_path / "boards.yaml", tmp_path / "plan.png"
    file.write_text(BOARDS)
    assert main(["plan", str(file), "--format", "json", "--plot", str(plot)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {each["candidate"] for each in found} == {"psl, cut F1", "psl, cut F2", "fedavg"}
    times = [each["round_s"] for each in found]
    assert times == sorted(times)
    assert any(each["pareto"] for each in found)
    assert plot.read_bytes().startswith(b"\x89PNG")
