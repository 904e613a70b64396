"""The mcPipe benchmark at a tiny size: its cells, what it goes on from, what it writes."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgenet.node.plan import resolve
from edgenet.topology.load import loads

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    """The benchmark's modules, which lie outside the package."""
    before = list(sys.path)
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import mcpipe
        import mcpipe_cells
        import mcpipe_report

        yield SimpleNamespace(main=mcpipe, cells=mcpipe_cells, report=mcpipe_report)
    finally:
        sys.path[:] = before


@pytest.fixture
def size(bench: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two schemes in one figure, half a second each."""
    monkeypatch.delenv("EDGENET_DATA", raising=False)
    monkeypatch.setattr(bench.cells, "LINKS", {"Ethernet": bench.cells.LINKS["Ethernet"]})
    monkeypatch.setattr(bench.report, "LINKS", bench.cells.LINKS)
    return bench.cells.Size(
        name="tiny",
        settings=(bench.cells.Setting(number=2, workers=2, data="digits"),),
        model="alexnet-w4",
        device="host",
        samples=32,
        test=16,
        epochs=2,
        seeds=(1, 2),
        batch=8,
        lr=0.05,
        timed=3,
    )


def test_every_cell_is_a_topology_and_equal_numbers_are_one_training(bench: Any) -> None:
    full = bench.main.size_of(full=True)
    assert len(full.seeds) == 10
    quick = bench.main.size_of(full=False)
    names = {
        (setting.number, scheme): bench.cells.training(quick, setting, scheme, "WiFi", 2)[0]
        for setting in quick.settings
        for scheme in quick.schemes
    }
    for setting in quick.settings:
        of = {scheme: names[setting.number, scheme] for scheme in quick.schemes}
        assert of["mcpipe"] == of["mcpipe-adaptive"] == of["pipedream"]
        assert of["local"] == of["model-parallel"]
        assert of["gpipe"] == of["1f1b"]
        assert len(set(of.values())) == 6
    for scheme in quick.schemes:
        text = bench.cells.topology(quick, quick.settings[0], scheme, "WiFi", timed=64)
        assert resolve(loads(text, file="cell.yaml")).topology.train.scheme == scheme
    first = bench.cells.training(quick, quick.settings[0], "mcpipe", "WiFi", 1)[0]
    assert first not in names.values()


@pytest.mark.processes
def test_a_tiny_experiment_is_written_and_gone_on_from(
    bench: Any, size: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    took = {"first_s": 1.0, "step_s": 0.5, "samples": 8}
    cells, setting = bench.cells.Cells(tmp_path / "cells", size), size.settings[0]
    for scheme in size.schemes:
        if scheme != "mcpipe":  # one is measured, of the others this suite runs enough
            cells.keep(bench.cells.timing(setting, scheme, "Ethernet"), took)
    for number, (name, how) in enumerate(bench.cells.wanted(size).items()):
        trained = name.endswith("float64") or "-pipedream-0" in name
        accuracy = bench.cells.train(*how) if trained else [0.2, 0.01 * number]
        cells.keep(name, {"accuracy": accuracy})
    bench.cells.time_all(size, cells)
    monkeypatch.setattr(bench.cells, "clock", None)  # nothing is missing now
    monkeypatch.setattr(bench.cells, "train", None)
    bench.cells.time_all(size, cells)
    bench.cells.train_all(size, bench.cells.Cells(tmp_path / "cells", size))
    measured = cells.get(bench.cells.timing(setting, "mcpipe", "Ethernet"))
    assert measured["samples"] == 8
    assert 0 < measured["step_s"] < 5

    told = bench.report.write(tmp_path, size, cells, "the tables")
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert all(f"- {claim}: {said}" in text for claim, said in told.items())
    alike = told["Fig. 2, Ethernet: mcPipe is as accurate as PipeDream, epoch by epoch"]
    assert alike.startswith("confirmed: in float64 mcpipe within 0.0, mcpipe-adaptive within 0.0")
    slowest = told["Fig. 2, Ethernet: data-parallel takes longest"]
    assert slowest.startswith(("confirmed", "refuted"))
    with (tmp_path / "accuracy.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(size.schemes) * len(size.seeds) * size.epochs
    whose = {(row["scheme"], row["seed"]): row["trained"] for row in rows}
    assert [whose["mcpipe", seed] for seed in "12"] == ["mcpipe", "pipedream"]
    assert [whose["mcpipe-adaptive", seed] for seed in "12"] == ["pipedream"] * 2
    assert "mcpipe (seed 1; else pipedream's), mcpipe-adaptive (pipedream's)." in text
    assert bench.report.label(size, "greedy") == "greedy"
    assert {float(row["minutes"]) for row in rows if row["scheme"] == "local"} == {
        round((1 + 3 * 0.5) / 60, 4), round(2 * (1 + 3 * 0.5) / 60, 4),
    }  # fmt: skip
    assert (tmp_path / "fig2.png").read_bytes().startswith(b"\x89PNG")


def test_a_curve_is_straight_between_epochs_and_stays_at_its_end(bench: Any) -> None:
    curve = bench.cells.Curve(10.0, ((0.5, 0.7), (0.3, 0.5)))
    assert curve.at(5.0, 0) == pytest.approx(0.3)
    assert curve.at(15.0, 1) == pytest.approx(0.4)
    assert curve.at(99.0, 0) == pytest.approx(0.7)
    assert curve.end_s == 20.0
    assert curve.mean == [pytest.approx(0.4), pytest.approx(0.6)]
