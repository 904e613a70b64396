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


@pytest.mark.parametrize(
    ("scheme", "changed"),
    [
        ("fedavg", {"optimizer": "adam", "lr": 0.001}),
        ("psl", {"optimizer": "adam", "lr": 0.001, "evaluate": 0}),
        ("ssl", {"evaluate": 2}),
        ("sfl", {"sync": "batch"}),
        ("sglr", {"partition": {"sizes": [60, 40]}, "batch": 40, "phases": "final-60"}),
        ("gfl", {"averaged": [], "evaluate": 0}),
        ("fpl", {"optimizer": "adam", "leaves": {"learner1": 2}, "joins": {"learner1": 4}}),
        ("fpl", {"leaves": {"learner1": 3}, "joins": {"learner1": 5}, "evaluate": 0}),
        ("mcpipe", {"window": 2, "local_epochs": 2}),
        ("pipedream", {"window": 2, "span": 3}),
        ("data-parallel", {"optimizer": "adam", "model": "alexnet-w4", "rounds": 3}),
    ],
)
def test_so_it_does_with_other_settings(
    scheme: str, changed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = spec(scheme, **changed)
    at = asked.train.rounds - 1
    run_in_threads(resolve(asked), tmp_path / "whole")
    assert interrupted(asked, tmp_path / "resumed", at, monkeypatch) == at - 1
    assert_same(model(tmp_path / "resumed"), model(tmp_path / "whole"), exact=True)


NOISY = """
from torch import nn
from edgenet.schemes.bench import Role, Scheme
from edgenet.schemes.centralized import trainer


def play(bench):
    model = bench.stage(nn.Sequential(nn.Dropout(0.3), bench.layers()), first=True)
    trainer(model, bench.batches(), bench.rounds(), bench.local_epochs)


SCHEME = Scheme(name="noisy", summary="", roles=(Role(name="trainer", play=play, trains_on=True),))
"""


def test_torchs_own_generator_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "noisy.py"
    file.write_text(NOISY, encoding="utf-8")
    asked = spec(str(file))
    torch.manual_seed(1)
    run_in_threads(resolve(asked), tmp_path / "whole")
    torch.manual_seed(1)
    interrupted(asked, tmp_path / "resumed", 4, monkeypatch)
    assert_same(model(tmp_path / "resumed"), model(tmp_path / "whole"), exact=True)
    torch.manual_seed(2)
    run_in_threads(resolve(asked), tmp_path / "other")
    assert not torch.equal(*(next(iter(model(tmp_path / n).values())) for n in ("other", "whole")))
