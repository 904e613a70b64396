"""The DAB benchmark at a tiny size: what is run, what is kept, what is concluded."""

from __future__ import annotations

import json
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
DAB = {"loss": [0.40, 0.30, 0.20, 0.25], "accuracy": [0.8, 0.9, 0.91, 0.92]}
CSA = {"loss": [0.50, 0.30, 0.25, 0.20], "accuracy": [0.7, 0.9, 0.90, 0.95]}
KEPT = {"late": [0] * 4, "asked": [4] * 4, "shards": [9] * 4, "staleness": [0] * 4}


@pytest.fixture(scope="module")
def dab() -> Iterator[Any]:
    """The benchmark's modules, which lie outside the package."""
    before = list(sys.path)
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import dab
        import dab_claims
        import dab_report

        yield SimpleNamespace(main=dab, claims=dab_claims, report=dab_report)
    finally:
        sys.path[:] = before


@pytest.fixture
def tiny(dab: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A size of a few seconds, on the embedded digits."""
    monkeypatch.setattr(dab.main, "RESULTS", tmp_path)
    return replace(
        dab.main.QUICK, name="tiny", data="digits", samples=240, shard=10, deadline_s=1.0,
        rounds=2, subsets=(1, 2), benchmark=2, trained=(2, 2), pi1_shard=5,
    )  # fmt: skip


def errors(sb: float, flops: float) -> dict[str, list[dict[str, Any]]]:
    """Figure 1 of two devices and three seeds that hardly differ."""
    return {
        name: [
            {"sb": {"2": 2 * sb + seed / 1e3, "8": sb}, "flops": flops,
             "flops_absolute": 0.8, "actual_s": 1.0}
            for seed in range(3)
        ]
        for name in ("host", "pi3")
    }  # fmt: skip


def curves(late: int = 0) -> dict[tuple[str, str], list[dict[str, Any]]]:
    kept = {**KEPT, "late": [late, 0, 0, 0]}
    return {
        (cluster, scheme): [
            {key: [each * (1 + seed / 1e4) for each in values] for key, values in figures.items()}
            | kept
            for seed in range(3)
        ]
        for cluster in ("two", "four")
        for scheme, figures in (("dab", DAB), ("csa", CSA))
    }


def test_every_cluster_is_a_topology(dab: Any, tiny: Any) -> None:
    for cluster, boards in dab.main.CLUSTERS.items():
        for scheme in (*dab.main.SCHEMES, "dab-dynamic"):
            text = dab.main.topology(tiny, cluster, scheme, 1, 3)
            plan = resolve(loads(text, file="cell.yaml"))
            assert [seat.role for seat in plan.seats] == ["orchestrator"] + ["learner"] * len(
                boards
            )
            assert plan.topology.train.rounds == 3
    assert dab.main.QUICK.samples / dab.main.QUICK.shard == 120
    assert dab.main.FULL.samples / dab.main.FULL.shard == 120
    assert dab.main.DEADLINE_ROUNDS >= 20


def test_a_cell_is_measured_once(dab: Any, tiny: Any) -> None:
    measured: list[int] = []
    for _ in range(2):
        kept = dab.main.cell(tiny, "key", lambda: measured.append(1) or {"n": len(measured)})
        assert kept == {"n": 1}
    assert len(measured) == 1


def test_one_device_of_figure_1(dab: Any, tiny: Any) -> None:
    cell = json.loads(json.dumps(dab.main.benchmark_errors(tiny, "pi3", 1)))
    assert set(cell["sb"]) == {"1", "2"}
    assert cell["slowdown"] > 1
    assert all(
        math.isfinite(each) and each >= 0
        for each in (*cell["sb"].values(), cell["flops"], cell["flops_absolute"])
    )


def test_one_run_of_figures_2_and_3(dab: Any, tiny: Any, tmp_path: Path) -> None:
    cell = dab.main.learning(tiny, "two", "csa", 1)
    assert [len(cell[key]) for key in ("loss", "accuracy", "late", "asked")] == [2] * 4
    assert all(late <= asked for late, asked in zip(cell["late"], cell["asked"], strict=True))


def test_verdicts_follow_the_figures(dab: Any) -> None:
    found = dab.claims.claims(errors(0.05, 0.40), curves(), 4, [1, 0, 2])
    verdicts = [claim.verdict for claim in found]
    falls, less, alone, close_loss, close_accuracy, ahead, ahead_too, two, four, kept, back = (
        verdicts
    )
    assert {falls, less, alone, ahead, ahead_too, two, four, kept, back} == {"confirmed"}
    assert {close_loss, close_accuracy} == {"refuted"}
    assert "88% less" in found[1].measured
    worse = dab.claims.claims(errors(0.40, 0.05), curves(late=4), 4, [1, 0, 6])
    assert worse[1].verdict == worse[-1].verdict == worse[-2].verdict == "refuted"


def test_the_report_holds_claims_tables_and_pictures(dab: Any, tmp_path: Path) -> None:
    figures = dab.report.report(tmp_path, "quick", 4, errors(0.05, 0.40), curves(), [1, 0, 2])
    assert figures["sb_reduction"] == pytest.approx(1 - 0.05 / 0.40)
    assert figures["missed_deadlines"] == 0
    assert (figures["deadlines_kept"], figures["recovers"]) == (True, True)
    text = (tmp_path / "quick.md").read_text()
    assert text.count("| confirmed |") == 9
    for name in ("quick-fig1.png", "quick-fig2.png", "quick-fig3.png"):
        assert f"({name})" in text
        assert (tmp_path / name).stat().st_size > 5000
    rows = (tmp_path / "quick-fig23.csv").read_text().splitlines()
    assert len(rows) == 1 + 4 * 3 * 4


@pytest.mark.parametrize(
    ("missed", "longest"), [([], 0), ([False, True, True, False, True], 2), ([True] * 3, 3)]
)
def test_rounds_to_recover(dab: Any, missed: list[bool], longest: int) -> None:
    assert dab.main._longest(missed) == longest
