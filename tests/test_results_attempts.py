"""Results of a run that was stopped in its third round, and resumed a day later after the first."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from synthetic_run import START_S, Writer, about, fedavg

from edgenet.cli.show import print_summary
from edgenet.launchers import resuming
from edgenet.launchers.resuming import Point
from edgenet.results.events import node_events
from edgenet.results.live import LiveView
from edgenet.results.rounds import read_rounds
from edgenet.results.rundir import write_json
from edgenet.results.write import write_all
from edgenet.web.state import Story

DAY_S = 86400.0
ATTEMPTS = [{"started": "x", "after": 0}, {"started": "y", "after": 1, "exit_code": 0}]


def again(writer: Writer, node: str) -> None:
    """Rounds 2 and 3 once more, a day later: 0.5 s of setting up, then a second each."""
    device = "host" if node == "server" else "pi4"
    writer.event(node, "start", DAY_S, role=node[:6], device=device, slowdown=2.0, pid=2)
    writer.event(node, "resumed", DAY_S, after=1)
    for number in (2, 3):
        start = DAY_S + 0.5 + (number - 2)
        writer.span(node, "compute", start, 0.5, number)
        if node == "server":
            writer.message("server", "learner0", number, start + 0.5, at="server", payload=5000)
            writer.event(node, "round", start + 1.0, number, loss=0.5, accuracy=0.75)
    writer.event(node, "end", DAY_S + 2.6, 3, status="done")


@pytest.fixture
def resumed(tmp_path: Path) -> Writer:
    writer = fedavg(tmp_path, rounds=3)
    for node in ("server", "learner0", "learner1"):
        again(writer, node)
    write_json(writer.run.run_json, about(2, rounds=3, attempts=ATTEMPTS))
    return writer


def test_a_round_that_was_computed_twice_counts_once_and_all_of_it_is_paid(
    resumed: Writer, tmp_path: Path
) -> None:
    once = write_all(fedavg(tmp_path / "once", rounds=3).run)
    summary = write_all(resumed.run)
    rows = read_rounds(resumed.run.rounds)
    assert [row["round"] for row in rows] == [1, 2, 3]
    assert [row["accuracy"] for row in rows[1:]] == [0.75, 0.75]
    assert [row["wall_s"] for row in rows[1:]] == [1.0, 1.0]
    first = read_rounds(tmp_path / "once" / "rounds.csv")
    assert rows[0] == first[0]
    assert rows[1]["payload_bytes"] == 5000
    assert summary["rounds"] == 3
    assert summary["attempts"] == 2
    lost = sum(row["payload_bytes"] + row["overhead_bytes"] for row in first[1:])
    assert summary["bytes"]["lost"] == lost
    assert summary["bytes"]["total"] == once["bytes"]["total"] + 2 * 5100


def test_the_time_in_which_nothing_ran_is_no_part_of_any_figure(
    resumed: Writer, tmp_path: Path
) -> None:
    once = write_all(fedavg(tmp_path / "once", rounds=3).run)
    summary = write_all(resumed.run)
    first = read_rounds(tmp_path / "once" / "rounds.csv")
    assert summary["wall_s"] == pytest.approx(once["wall_s"] + 2.6)
    assert summary["lost_s"] == pytest.approx(once["wall_s"] - first[0]["t_s"] + 0.5)
    t_s = [row["t_s"] for row in read_rounds(resumed.run.rounds)]
    assert t_s[1:] == pytest.approx([once["wall_s"] + 1.5, once["wall_s"] + 2.5])
    spans = json.loads(resumed.run.trace.read_text())["traceEvents"]
    assert max(each["ts"] for each in spans) < 1e6 * (summary["wall_s"] + 0.1)
    assert any(each["name"] == "resumed" for each in spans)
    assert summary["nodes"]["learner0"]["energy_j"] < 100.0  # a Pi idles at watts, a day is kJ
    assert once["lost_s"] == 0.0


def test_people_are_told(resumed: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    summary = write_all(resumed.run)
    print_summary(resumed.run, summary)
    assert "2 attempts; " in capsys.readouterr().out
    assert "2 attempts; " in resumed.run.report.read_text()


def test_the_live_view_tells_what_is_new(tmp_path: Path) -> None:
    writer = fedavg(tmp_path, rounds=3)
    write_json(writer.run.run_json, about(2, rounds=3, attempts=ATTEMPTS))
    out = io.StringIO()
    with LiveView(writer.run, 3, console=Console(file=out)) as view:
        view.update()
        assert out.getvalue() == ""
        for node in ("server", "learner0", "learner1"):
            again(writer, node)
    lines = [line for line in out.getvalue().splitlines() if line.startswith("round")]
    assert [line.split()[1] for line in lines] == ["2/3", "3/3"]
    assert all("1.00 s" in line for line in lines[1:])


def test_who_watches_sees_one_course_of_time(resumed: Writer) -> None:
    summary = write_all(resumed.run)
    story = Story(resumed.run, clock=lambda: START_S + DAY_S + 2.6)
    story.update()
    state = story.state()
    assert state["elapsed_s"] == pytest.approx(summary["wall_s"], abs=0.2)
    t_s = [row["t_s"] for row in read_rounds(resumed.run.rounds)]
    assert state["rounds"]["t_s"] == pytest.approx(t_s, abs=0.2)
    assert all(0 <= line["t_s"] <= summary["wall_s"] + 0.2 for line in state["log"])


def test_the_point_from_which_it_goes_on_is_when_that_round_was_done(resumed: Writer) -> None:
    assert resuming.point(resumed.run, 2) == Point(2, 0.0)  # nothing happens at times in it
    done = {
        (event.round, event.t > START_S + DAY_S): event.t
        for event in node_events(resumed.run, "server")
        if event.name == "round"
    }
    first, again = done[1, False] - 0.25, done[2, True] - 0.125
    began = [{"e": "began", "t": first}, {"e": "began", "t": again, "at_s": 0.25}]
    lines = [json.dumps(each) + "\n" for each in began]
    resumed.run.events_file.write_text("".join(lines), encoding="utf-8")
    assert resuming.point(resumed.run, 1) == Point(1, pytest.approx(0.25))
    assert resuming.point(resumed.run, 2) == Point(2, pytest.approx(0.375))
