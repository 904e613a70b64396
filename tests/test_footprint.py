"""The memory that a plan predicts, against real runs of a model that is not small."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_runs import run_processes, topology
from torch import nn

from edgenet.cli.plan import forecasts
from edgenet.data import load
from edgenet.models.timing import StageCost
from edgenet.node import footprint
from edgenet.node.bench import TEST_BATCH
from edgenet.topology.load import dump
from edgenet.topology.load import load as read

COST = StageCost(
    forward_s=0, backward_s=0, step_s=0, weight_bytes=100, gradient_bytes=90, optimizer_bytes=180,
    stash_bytes=30, largest_bytes=60,
)  # fmt: skip


def test_the_peak_is_that_of_the_largest_phase() -> None:
    held = footprint.Held(built=50, always=10, training=20, saving=45, reporting=5)
    assert held.most(saves=True) == 55
    assert held.most(saves=False) == 50
    assert (held | footprint.Held(training=60)).most(saves=True) == 70


def test_a_stage_is_copied_where_it_is_saved() -> None:
    held = footprint.stage(COST, model=400, beside=7, messages=5)
    assert held.built == 400
    assert held.always == 100 + 180 + 7 + 90
    assert held.training == 90 + 30 + 5
    assert held.saving == 280 + 60
    large = replace(COST, largest_bytes=2**26)
    assert footprint.stage(large, model=400).always == 280


def test_a_test_holds_what_its_largest_layer_takes_and_gives() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 1000), nn.ReLU(), nn.Linear(1000, 2))
    dataset = load("digits")
    assert len(dataset.test_y) > TEST_BATCH
    assert footprint.tested_bytes(model, dataset) == TEST_BATCH * 4 * 2000


CASES = [
    ("fedavg", "fedavg", {}),
    ("psl, cut F1", "psl", {"cut": "F1"}),
    ("sl-vertical, cut C2", "sl-vertical", {"optimizer": "adam", "lr": 0.001}),
]


@pytest.mark.processes
@pytest.mark.parametrize(("name", "scheme", "train"), CASES, ids=[c[1] for c in CASES])
def test_memory_is_that_of_a_run(
    name: str, scheme: str, train: dict[str, Any], tmp_path: Path
) -> None:
    """Of every node, to 25 %. LEAF's CNN has 26 MB of weights, SL's wide layer twice as much."""
    data = {"name": "digits", "train": 40, "test": 20}
    sizes = {"model": "leaf-cnn", "data": data, "rounds": 2, **train}
    spec = topology(scheme, 2, faults={"checkpoint": 1}, **sizes)
    file, slow = tmp_path / "plan.yaml", "links.lan.rate=20 Mbit"
    file.write_text(dump(spec), encoding="utf-8")
    outlook = forecasts(file, [slow], [scheme])
    (forecast,) = (each for each in outlook.found if each.name == name)
    run_dir = run_processes(read(file, [slow, *forecast.settings]), tmp_path / "run")
    nodes = json.loads((run_dir / "summary.json").read_text(encoding="utf-8"))["nodes"]
    measured = {name: node["peak_rss_bytes"] for name, node in nodes.items()}
    assert dict(forecast.memory_bytes) == pytest.approx(measured, rel=0.25)
