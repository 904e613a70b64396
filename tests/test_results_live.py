from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text
from synthetic_run import START_S, Writer, about, fedavg

from edgenet.results.live import LiveView
from edgenet.results.rundir import write_json


class Clock:
    """Epoch seconds that the test sets, from the start of the run."""

    now = 0.0

    def __call__(self) -> float:
        return START_S + self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lines_of(path: Path, rounds: int, clock: Clock) -> list[str]:
    file = io.StringIO()
    with LiveView(path, rounds, console=Console(file=file), clock=clock):
        pass
    return file.getvalue().splitlines()


def screen(width: int = 80, height: int = 40) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=height)


def picture(path: Path, clock: Clock, width: int = 80, height: int = 40) -> list[str]:
    """The last picture that a terminal of this size would show."""
    console = screen(width, height)
    view = LiveView(path, 3, console=console, clock=clock)
    view.update()
    live = view._live
    assert live is not None
    plain = Console(file=io.StringIO(), width=width, height=height)
    plain.print(live.get_renderable())
    assert isinstance(plain.file, io.StringIO)
    return plain.file.getvalue().splitlines()


def test_without_a_terminal_each_round_is_one_line(tmp_path: Path, clock: Clock) -> None:
    fedavg(tmp_path)
    assert lines_of(tmp_path, 3, clock) == [
        "round 1/3  accuracy 0.600  loss -  1.00 s  4.1 kB  active 2/2",
        "round 2/3  accuracy 0.700  loss 0.500  1.00 s  4.1 kB  active 2/2",
        "round 3/3  accuracy 0.800  loss 0.333  1.00 s  4.1 kB  active 2/2",
    ]


def test_a_fault_is_a_line_and_is_told_once(tmp_path: Path, clock: Clock) -> None:
    writer = fedavg(tmp_path, learners=3, lost="learner1")
    again = {"peer": "learner1", "what": "lost", "why": "also seen"}
    writer.event("learner0", "fault", 2.6, 2, **again)
    faults = [line for line in lines_of(tmp_path, 3, clock) if line.startswith("fault")]
    assert faults == ["fault  round 2: learner1 lost (closed the connection), seen by server"]


def test_a_line_waits_for_the_bytes_of_its_round(tmp_path: Path, clock: Clock) -> None:
    writer, file = Writer(tmp_path), io.StringIO()
    view = LiveView(tmp_path, 3, console=Console(file=file), clock=clock)
    writer.event("server", "start", 0.0, role="server")
    writer.event("server", "round", 1.0, 1, loss=0.5)
    clock.now = 1.1
    view.update()
    assert file.getvalue() == ""
    writer.message("server", "learner0", 1, 1.2, at="server")
    writer.event("server", "doing", 1.3, 2, k=["wait"])
    view.update()
    assert "1.0 kB" in file.getvalue()


def test_a_line_does_not_wait_for_ever(tmp_path: Path, clock: Clock) -> None:
    writer, file = Writer(tmp_path), io.StringIO()
    view = LiveView(tmp_path, 3, console=Console(file=file), clock=clock)
    writer.event("server", "round", 1.0, 1, loss=0.5)
    clock.now = 10.0
    view.update()
    view.update()
    assert len(file.getvalue().splitlines()) == 1


def test_a_round_whose_bytes_came_first_is_shown_at_once(tmp_path: Path, clock: Clock) -> None:
    writer, file = Writer(tmp_path), io.StringIO()
    view = LiveView(tmp_path, 3, console=Console(file=file), clock=clock)
    writer.message("server", "learner0", 1, 0.9, at="server")
    writer.event("server", "round", 1.0, 1, loss=0.5)
    clock.now = 1.0
    view.update()
    assert "round 1/3" in file.getvalue()


def test_a_terminal_shows_nodes_progress_and_curves(tmp_path: Path, clock: Clock) -> None:
    fedavg(tmp_path, lost="learner1")
    clock.now = 4.0
    shown = picture(tmp_path, clock, width=100)
    assert shown[0] == "quickstart \u00b7 fedavg \u00b7 shaping paced \u00b7 0:04"
    assert shown[1].startswith("round 3/3")
    rows = {line.split()[0]: line for line in shown if line}
    assert "done" in rows["learner0"]
    assert "lost" in rows["learner1"]
    assert "0.800" in rows["accuracy"]
    assert any("closed the connection" in line for line in shown)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
def test_no_line_is_wider_than_the_terminal(tmp_path: Path, clock: Clock, width: int) -> None:
    fedavg(tmp_path, learners=5, lost="learner4")
    shown = picture(tmp_path, clock, width=width)
    assert max(map(len, shown)) <= width
    assert sum(line.startswith("learner") for line in shown) == 5


def test_a_narrow_terminal_keeps_the_telling_columns(tmp_path: Path, clock: Clock) -> None:
    fedavg(tmp_path, learners=5)
    (head,) = [line for line in picture(tmp_path, clock, width=60) if line.startswith("node")]
    assert head.split() == ["node", "role", "state", "round", "out/s", "in/s"]


def test_many_nodes_are_folded_into_groups(tmp_path: Path, clock: Clock) -> None:
    writer = fedavg(tmp_path, learners=40, lost="learner39")
    writer.event("learner5", "start", 9.0, role="learner", device="pi4")
    shown = picture(tmp_path, clock)
    (group,) = [line for line in shown if line.startswith("learner")]
    assert "learner* x 40" in group
    assert "1 lost" in group
    assert "38 done" in group
    assert len(shown) < 20


def test_a_low_terminal_folds_earlier(tmp_path: Path, clock: Clock) -> None:
    fedavg(tmp_path, learners=15)
    assert any("x 15" in line for line in picture(tmp_path, clock, height=20))
    assert not any("x 15" in line for line in picture(tmp_path, clock, height=60))


def test_nodes_are_listed_before_they_have_said_anything(tmp_path: Path, clock: Clock) -> None:
    write_json(Writer(tmp_path).run.run_json, about(2))
    rows = [line for line in picture(tmp_path, clock) if "starting" in line]
    assert [row.split()[0] for row in rows] == ["server", "learner0", "learner1"]


def test_a_terminal_without_unicode_gets_ascii(tmp_path: Path, clock: Clock) -> None:
    writer = fedavg(tmp_path)
    why = "\u00fcber und \u00fcber " * 20
    writer.event("server", "fault", 9.0, 3, peer="learner1", what="lost", why=why)
    raw = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(file=raw, force_terminal=True, width=80, height=40)
    with LiveView(tmp_path, 3, console=console, clock=clock) as view:
        view.update()
    raw.seek(0)
    shown = Text.from_ansi(raw.read()).plain
    assert "quickstart | fedavg | shaping paced" in shown
    assert "learner1 lost" in shown


def test_events_that_nobody_knows_do_no_harm(tmp_path: Path, clock: Clock) -> None:
    writer = fedavg(tmp_path)
    writer.event("server", "sunrise", 9.0, 3, k=[1, {}], peer=None)
    writer.event("server", "traffic", 9.0, 3, peer=5, out="many")
    writer.event("server", "fault", 9.0, 3)
    writer.event("server", "span", 9.0, 3, d="long")
    writer.event("server", "round", 9.0, 3, active="all", loss="low")
    assert picture(tmp_path, clock)
    assert lines_of(tmp_path, 3, clock)


def test_an_output_that_went_away_ends_the_view_and_not_the_run(
    tmp_path: Path, clock: Clock
) -> None:
    fedavg(tmp_path)
    read, write = os.pipe()
    os.close(read)
    raw = open(write, "wb", buffering=0)  # noqa: SIM115
    file = io.TextIOWrapper(raw, write_through=True)
    with LiveView(tmp_path, 3, console=Console(file=file), clock=clock) as view:
        view.update()
        view.update()
    raw.close()


def test_a_closed_output_ends_the_view(tmp_path: Path, clock: Clock) -> None:
    fedavg(tmp_path)
    file = io.StringIO()
    with LiveView(tmp_path, 3, console=Console(file=file), clock=clock) as view:
        file.close()
        view.update()


def test_a_run_directory_that_vanished_ends_the_view(tmp_path: Path, clock: Clock) -> None:
    file = io.StringIO()
    with LiveView(tmp_path / "gone", 3, console=Console(file=file), clock=clock) as view:
        view.update()
    assert file.getvalue() == ""
