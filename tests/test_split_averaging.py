"""SplitAvg's choices, and the settings of split learning that are refused before a run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_runs import topology

from edgenet.errors import NodeError, TopologyError
from edgenet.node.plan import resolve
from edgenet.schemes.averaging import common_gradient, draw_active, in_phase


@pytest.mark.parametrize(
    ("phases", "rounds"),
    [
        ("always", {1, 2, 3, 4, 5}),
        ("initial-60", {1, 2, 3}),
        ("initial-40", {1, 2}),
        ("final-60", {3, 4, 5}),
        ("final-40", {4, 5}),
        ("initial 40 %", {1, 2}),
    ],
)
def test_phases_are_counted_in_rounds(phases: str, rounds: set[int]) -> None:
    assert {number for number in range(1, 6) if in_phase(phases, number, 5)} == rounds


@pytest.mark.parametrize("total", range(1, 12))
def test_early_and_late_phases_complete_each_other(total: int) -> None:
    for number in range(1, total + 1):
        assert in_phase("initial-60", number, total) != in_phase("final-40", number, total)


def sizes(*batches: int) -> dict[str, int]:
    return {f"c{i}": batch for i, batch in enumerate(batches)}


@pytest.mark.parametrize(
    ("clients", "phi", "count"),
    [(6, 0.25, 1), (6, 0.5, 3), (6, 1.0, 6), (4, 0.75, 3), (10, 0.7, 7), (1, 0.5, 0), (5, 0.0, 0)],
)
def test_so_many_are_active(clients: int, phi: float, count: int) -> None:
    drawn = draw_active(sizes(*[8] * clients), phi, seed=1, number=1, step=0)
    assert len(set(drawn)) == len(drawn) == count


def test_every_step_draws_anew_and_every_client_comes_to_its_turn() -> None:
    draws = [draw_active(sizes(8, 8, 8, 8), 0.5, 1, number, step) for number in (1, 2)
             for step in range(30)]  # fmt: skip
    assert draws == [draw_active(sizes(8, 8, 8, 8), 0.5, 1, number, step) for number in (1, 2)
                     for step in range(30)]  # fmt: skip
    assert len(set(draws)) == 6
    assert draws[:30] != draws[30:]
    assert draws[:30] != [draw_active(sizes(8, 8, 8, 8), 0.5, 2, 1, step) for step in range(30)]
    for name in "c0", "c1", "c2", "c3":
        assert 20 <= sum(name in drawn for drawn in draws) <= 40


@pytest.mark.parametrize(
    ("batches", "eligible"),
    [((8, 8, 5, 8), {"c0", "c1", "c3"}), ((5, 5, 8), {"c0", "c1"}), ((5, 8, 5, 8), {"c1", "c3"})],
)
def test_only_equal_batches_are_averaged(batches: tuple[int, ...], eligible: set[str]) -> None:
    assert set(draw_active(sizes(*batches), 1.0, 1, 1, 0)) == eligible


def test_the_common_gradient_is_the_mean() -> None:
    gradients = {"a": torch.ones(2, 3), "b": torch.full((2, 3), 4.0)}
    assert torch.equal(common_gradient(gradients), torch.full((2, 3), 2.5))
    with pytest.raises(NodeError, match=r"a \(2, 3\), b \(1, 3\)"):
        common_gradient(gradients | {"b": torch.ones(1, 3)})


@pytest.mark.parametrize(
    ("scheme", "settings", "message"),
    [
        ("slr", {"alpha": -1}, "train.alpha is -1.0; it must be a number from 0 to 10"),
        ("sglr", {"phi": 1.5}, "train.phi is 1.5; it must be a fraction from 0 to 1"),
        ("sglr", {"phases": "middle-20"}, "train.phases is 'middle-20'; it must be always"),
        ("sfl", {"sync": "never"}, "train.sync is 'never'; it must be epoch or batch"),
        ("psl", {"phi": 0.5}, "train has no key 'phi' under scheme 'psl'"),
        ("slr", {"phi": 0.5}, "train has no key 'phi' under scheme 'slr'"),
        ("sgl", {"alpha": 0.5}, "train has no key 'alpha' under scheme 'sgl'"),
        (
            "sgl",
            {"partition": {"sizes": [5, 60, 40]}},
            "train.batch is 20, but SplitAvg needs clients with batches of equal size and some "
            r"have fewer samples \(learner0 5\); make it 5 or less",
        ),
    ],
)
def test_settings_that_cannot_be(scheme: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TopologyError, match=message):
        resolve(topology(scheme, 3, cut=1, **settings))


def test_unequal_shares_need_no_equal_batches_without_split_avg() -> None:
    resolve(topology("sglr", 3, cut=1, phi=0.0, partition={"sizes": [5, 60, 40]}))
