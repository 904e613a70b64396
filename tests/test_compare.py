"""Comparisons: figures and tables on hand-made trials, and the command on small runs."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from small_runs import topology

from edgenet.cli.main import main
from edgenet.results.compare import COLUMNS, Comparison, Step, Trial, default_target, pareto
from edgenet.results.compare_tables import latex, markdown, runs_csv
from edgenet.topology.load import dump

BY_KEY = {column.key: column for column in COLUMNS}


def made_up(scheme: str, seed: int, accuracies: list[float | None], byte: int) -> Trial:
    steps = tuple(
        Step(round=i, train_s=2.0 * i, sent_bytes=byte * i, energy_j=5.0 * i, accuracy=accuracy)
        for i, accuracy in enumerate(accuracies, 1)
    )
    return Trial(
        scheme=scheme,
        seed=seed,
        folder=f"runs/{scheme}-{seed}",
        steps=steps,
        accuracy=accuracies[-1],
        wall_s=10.0 + seed,
        sent_bytes=byte * len(accuracies),
        peak_node_bytes=None,
        energy_j=5.0 * len(accuracies),
        carbon_g=None,
    )


THREE = Comparison(
    topology="made-up",
    schemes=("fedavg", "a_b:x=1", "never-run"),
    trials=(
        made_up("fedavg", 1, [0.5, None, 0.9], 1_000_000),
        made_up("fedavg", 2, [0.5, 0.8, 0.7], 1_000_000),
        made_up("a_b:x=1", 1, [0.2, 0.3, 0.4], 500_000),
    ),
    target=0.8,
    baseline=0.1,
)


def test_the_cost_of_the_target_is_that_of_the_first_round_that_reached_it() -> None:
    spread = THREE.spread("fedavg", BY_KEY["target_s"])
    assert spread is not None
    assert spread.values == (6.0, 4.0)
    assert (spread.mean, spread.deviation) == (5.0, pytest.approx(2**0.5))
    assert THREE.spread("a_b:x=1", BY_KEY["target_s"]) is None
    assert THREE.best(BY_KEY["target_bytes"]) == 2_500_000


def test_the_best_mean_is_the_highest_accuracy_and_the_lowest_cost() -> None:
    assert THREE.best(BY_KEY["accuracy"]) == pytest.approx(0.8)
    assert THREE.best(BY_KEY["sent_bytes"]) == 1_500_000
    assert THREE.best(BY_KEY["carbon_g"]) is None


def test_markdown_shows_spread_emphasis_and_what_is_missing() -> None:
    lines = markdown(THREE).splitlines()
    assert lines[0].startswith("| scheme | accuracy (%) |")
    assert lines[2].startswith("| fedavg | **80.0 +- 14.1** | **5.0 +- 1.4** | **2.5 +- 0.7** |")
    assert lines[3].startswith("| a_b:x=1 | 40.0 | - | - | **11.0** | **1.5** | - |")
    assert lines[4].startswith("| (commonest class) | 10.0 | - |")
    assert "never-run" not in markdown(THREE)
    assert "80.0 % accuracy" in lines[-1] or any("80.0 % accuracy" in line for line in lines)


def test_a_target_that_only_some_seeds_reached_says_how_many() -> None:
    high = replace(THREE, target=0.85)
    assert "**6.0 (1 of 2)**" in markdown(high)


def test_small_figures_have_two_digits_and_busy_hosts_are_told() -> None:
    small = replace(THREE.trials[2], sent_bytes=41_000, late=True)
    told = markdown(replace(THREE, trials=(*THREE.trials[:2], small)))
    assert "| **0.041** |" in told
    assert "| 3.000 +- 0.000 |" in told
    assert "In 1 of 3 runs this host was too busy" in told
    assert "too busy" not in markdown(THREE)


def test_latex_escapes_names_and_uses_booktabs() -> None:
    text = latex(THREE)
    assert r"a\_b:x=1 & 40.0 & - &" in text
    assert r"fedavg & \textbf{80.0 $\pm$ 14.1} &" in text
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}"):
        assert text.count(rule) == 1
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    assert {line.count("&") for line in body.splitlines() if "&" in line} == {len(COLUMNS)}


def test_csv_has_a_line_for_every_run_in_si_units() -> None:
    first, second, third = csv.DictReader(runs_csv(THREE).splitlines())
    assert (first["scheme"], first["seed"], first["sent_bytes"]) == ("fedavg", "1", "3000000")
    assert second["target_s"] == "4.0"
    assert third["target_s"] == ""


def test_nobody_on_the_front_is_beaten_in_both() -> None:
    points = {"e": (9, 9), "c": (9, 1), "d": (5, 5), "b": (1, 9), "a": (1, 9)}
    assert pareto(points) == ("b", "a", "d", "c")
    assert THREE.front(BY_KEY["sent_bytes"]) == ("a_b:x=1", "fedavg")
    assert THREE.front(BY_KEY["wall_s"]) == ("a_b:x=1", "fedavg")
    assert pareto({}) == ()


def test_the_default_target_is_nine_tenths_of_the_best() -> None:
    assert default_target(THREE.trials) == pytest.approx(0.81)
    assert default_target(()) is None


@pytest.fixture
def small(tmp_path: Path) -> Path:
    file = tmp_path / "small.yaml"
    file.write_text(dump(topology("fedavg", 2, cut=1)), encoding="utf-8")
    return file


@pytest.mark.processes
def test_compare_runs_what_is_missing_and_nothing_twice(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["compare", str(small), "--out", str(out), "--format", "json"]
    assert main([*command, "--schemes", "fedavg"]) == 0
    assert list(json.loads(capsys.readouterr().out)["schemes"]) == ["fedavg"]
    (kept,) = (out / "runs").iterdir()

    assert main([*command, "--schemes", "fedavg,fedprox:mu_prox=0.5"]) == 0
    told = capsys.readouterr()
    assert "fedavg, seed 3: done before" in told.err
    found = json.loads(told.out)
    assert found == json.loads((out / "compare.json").read_text(encoding="utf-8"))
    assert {name: each["runs"] for name, each in found["schemes"].items()} == {
        "fedavg": 1,
        "fedprox:mu_prox=0.5": 1,
    }
    (new,) = set((out / "runs").iterdir()) - {kept}
    assert yaml.safe_load((new / "topology.yaml").read_text())["train"]["mu_prox"] == 0.5
    for name in (
        "compare.md",
        "compare.tex",
        "compare.csv",
        "curves.png",
        "pareto.png",
        "report.html",
    ):
        assert (out / name).stat().st_size > 100


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--schemes", "fedavg,nope"], "unknown scheme 'nope'"),
        (["--schemes", "fedavg:lr"], "'lr' is not KEY=VALUE"),
        (["--schemes", "fedavg:mu_prox=1"], "no key 'mu_prox' under scheme 'fedavg'"),
        (["--schemes", ","], "--schemes names none"),
        (["--schemes", "fedavg", "--seeds", "0"], "--seeds is 0"),
        (["--schemes", "fedavg", "--target", "90"], "--target is 90"),
    ],
)
def test_nothing_starts_before_everything_is_known_to_be_possible(
    more: list[str],
    sentence: str,
    small: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert main(["compare", str(small), "--out", str(out), *more]) == 2
    assert sentence in capsys.readouterr().err
    assert not out.exists()
