"""Allocation of data: hand-computed cases, and brute force on small ones."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest

from edgenet.schemes.allocation import (
    Capability,
    Sizes,
    Work,
    common_passes,
    csa,
    equal_split,
    round_s,
    shards_within,
    staleness,
    upper_bound,
)

SIZES = Sizes(model_bytes=1000, shard_bytes=2000)


def able(c: float, b: float) -> Capability:
    return Capability(shards_per_s=c, bytes_per_s=b)


@pytest.mark.parametrize(
    ("deadline_s", "passes", "c", "b", "bound", "shards"),
    [
        # (D - 2 Om/b) / (mu/c + Od/b)
        (10.0, 5, 5.0, 1000.0, (10 - 2) / (1 + 2), 2),
        (11.0, 5, 5.0, 1000.0, (11 - 2) / (1 + 2), 2),  # the bound is 3 and strict
        (11.1, 5, 5.0, 1000.0, 9.1 / 3, 3),
        (15.0, 1, 0.5, 4000.0, (15 - 0.5) / (2 + 0.5), 5),
        (2.0, 5, 5.0, 1000.0, 0.0, 0),  # the parameters alone fill the deadline
        (1.0, 5, 5.0, 1000.0, -1 / 3, 0),
        (4.0, 5, 1.0, 1000.0, 2 / 7, 0),  # not one shard
    ],
)
def test_eq_5_by_hand(
    deadline_s: float, passes: int, c: float, b: float, bound: float, shards: int
) -> None:
    assert upper_bound(deadline_s, passes, able(c, b), SIZES) == pytest.approx(bound)
    assert shards_within(deadline_s, passes, able(c, b), SIZES) == shards


def test_eq_4_by_hand() -> None:
    # download (1000 + 3 * 2000) / 500 = 14, train 2 * 3 / 6 = 1, upload 1000 / 500 = 2
    assert round_s(3, 2, able(6.0, 500.0), SIZES) == pytest.approx(17.0)


def test_eq_5_is_the_largest_that_keeps_eq_4_below_the_deadline() -> None:
    draw = random.Random(1)
    for _ in range(300):
        learner = able(draw.uniform(0.1, 50), draw.uniform(100, 1e5))
        deadline_s, passes = draw.uniform(0.5, 30), draw.randint(1, 6)
        shards = shards_within(deadline_s, passes, learner, SIZES)
        assert shards == 0 or round_s(shards, passes, learner, SIZES) < deadline_s
        assert round_s(shards + 1, passes, learner, SIZES) >= deadline_s - 1e-9


def test_equal_split_deals_everything_out() -> None:
    assert equal_split(120, 4) == [30, 30, 30, 30]
    assert equal_split(10, 4) == [3, 3, 2, 2]
    assert equal_split(1, 3) == [1, 0, 0]


@pytest.mark.parametrize(("c", "b"), [(0.0, 1.0), (1.0, 0.0), (float("nan"), 1.0)])
def test_a_capability_is_above_nothing(c: float, b: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        able(c, b)


def test_common_passes_by_hand() -> None:
    """Two equal learners, no cost of the link: tau d / c = D, so tau = c D / d."""
    free = Sizes(model_bytes=0, shard_bytes=0)
    assert common_passes(10, 8, [able(4, 1), able(4, 1)], free) == pytest.approx(10)
    # d_1 + d_2 = 10 c_1 / tau + 10 c_2 / tau
    assert common_passes(10, 8, [able(6, 1), able(2, 1)], free) == pytest.approx(10)
    # D - C0 = 8; 8 / (tau / 2 + 1) = 2 -> tau = 6
    assert common_passes(10, 2, [able(2, 1)], Sizes(model_bytes=1, shard_bytes=1)) == (
        pytest.approx(6)
    )
    assert common_passes(10, 9, [able(2, 1)], Sizes(model_bytes=1, shard_bytes=1)) == 0


def test_csa_gives_equal_learners_the_same() -> None:
    free = Sizes(model_bytes=0, shard_bytes=0)
    assert csa(10, 8, [able(4, 1), able(4, 1)], free) == [Work(shards=4, passes=10)] * 2
    assert csa(10, 8, [able(6, 1), able(2, 1)], free) == [
        Work(shards=6, passes=10),
        Work(shards=2, passes=10),
    ]


def test_csa_leaves_out_who_cannot_do_one_shard() -> None:
    works = csa(10, 6, [able(4, 1000), able(0.01, 1000), able(4, 1000)], SIZES)
    assert works[1] == Work(shards=0, passes=0)
    assert works[0].shards + works[2].shards == 6
    assert csa(1.0, 6, [able(0.01, 1.0)], SIZES) == [Work(shards=0, passes=0)]


def test_csa_deals_out_what_can_be_trained_once() -> None:
    works = csa(10, 1000, [able(4, 1000), able(2, 4000)], SIZES)
    assert [work.shards for work in works] == [3, 9]  # 8 / (1/4 + 2) = 3.55, 9.5 / 1 = 9.5
    assert [work.passes for work in works] == [2, 1]  # 3 shards leave 2 s: 2.67 passes


def test_with_fewer_shards_than_learners_the_fastest_get_one() -> None:
    works = csa(10, 1, [able(1, 1e6), able(3, 1e6), able(2, 1e6)], SIZES)
    assert [work.shards for work in works] == [0, 1, 0]


def possible(
    deadline_s: float, shards: int, learners: list[Capability]
) -> Iterator[tuple[int, int]]:
    """(staleness, -least passes) of every way to deal all the shards out, at least one each."""
    for dealt in itertools.product(range(1, shards + 1), repeat=len(learners)):
        if sum(dealt) != shards:
            continue
        works = []
        for d, k in zip(dealt, learners, strict=True):
            passes = 0
            while round_s(d, passes + 1, k, SIZES) <= deadline_s + 1e-9:
                passes += 1
            works.append(Work(shards=d, passes=passes))
        if all(work.passes for work in works):
            yield staleness(works), -min(work.passes for work in works)


def test_csa_is_the_best_of_all_ways() -> None:
    draw = random.Random(2)
    solved = 0
    for _ in range(250):
        learners = [
            able(draw.uniform(0.5, 20), draw.uniform(1000, 1e5)) for _ in range(draw.randint(1, 3))
        ]
        deadline_s, shards = draw.uniform(4, 25), draw.randint(len(learners), 12)
        best = min(possible(deadline_s, shards, learners), default=None)
        works = csa(deadline_s, shards, learners, SIZES)
        for work, k in zip(works, learners, strict=True):
            assert work.shards == 0 or round_s(work.shards, work.passes, k, SIZES) <= (
                deadline_s + 1e-6
            )
        if best is None:
            assert sum(work.shards for work in works) < shards or not all(
                work.shards for work in works
            )
            continue
        solved += 1
        assert sum(work.shards for work in works) == shards
        assert (staleness(works), -min(work.passes for work in works)) == best
    assert solved > 100


def test_csa_of_many_shards_stays_near_the_continuous_optimum() -> None:
    learners = [able(40, 1e6), able(70, 2e6), able(500, 1e7), able(900, 1e7)]
    sizes = Sizes(model_bytes=164_000, shard_bytes=392_500)
    works = csa(15, 120, learners, sizes)
    tau = common_passes(15, 120, learners, sizes)
    assert sum(work.shards for work in works) == 120
    assert all(abs(work.passes - tau) < 0.25 * tau for work in works)
