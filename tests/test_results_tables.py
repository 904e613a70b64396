from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from synthetic_run import START_S, Writer, fedavg

from edgenet.errors import InputError
from edgenet.results import tensorboard
from edgenet.results.events import run_events
from edgenet.results.rounds import COLUMNS, round_table, rounds_csv
from edgenet.results.tally import Tally
from edgenet.results.write import write_all


def table_of(writer: Writer) -> list[dict[str, Any]]:
    return round_table(Tally(run_events(writer.run)))


def test_a_round_has_its_figures(tmp_path: Path) -> None:
    first, second, _ = table_of(fedavg(tmp_path, lost="learner1"))
    assert first["t_s"] == pytest.approx(2.0)
    assert first["wall_s"] == pytest.approx(1.0)
    assert first["train_s"] == pytest.approx(0.8)
    assert first["loss"] is None  # it was NaN
    assert first["accuracy"] == pytest.approx(0.6)
    assert (first["active"], second["active"]) == (2, 1)
    assert (first["faults"], second["faults"]) == (0, 1)
    assert first["payload_bytes"] == 4000
    assert first["overhead_bytes"] == 80
    assert first["drift"] == 0.25


def test_csv_has_the_columns_and_empty_cells_for_what_is_missing(tmp_path: Path) -> None:
    text = rounds_csv(table_of(fedavg(tmp_path)))
    rows = list(csv.DictReader(text.splitlines()))
    assert text.splitlines()[0] == ",".join([*COLUMNS, "drift", "schema_version"])
    assert [row["round"] for row in rows] == ["1", "2", "3"]
    assert [row["loss"] for row in rows] == ["", "0.5", "0.3333333333333333"]
    assert rows[0]["test_loss"] == ""


def test_a_round_reported_in_two_parts_is_one_row(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.span("server", "wait", 0.0, 1.0, 1)
    writer.event("server", "round", 1.0, 1, loss=0.5)
    writer.event("server", "round", 1.5, 1, accuracy=0.9)
    (row,) = table_of(writer)
    assert (row["loss"], row["accuracy"], row["wall_s"]) == (0.5, 0.9, 1.5)


def test_the_pause_before_a_resumed_run_is_no_part_of_a_round(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.event("server", "start", 0.0)
    writer.span("server", "wait", 0.5, 0.5, 1)
    writer.event("server", "round", 1.0, 1, loss=0.5)
    writer.event("server", "start", 100.0)
    writer.span("server", "wait", 101.0, 0.5, 2)
    writer.event("server", "round", 102.0, 2, loss=0.4)
    assert [row["wall_s"] for row in table_of(writer)] == pytest.approx([0.5, 1.0])


def test_active_may_be_a_count_or_missing(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.event("server", "round", 1.0, 1, active=4)
    writer.event("server", "round", 2.0, 2)
    assert [row["active"] for row in table_of(writer)] == [4, None]


def test_write_all_leaves_valid_files_and_may_be_repeated(tmp_path: Path) -> None:
    writer = fedavg(tmp_path, lost="learner1")
    writer.raw("learner1", '{"e":"span","t":')
    summary = write_all(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert write_all(tmp_path) == summary
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert before == after
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {"summary.json", "rounds.csv", "trace.json", "report.html", "tensorboard"}
    assert not [name for name in names if name.startswith(".")]


def refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def test_json_stays_json_when_the_loss_is_not_a_number(tmp_path: Path) -> None:
    writer = fedavg(tmp_path)
    writer.event("server", "round", 9.0, 4, loss=float("nan"))
    summary = write_all(tmp_path)
    assert summary["loss"] is None
    for name in ("summary.json", "trace.json"):
        json.loads((tmp_path / name).read_text(), parse_constant=refuse)


def test_a_run_of_which_nothing_is_left_gets_its_files(tmp_path: Path) -> None:
    assert write_all(tmp_path)["rounds"] == 0
    assert "nothing was recorded" in (tmp_path / "report.html").read_text()


def test_the_report_needs_no_network_and_shows_names_as_text(tmp_path: Path) -> None:
    writer = fedavg(tmp_path)
    writer.event("<b>evil", "start", 0.0, role="<script>alert(1)</script>")
    write_all(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "http" not in page
    assert "<script" not in page
    assert "&lt;b&gt;evil" in page


def test_tensorboard_reads_the_figures_back(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_all(fedavg(tmp_path).run)
    write_all(tmp_path)
    read = EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    assert set(read.Tags()["scalars"]) >= {"train/loss", "test/accuracy", "scheme/drift"}
    accuracy = read.Scalars("test/accuracy")
    assert [point.step for point in accuracy] == [1, 2, 3]
    assert [point.value for point in accuracy] == pytest.approx([0.6, 0.7, 0.8])
    assert accuracy[0].wall_time == pytest.approx(START_S + 2.0)
    assert [point.step for point in read.Scalars("train/loss")] == [2, 3]


def test_without_the_extra_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorboard, "available", lambda: False)
    with pytest.raises(InputError, match=r"pip install edgenet\[tensorboard\]"):
        tensorboard.write_tensorboard(tmp_path / "tensorboard", [], 0.0)
    write_all(fedavg(tmp_path).run)
    assert not (tmp_path / "tensorboard").exists()
