"""Comparisons: figures and tables on hand-made trials, and the command on small runs."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_runs import topology
from synthetic_run import fedavg

from edgenet.cli import compare, compare_files
from edgenet.cli.main import main
from edgenet.devices import PROFILES
from edgenet.errors import INTERRUPTED
from edgenet.launchers.outcome import Outcome
from edgenet.results.compare import COLUMNS, Comparison, default_target, pareto
from edgenet.results.compare_report import compare_html
from edgenet.results.compare_tables import latex, markdown, runs_csv
from edgenet.results.compare_trials import Step, Trial, trial
from edgenet.results.rounds import read_rounds
from edgenet.results.rundir import RunDir, write_json
from edgenet.results.write import write_all
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
        held_bytes=None,
        peak_node_bytes=None,
        energy_j=7.0 * len(accuracies),
        carbon_g=None,
        train_energy_j=5.0 * len(accuracies),
        train_carbon_g=None,
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
    assert THREE.best(BY_KEY["train_carbon_g"]) is None


def test_markdown_shows_spread_emphasis_and_what_is_missing() -> None:
    lines = markdown(THREE).splitlines()
    assert lines[0].startswith("| scheme | accuracy (%) |")
    assert lines[2].startswith("| fedavg | **80.0 +- 14.1** | **5.0 +- 1.4** | **2.5 +- 0.7** |")
    assert lines[3].startswith("| a_b:x=1 | 40.0 | - | - | **6.0** | **1.5** | - | - | **15** |")
    assert lines[4].startswith("| (commonest class) | 10.0 | - |")
    assert "never-run" not in markdown(THREE)
    assert "80.0 % accuracy" in lines[-1] or any("80.0 % accuracy" in line for line in lines)


def test_a_target_that_only_some_seeds_reached_says_how_many() -> None:
    """Both seeds of the other came later, but surely: it is the best."""
    other = replace(THREE.trials[2], steps=made_up("x", 1, [0.5, 0.5, 0.5, 0.9], 10).steps)
    high = replace(THREE, target=0.85, trials=(*THREE.trials[:2], other))
    assert "| 6.0 (1 of 2) |" in markdown(high)
    assert "| **8.0** |" in markdown(high)
    assert high.best(BY_KEY["target_s"]) == 8.0
    assert high.leaders(BY_KEY["target_s"]) == {"a_b:x=1"}
    alone = replace(THREE, target=0.85)
    assert alone.best(BY_KEY["target_s"]) is None
    for page in (markdown(alone), latex(alone), compare_html(alone, {})):
        assert "6.0 (1 of 2)" in page
        assert not re.search(r"(\*\*|<b>|textbf\{)6\.0 \(", page)


def two(first: list[float], second: list[float]) -> Comparison:
    """Final accuracies of two schemes, a value a seed."""
    trials = [
        made_up(name, seed, [accuracy], 1)
        for name, finals in (("a", first), ("b", second))
        for seed, accuracy in enumerate(finals, 1)
    ]
    return replace(THREE, schemes=("a", "b"), trials=tuple(trials), baseline=None)


@pytest.mark.parametrize(
    ("first", "second", "leaders"),
    [
        ([0.80, 0.82], [0.90, 0.92], {"b"}),
        ([0.80, 0.96], [0.90, 0.92], set()),  # the deviation of the second best is larger
        ([0.80, 0.82], [0.70, 0.94], set()),  # ... of the best
        ([0.80], [0.81], {"b"}),  # one run each: nothing is known of the spread
        ([0.80, 0.80], [0.80, 0.80], {"a", "b"}),
    ],
)
def test_nobody_leads_who_leads_by_less_than_the_spread(
    first: list[float], second: list[float], leaders: set[str]
) -> None:
    of = two(first, second)
    assert of.leaders(BY_KEY["accuracy"]) == leaders
    bold = {line.split(" | ")[0].strip("| ") for line in markdown(of).splitlines()[2:4]
            if line.split(" | ")[1].startswith("**")}  # fmt: skip
    assert bold == leaders


def summary(tmp_path: Path, **about: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Of a run that was never made: three rounds of a second, 0.2 s of each evaluation."""
    writer = fedavg(tmp_path)
    for name in ("server", "learner0", "learner1"):
        held = {"cpu_s": 0.9, "peak_weight_bytes": 4000, "peak_rss_bytes": 10**8, **about}
        writer.event(name, "resources", 4.0, 3, **held)
    found = write_all(tmp_path)
    return found, read_rounds(tmp_path / "rounds.csv")


def test_time_and_energy_are_those_of_training_alone(tmp_path: Path) -> None:
    """The learners idle from 0 to 1 s, in 3 x 0.2 s of evaluation, and 0.1 s at the end."""
    found, table = summary(tmp_path)
    one = trial("fedavg", "runs/one", found, table)
    assert one.wall_s == pytest.approx(4.1)
    assert one.train_s == pytest.approx(3 * 0.8)
    assert one.train_s == sum(row["train_s"] for row in table)
    assert one.energy_j == pytest.approx(found["energy_kwh"] * 3.6e6)
    pi4 = PROFILES["pi4"]
    assert pi4.idle_w is not None
    assert one.energy_j - one.train_energy_j == pytest.approx(2 * pi4.idle_w * 1.7)
    assert one.train_carbon_g == pytest.approx(
        found["carbon_g"] * one.train_energy_j / one.energy_j
    )
    assert one.steps[-1].energy_j == pytest.approx(one.train_energy_j)
    assert one.steps[0].energy_j == pytest.approx(one.train_energy_j / 3)


def test_what_schemes_hold_is_of_the_node_with_the_most_and_unknown_where_one_is(
    tmp_path: Path,
) -> None:
    found, table = summary(tmp_path / "unknown")
    assert trial("fedavg", "x", found, table).held_bytes is None
    assert "| - | **100** |" in markdown(
        replace(THREE, trials=(trial("fedavg", "x", found, table),))
    )
    found, table = summary(tmp_path / "known", peak_stash_bytes=600)
    found["nodes"]["learner1"]["peak_stash_bytes"] = 7000
    assert trial("fedavg", "x", found, table).held_bytes == 11_000


def test_the_notes_say_what_is_in_each_column() -> None:
    told = " ".join(markdown(THREE).splitlines())
    for column in ("To target", "Time", "Sent", "Weights + stash", "Node memory", "Energy and CO2"):
        assert f"{column}: " in told
    assert "first crossing" in told
    assert "larger deviation" in told
    assert "Not every scheme ran with all 2 seeds: a_b:x=1 with 1." in told
    single = markdown(replace(THREE, trials=THREE.trials[::2]))
    assert "deviation" not in single
    assert "Not every scheme" not in single


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
    assert (first["train_s"], first["wall_s"]) == ("6.0", "11.0")
    assert (first["train_energy_j"], first["energy_j"]) == ("15.0", "21.0")
    assert second["target_s"] == "4.0"
    assert third["target_s"] == ""


def test_nobody_on_the_front_is_beaten_in_both() -> None:
    points = {"e": (9, 9), "c": (9, 1), "d": (5, 5), "b": (1, 9), "a": (1, 9)}
    assert pareto(points) == ("b", "a", "d", "c")
    assert THREE.front(BY_KEY["sent_bytes"]) == ("a_b:x=1", "fedavg")
    assert THREE.front(BY_KEY["train_s"]) == ("fedavg",)
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
    small: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    command = ["compare", str(small), "--out", str(out), "--format", "json", "--schemes"]
    assert main([*command, "fedavg"]) == 0
    assert list(json.loads(capsys.readouterr().out)["schemes"]) == ["fedavg"]
    (kept,) = (out / "runs").iterdir()

    assert main([*command, "fedprox:mu_prox=0.5"]) == 0
    told = capsys.readouterr()
    assert "left out" not in told.err
    found = json.loads(told.out)
    assert found == json.loads((out / "compare.json").read_text(encoding="utf-8"))
    both = {"fedavg": 1, "fedprox:mu_prox=0.5": 1}
    assert {name: each["runs"] for name, each in found["schemes"].items()} == both
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

    monkeypatch.setattr(compare_files, "draw", lambda *_: [])
    assert main([*command, "fedavg"]) == 0
    told = capsys.readouterr()
    assert "fedavg, seed 3: done before" in told.err
    assert list(json.loads(told.out)["schemes"]) == ["fedprox:mu_prox=0.5", "fedavg"]
    with (out / "compare.csv").open(encoding="utf-8") as file:
        assert [row["scheme"] for row in csv.DictReader(file)] == ["fedprox:mu_prox=0.5", "fedavg"]

    stopped = Outcome(exit_code=INTERRUPTED, run=RunDir(kept), summary={}, error=None)
    monkeypatch.setattr(compare, "_run", lambda *_: stopped)
    assert main([*command, "fedavg", "--set", "train.rounds=1"]) == INTERRUPTED
    told = capsys.readouterr()
    left = "other settings, or cannot: fedprox:mu_prox=0.5 (seed 3); fedavg (seed 3)\n"
    assert told.err.index(left) < told.err.index("1/1 fedavg, seed 3 ...")

    emulated = RunDir(kept).run() | {"launcher": "namespaces"}
    write_json(RunDir(kept).run_json, emulated)
    assert main([*command, "fedavg"]) == INTERRUPTED
    assert "other settings, or cannot: fedavg (seed 3)\n" in capsys.readouterr().err


def test_a_table_that_no_comparison_wrote_is_refused_before_anything_starts(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "compare.csv").write_text("scheme,seed\nfedavg,many\n", encoding="utf-8")
    assert main(["compare", str(small), "--out", str(tmp_path), "--schemes", "fedavg"]) == 2
    assert "compare.csv:2: no scheme, seed and folder" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


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
