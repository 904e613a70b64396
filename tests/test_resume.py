"""A run that was stopped and resumed ends with the weights of one that was not, to the bit."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import assert_same, topology

from edgenet.errors import EdgenetError
from edgenet.meters.checkpoints import common_round
from edgenet.node.bench import NodeBench
from edgenet.node.plan import resolve
from edgenet.node.rounds import NodeRounds
from edgenet.node.threads import run_in_threads
from edgenet.schemes import SCHEMES
from edgenet.topology.spec import Topology

OWN: dict[str, dict[str, Any]] = {
    "ssl": {"cut": 1},
    "psl": {"cut": 1},
    "sfl": {"cut": 1},
    "slr": {"cut": 1},
    "sgl": {"cut": 1},
    "sglr": {"cut": 1},
    "gfl": {"averaged": ["F1"]},
    "dab": {"shard": 20, "benchmark": 2, "deadline": "1000 s"},
    "dab-dynamic": {"shard": 20, "benchmark": 2, "deadline": "1000 s"},
    "csa": {"shard": 20, "benchmark": 2, "deadline": "60 s"},
    "equal-split": {"shard": 20, "deadline": "1000 s"},
}
NO_MOMENTUM = {"name": "sgd", "momentum": 0.0}


class Stopped(Exception):
    """What ends the first attempt."""


def spec(scheme: str, checkpoint: int = 1, **train: Any) -> Topology:
    moving = {"name": "sgd", "momentum": 0.9, "weight_decay": 0.01}
    settings = {"rounds": 5, "optimizer": moving, "lr": 0.02, **OWN.get(scheme, {}), **train}
    faults = {"heartbeat": "1 s", "silence": "20 s", "checkpoint": checkpoint}
    return topology(scheme, 2, faults=faults, **settings)


def model(out: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(out / "model.pt", weights_only=True)
    return state


def stop_in(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node that reports dies when it would report this round."""
    report = NodeRounds.report

    def dying(self: NodeRounds, **figures: Any) -> None:
        if self._journal.round == number:
            raise Stopped
        report(self, **figures)

    monkeypatch.setattr(NodeRounds, "report", dying)


def interrupted(asked: Topology, out: Path, at: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run until the reporter dies in round `at`, and resume; returns the round gone on after."""
    plan = resolve(asked)
    with monkeypatch.context() as patch:
        stop_in(at, patch)
        with pytest.raises((Stopped, EdgenetError)):  # the first to fail may be a peer
            run_in_threads(plan, out)
    common = common_round(out, plan.seats)
    assert common.passed_over == []
    run_in_threads(plan, out, resume=common.round)
    return common.round


@pytest.fixture(autouse=True)
def _even_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Schemes that decide by what they measure find that every reading takes a second."""
    monkeypatch.setattr(NodeBench, "clock", lambda bench: float(next(bench.ticks)))
    monkeypatch.setattr(NodeBench, "ticks", property(_ticks), raising=False)


def _ticks(bench: NodeBench) -> Iterator[int]:
    return vars(bench).setdefault("_ticks", itertools.count())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_resumed_run_ends_with_the_same_weights(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = spec(scheme)
    run_in_threads(resolve(asked), tmp_path / "whole")
    assert interrupted(asked, tmp_path / "resumed", 4, monkeypatch) == 3
    assert_same(model(tmp_path / "resumed"), model(tmp_path / "whole"), exact=True)
