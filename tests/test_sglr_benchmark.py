"""The SGLR benchmark's book-keeping: what is trained, what is kept, what is concluded."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgenet.node.plan import resolve
from edgenet.topology.load import loads

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def sglr() -> Iterator[Any]:
    """The benchmark's modules, which lie outside the package."""
    before = list(sys.path)
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import sglr
        import sglr_claims
        import sglr_notes
        import sglr_paper
        import sglr_points

        yield SimpleNamespace(
            main=sglr, claims=sglr_claims, notes=sglr_notes, paper=sglr_paper, points=sglr_points
        )
    finally:
        sys.path[:] = before


@pytest.fixture
def size(sglr: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("EDGENET_DATA", raising=False)
    return sglr.main.size_of(quick=True, full=False)


def test_without_the_files_the_digits_do(size: Any) -> None:
    assert (size.name, size.data) == ("quick-digits", "digits")


def test_every_point_is_a_topology_and_none_comes_twice(sglr: Any, size: Any) -> None:
    asked = sglr.points.points(size)
    assert len(set(asked)) == len(asked)
    schemes = {}
    for point in asked:
        schemes[point.scheme] = resolve(loads(point.topology(size), file="point.yaml"))
    assert set(schemes) == {"psl", "slr", "sgl", "sglr", "sfl", "fedavg", "centralized"}
    assert schemes["sglr"].topology.seed in (1, 2, 3)


def test_what_cannot_differ_is_one_point(sglr: Any) -> None:
    split = sglr.points.split
    assert split("m", 1, 2.0, 1.0, 1, "final-40") == split("m", 1, 0.0, 0.0, 1)
    assert split("m", 2, 0.5, 0.75, 1) == split("m", 2, 0.5, 0.0, 1)  # one active client
    assert split("m", 2, 0.5, 1.0, 1).scheme == "sglr"


def test_a_store_goes_on_where_it_stopped(sglr: Any, size: Any, tmp_path: Path) -> None:
    first, second, *_ = sglr.points.points(size)
    store = sglr.points.Store(tmp_path / "points.csv")
    store.add(first, {"accuracy": 0.5, "loss": 1.25, "wall_s": 3.0, "bce": 0.3})
    store.add(second, {"accuracy": math.nan, "loss": math.nan, "wall_s": 3.0})
    again = sglr.points.Store(tmp_path / "points.csv").results
    assert list(again) == [first, second]
    assert again[first] == {"accuracy": 0.5, "loss": 1.25, "wall_s": 3.0, "bce": 0.3}
    assert math.isnan(again[second]["accuracy"])


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ((1.0, 1.2, 0.8), "confirmed"),
        ((-1.0, -1.2, -0.8), "refuted"),
        ((3.0, -2.0, 0.5), "not decided"),
        ((1.0,), "not decided"),
        ((), "not measured"),
    ],
)
def test_a_difference_counts_beyond_two_standard_errors(
    gains: tuple[float, ...], verdict: str, sglr: Any, size: Any
) -> None:
    psl, slr = (sglr.points.split(size.resnet, 8, alpha, 0.0, 1) for alpha in (0.0, 0.5))
    results = {}
    for seed, gain in enumerate(gains, start=1):
        results[replace(psl, seed=seed)] = {"accuracy": 0.6}
        results[replace(slr, seed=seed)] = {"accuracy": 0.6 + gain / 100}
    told = sglr.claims.claims(results, size, [])[0]
    assert told.startswith(f"{verdict}: SplitLr (alpha 0.5) beats PSL with 8 clients")
    if gains:
        assert f"{sum(gains) / len(gains):+.1f} points" in told


@pytest.mark.parametrize(
    ("setting", "printed"),
    [
        ((10, 2.0, 0.0, "always"), 34.37),
        ((15, 2.0, 0.0, "always"), None),
        ((20, 0.5, 0.5, "always"), 87.48),
        ((20, 1.0, 1.0, "always"), 60.67),
        ((8, 1.0, 1.0, "initial-40"), 84.97),
        ((6, 1.0, 1.0, "always"), None),
        ((3, 0.0, 0.0, "always"), None),
    ],
)
def test_the_papers_figures_stand_where_it_has_them(
    setting: tuple[int, float, float, str], printed: float | None, sglr: Any
) -> None:
    assert sglr.paper.accuracy(*setting) == printed


@pytest.mark.parametrize(
    ("fast", "plain", "steps", "said"),
    [
        ((0.4, 0.41, 0.39), 0.7, 125, "confirmed"),
        ((0.69, 0.68, 0.7), 0.7, 125, "refuted"),
        ((0.69, 0.68, 0.7), 0.7, 80, "not decided"),  # so few steps refute nothing
        ((0.6, 0.7, 0.65), 0.7, 125, "not decided"),
        ((math.nan, math.nan, 0.7), 0.7, 80, "confirmed"),
        ((math.nan, 0.69, 0.69), 0.7, 125, "not decided"),
        ((0.69, 0.68, 0.7), math.nan, 125, "not decided"),  # it is not PSL that is asked about
        ((), 0.7, 125, "not measured"),
    ],
)
def test_alpha_2_diverges_by_a_test_and_by_its_own_runs(
    fast: tuple[float, ...], plain: float, steps: int, said: str, sglr: Any, size: Any
) -> None:
    sized = replace(size, epochs=1, batch=1, samples=steps)
    results = {}
    for seed, accuracy in enumerate(fast, start=1):
        for alpha, value in ((2.0, accuracy), (0.0, plain)):
            point = sglr.points.split(size.resnet, 8, alpha, 0.0, seed)
            results[point] = {"accuracy": value}
    told = next(t for t in sglr.claims.claims(results, sized, []) if "alpha 2" in t)
    assert told.startswith(f"{said}: alpha 2 diverges with 8 clients")
    if fast:
        own = sum(map(math.isnan, fast))
        assert f"{own} of its 3 runs without a finite loss, after {steps} steps" in told


def test_leakage_is_judged_where_training_differs(sglr: Any, size: Any) -> None:
    results = {}
    for seed in (1, 2, 3):
        for phi in sglr.points.LEAKING_PHIS:
            point = sglr.points.leaking(size, phi, seed)
            results[point] = {"bce": 0.3 + 0.01 * point.phi + 0.001 * seed}
    told = next(t for t in sglr.claims.claims(results, size, []) if "decoder" in t)
    assert told.startswith("confirmed")
    assert "in 3 of 3 steps" in told
    assert "(phi 0)" in told
    assert "(phi 0.25)" not in told


def test_notes_say_who_is_active(sglr: Any) -> None:
    note = sglr.notes.active_note((1, 6), (0.25, 1.0))
    assert "of 1 client: 0 with phi 0.25, 1 with phi 1; 6 clients: 1 with phi 0.25, 6" in note
