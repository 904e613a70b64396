"""Split learning: distributed runs against one process, and against each other."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import Outcome, assert_same, run, topology
from split_reference import in_turn, parallel
from torch import nn

from edgenet.models import zoo

pytestmark = pytest.mark.processes

UNEQUAL = {"sizes": [20, 45, 55]}
"""Of 120 samples in batches of 20: one, three (5 in the last) and three (15) steps."""


def small(scheme: str, clients: int, **train: Any) -> Any:
    return topology(scheme, clients, **{"cut": 1, "rounds": 2, **train})


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(
    ("scheme", "own"),
    [
        ("ssl", {}),
        ("psl", {}),
        ("sfl", {}),
        ("sfl", {"sync": "batch"}),
        ("slr", {"alpha": 2.0}),
        ("sgl", {"phi": 1.0}),
        ("sglr", {"alpha": 0.0, "phi": 0.0}),
    ],
)
def test_with_one_client_every_scheme_is_centralized(
    scheme: str, own: dict[str, Any], optimizer: str, tmp_path: Path
) -> None:
    settings = {"optimizer": optimizer, "lr": 0.01, "rounds": 2}
    central = run(topology("centralized", **settings), tmp_path / "central")
    other = run(small(scheme, 1, **settings, **own), tmp_path / "other")
    assert_same(central.state, other.state)
    assert [r["accuracy"] for r in central.rounds] == [r["accuracy"] for r in other.rounds]


def test_sglr_without_both_is_psl_exactly(tmp_path: Path) -> None:
    psl = run(small("psl", 3, partition=UNEQUAL), tmp_path / "psl")
    sglr = run(small("sglr", 3, partition=UNEQUAL, alpha=0.0, phi=0.0), tmp_path / "sglr")
    assert_same(psl.state, sglr.state, exact=True)


@pytest.mark.parametrize("half", ["slr", "sgl"])
def test_half_of_sglr_is_sglr_with_the_other_half_switched_off(half: str, tmp_path: Path) -> None:
    off = {"slr": {"phi": 0.0}, "sgl": {"alpha": 0.0}}[half]
    sglr = run(small("sglr", 4, **off), tmp_path / "sglr")
    assert_same(run(small(half, 4), tmp_path / "half").state, sglr.state, exact=True)


def test_with_one_active_client_split_avg_changes_nothing(tmp_path: Path) -> None:
    psl = run(small("psl", 4), tmp_path / "psl")
    sgl = run(small("sgl", 4, phi=0.4), tmp_path / "sgl")
    assert all(len(active) == 1 for each in sgl.rounds for active in each["averaged"])
    assert_same(psl.state, sgl.state, exact=True)


@pytest.mark.parametrize(
    ("scheme", "clients", "settings", "links"),
    [
        ("psl", 3, {"partition": UNEQUAL, "optimizer": "adam", "lr": 0.01}, "memory"),
        ("sfl", 3, {"partition": UNEQUAL}, "memory"),
        ("sfl", 3, {"partition": UNEQUAL, "sync": "batch"}, "gloo"),
        ("slr", 3, {"partition": UNEQUAL, "alpha": 0.5}, "memory"),
        ("sgl", 4, {"phi": 0.5}, "memory"),
        ("sgl", 4, {"phi": 1.0, "batch": 8}, "memory"),
        ("sglr", 4, {"phi": 0.75, "alpha": 1.0, "optimizer": "adam", "lr": 0.01}, "gloo"),
        ("sglr", 4, {"phi": 0.5, "partition": {"sizes": [25, 30, 30, 35]}}, "memory"),
        ("psl", 2, {"cut": 2}, "memory"),
    ],
)
def test_a_run_is_the_papers_equations(
    scheme: str, clients: int, settings: dict[str, Any], links: str, tmp_path: Path
) -> None:
    spec = small(scheme, clients, **settings)
    chosen = dict(spec.train.options)
    if scheme in ("slr", "sglr"):
        chosen.setdefault("alpha", 0.5)
    if scheme == "sfl":
        chosen.setdefault("sync", "epoch")
    assert_same(run(spec, tmp_path / "run", links).state, parallel(spec, clients, **chosen))


def test_ssl_trains_one_model_at_one_client_after_the_other(tmp_path: Path) -> None:
    spec = small("ssl", 3, partition=UNEQUAL)
    outcome = run(spec, tmp_path / "run", "gloo")
    assert_same(outcome.state, in_turn(spec, 3))
    assert outcome.rounds[-1]["active"] == ["learner0", "learner1", "learner2"]


def _normalised(shape: Any, classes: int) -> OrderedDict[str, nn.Module]:
    return OrderedDict(
        C1=nn.Sequential(
            nn.Conv2d(shape[0], 4, 5, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)
        ),
        F1=nn.Sequential(nn.Flatten(), nn.Linear(36, 12), nn.BatchNorm1d(12), nn.ReLU()),
        F2=nn.Linear(12, classes),
    )


def with_batch_norm(
    scheme: str, tmp_path: Path, monkeypatch: Any, **own: Any
) -> tuple[Any, Outcome]:
    monkeypatch.setitem(zoo.MODELS, "normalised", _normalised)
    spec = small(scheme, 3, model="normalised", partition={"sizes": [20, 40, 60]}, **own)
    return spec, run(spec, tmp_path / "run")


@pytest.mark.parametrize("sync", ["epoch", "batch"])
def test_sfl_averages_the_buffers_of_batch_norm(
    sync: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, outcome = with_batch_norm("sfl", tmp_path, monkeypatch, sync=sync)
    assert_same(outcome.state, parallel(spec, 3, sync=sync))
    assert outcome.state["C1.1.running_mean"].abs().sum() > 0


def test_running_statistics_stay_at_the_client_under_psl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, outcome = with_batch_norm("psl", tmp_path, monkeypatch)
    assert_same(outcome.state, parallel(spec, 3))  # only the saved model has their mean
    # One, two and three batches in each of two rounds, weighted by 20, 40 and 60 samples.
    assert int(outcome.state["C1.1.num_batches_tracked"]) == round((2 * 20 + 4 * 40 + 6 * 60) / 120)


def test_phases_switch_split_avg_on_and_off(tmp_path: Path) -> None:
    outcome = run(small("sgl", 4, phi=0.5, phases="initial-60", rounds=5), tmp_path / "run")
    assert ["averaged" in each for each in outcome.rounds] == [True, True, True, False, False]
    again = run(small("sgl", 4, phi=0.5, rounds=5), tmp_path / "again")
    assert [r["averaged"] for r in outcome.rounds[:3]] == [r["averaged"] for r in again.rounds[:3]]


def test_threads_and_processes_draw_the_same_clients(tmp_path: Path) -> None:
    spec = small("sglr", 4, phi=0.5)
    memory, gloo = run(spec, tmp_path / "a"), run(spec, tmp_path / "b", "gloo")
    assert_same(memory.state, gloo.state, exact=True)
    assert [r["averaged"] for r in memory.rounds] == [r["averaged"] for r in gloo.rounds]
    assert torch.isfinite(torch.tensor([r["loss"] for r in gloo.rounds])).all()
