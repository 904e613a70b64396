"""The FPL benchmark at a tiny size: what is run, what is kept, what is concluded."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgenet.node.plan import resolve
from edgenet.topology import load

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def fpl() -> Iterator[Any]:
    """The benchmark's modules, which lie outside the package."""
    before = list(sys.path)
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import common
        import fpl
        import fpl_claims
        import fpl_report
        import fpl_volumes

        yield SimpleNamespace(
            main=fpl, claims=fpl_claims, report=fpl_report, volumes=fpl_volumes, common=common
        )
    finally:
        sys.path[:] = before


@pytest.fixture
def tiny(fpl: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A size of a few seconds, on the embedded digits."""
    monkeypatch.delenv("EDGENET_DATA", raising=False)
    monkeypatch.setattr(fpl.main, "OUT", tmp_path)
    return fpl.main.Size(
        name="tiny", model="leaf-cnn-w4", train=40, test=20, epochs=2, rates=(0.001, 0.002)
    )


def made_up(rate: float, seed: int, *, least: int = 2, accuracy: float = 0.5) -> dict[str, Any]:
    """A run's figures; the loss is least in epoch `least`."""
    losses = [1.0 + abs(epoch - least) + rate for epoch in range(1, 5)]
    return {
        "case": "", "rate": rate, "seed": seed, "test_loss": losses,
        "accuracy": [accuracy + 0.01 * seed] * 4, "epoch_bytes": [100] * 4, "parameters": 10,
        "cpu_s": 4.0, "network_s": 8.0,
        "junction": {f"junction.cam{i}": [1.0, 0.5 if i == 2 else 2.0] for i in range(5)},
    }  # fmt: skip


def test_every_case_is_a_topology(fpl: Any, tiny: Any) -> None:
    schemes = set()
    broken = [words for _, words in fpl.main.NOISE.values()]
    for settings in [*fpl.main.CASES.values(), *broken]:
        plan = resolve(load(fpl.main.FILE, fpl.main.changes(settings, tiny, 0.001, 1)))
        assert plan.topology.train.optimizer.name == "adam"
        schemes.add(plan.scheme.name)
    assert schemes == {"sl-vertical", "transfer-images", "gfl", "fpl"}


def test_parameters_are_those_of_the_paper(fpl: Any, tiny: Any) -> None:
    found = fpl.main.parameters("leaf-cnn-w4")
    assert set(found) == set(fpl.main.CASES)
    assert found["Transfer images"] == min(found.values())


@pytest.mark.processes
def test_an_epoch_crosses_the_shaped_cell(
    fpl: Any, tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fpl.main.os, "geteuid", lambda: 1000)  # without namespaces
    found = fpl.main.shaped(fpl.main.CASES["SL"], tiny, 0.001)
    per_sample, _ = fpl.volumes.formulas(tiny.model, 10)["SL"]
    (rate,) = {
        fpl.main.between(fpl.main.load(fpl.main.FILE), f"cam{i}", "edge").rate_bps for i in range(5)
    }
    assert (found.samples, found.shaping) == (tiny.train, "paced")
    assert found.modelled_s == pytest.approx(8 * per_sample * tiny.train / rate, rel=0.02)
    assert found.measured_s > 0.02  # two steps, each with the cell's delay there and back


@pytest.mark.processes
def test_a_run_is_kept_and_not_made_again(fpl: Any, tiny: Any, tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    made = fpl.main.Store(file).get(tiny, "SL", fpl.main.CASES["SL"], 0.001, 1)
    assert len(made["test_loss"]) == len(made["accuracy"]) == tiny.epochs
    per_sample, _ = fpl.volumes.formulas(tiny.model, 10)["SL"]
    assert made["epoch_bytes"][0] == pytest.approx(per_sample * tiny.train, rel=0.02)
    (line,) = file.read_text().splitlines()
    assert json.loads(line) == made
    assert fpl.main.Store(file).get(tiny, "SL", ("no.such=key",), 0.001, 1) == made


def test_the_rate_of_least_loss_goes_on_and_everything_is_written(
    fpl: Any, tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def run(settings: Any, size: Any, rate: float, seed: int) -> dict[str, Any]:
        asked.append((settings, rate, seed, size.epochs))
        return made_up(-rate if settings == fpl.main.CASES["SL"] else rate, seed)

    def kept(settings: Any, size: Any, rate: float, seed: int) -> dict[str, Any]:
        return {k: v for k, v in run(settings, size, rate, seed).items()
                if k not in ("case", "rate", "seed")}  # fmt: skip

    monkeypatch.setattr(fpl.main, "run", kept)
    crossing = fpl.report.Crossing(40, "relay", 2.0, 3.0)
    monkeypatch.setattr(fpl.main, "shaped", lambda *_: crossing)
    monkeypatch.setattr(fpl.main, "parameters", lambda _: dict.fromkeys(fpl.main.CASES, 7))
    figures = fpl.main.measure(tiny)
    least = {
        settings: 0.002 if case == "SL" else 0.001 for case, settings in fpl.main.CASES.items()
    } | {words: 0.001 for _, words in fpl.main.NOISE.values()}
    for settings, rate, seed, epochs in asked:
        if seed == fpl.main.TUNING_SEED:
            assert epochs == 1
        else:
            assert (rate, epochs) == (least[settings], tiny.epochs)
    assert fpl.main.TUNING_SEED not in fpl.main.SEEDS
    out = tmp_path / "tiny-digits"
    assert len(asked) == len(set(asked)) == 6 * (2 + 3) + 2 * 3
    assert figures["report"] == str(out / "README.md")
    for name in ("fig5.png", "fig6.png", "bytes.png", "noise.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    report = (out / "README.md").read_text(encoding="utf-8")
    assert fpl.common.machine() in report
    assert "| SL | 2.00 | 3.00 | 1.50 |" in report
    with (out / "table.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["case"] for row in table] == list(fpl.main.CASES)
    assert {row["epochs"] for row in table} == {"2"}


def test_a_case_has_converged_at_its_least_loss(fpl: Any) -> None:
    run = made_up(0.1, 1, least=3)
    assert fpl.claims.converged(run) == 3
    assert fpl.claims.volume(run) == 300
    summed = fpl.report.summed_up([made_up(0.1, seed, least=4) for seed in (1, 2)])
    assert (summed["epochs"], summed["unfinished"]) == (4, 2)
    assert summed["cpu_s"] == pytest.approx(4.0)
    assert summed["accuracy"] == pytest.approx(0.515)


def test_claims_are_decided_over_the_seeds(fpl: Any) -> None:
    def runs(accuracy: float, least: int) -> list[dict[str, Any]]:
        return [made_up(0.1, seed, accuracy=accuracy, least=least) for seed in (1, 2, 3)]

    results = {case: runs(0.5, 3) for case in fpl.main.CASES}
    results["Transfer images"] = runs(0.4, 4)
    results["FPL: J->F2"] = runs(0.6, 1)
    noise = {"seen": runs(0.5, 3), "once": [made_up(0.1, 1)]}
    told = fpl.claims.claims(results, 10, noise)
    assert told["Transfer images is more accurate than FPL: J->F2"].startswith("refuted: -20.0")
    assert told["FPL: J->F2 is more accurate than SL"].startswith("confirmed: +10.0")
    assert told["SL is more accurate than gFL: F1/F2"].startswith("not decided: +0.0")
    assert told["FPL converges in fewer epochs than SL"].startswith("confirmed: +2.0 epochs")
    claim = "a source of noise gets less of the junction's weight"
    assert told[f"{claim}, seen"].startswith("confirmed: +75.0 % below")
    assert told[f"{claim}, once"].startswith("not decided: +75.0 % below")
    weak = {case: runs(0.1, 3) for case in fpl.main.CASES}
    assert list(fpl.claims.claims(weak, 10, {})) == ["claims"]


@pytest.mark.parametrize(
    ("gains", "said"),
    [((1.0, 1.2, 0.8), "confirmed"), ((-1.0, -1.2, -0.8), "refuted"),
     ((3.0, -2.0, 0.5), "not decided"), ((1.0,), "not decided")],
)  # fmt: skip
def test_a_gain_counts_beyond_its_error(gains: tuple[float, ...], said: str, fpl: Any) -> None:
    assert fpl.common.verdict(gains) == said


def test_bytes_cross_where_the_formulas_do(fpl: Any, tmp_path: Path) -> None:
    rows = {case: {"epochs": 2.0} for case in fpl.main.CASES}
    rows["gFL: F1/F2"] = {"epochs": 4.0}
    known = fpl.volumes.formulas("leaf-cnn-w4", 10)
    found = fpl.volumes.bytes_over_size(tmp_path / "bytes.png", "leaf-cnn-w4", 10, rows)
    at = found["FPL: J->F1 = gFL: F1/F2 to convergence at samples"]
    assert at == 2 * found["FPL: J->F1 = gFL: F1/F2 per epoch at samples"]
    sent = fpl.volumes.sent(known, rows, at)
    assert sent["FPL: J->F1"] == pytest.approx(sent["gFL: F1/F2"], rel=0.01)
