"""A wall clock that is set while a run goes on changes nothing in it."""

from __future__ import annotations

import ast
import itertools
import time
from pathlib import Path

import pytest
from small_runs import events, topology

import edgenet
from edgenet.launchers import resuming
from edgenet.meters import Journal
from edgenet.meters.clock import RunClock
from edgenet.node.plan import resolve
from edgenet.node.threads import run_in_threads
from edgenet.results.rundir import new_run_dir
from edgenet.results.write import write_all

HOUR_S = 3600.0
PACKAGE = Path(edgenet.__file__).parent

WALL_CLOCK = {
    "meters/clock.py": "once for all processes of a run",
    "results/live.py": "how long ago something shown was",
    "web/state.py": "likewise",
    "launchers/boards/onboard.py": "a board's clock is told, and old files are removed",
    "launchers/boards/prepare.py": "a board's clock is compared",
    "shaping/measure.py": "the kernel dates packets by it",
    "shaping/record.py": "old files are removed",
}
"""The only modules that may read it, and what for: nothing that is waited for."""


def test_nothing_waits_by_the_wall_clock() -> None:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in (
                "time.time",
                "time.time_ns",
            ):
                found.add(path.relative_to(PACKAGE).as_posix())
            elif isinstance(node, ast.ImportFrom) and node.module == "time":
                assert not {alias.name for alias in node.names} & {"time", "time_ns"}, path
    assert found == set(WALL_CLOCK)


@pytest.mark.parametrize("jump_s", [2 * HOUR_S, -2 * HOUR_S])
def test_whoever_starts_late_dates_by_the_clock_of_the_run(
    jump_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RunClock.begin(tmp_path)
    before = RunClock(tmp_path).now()
    wall = time.time()
    monkeypatch.setattr(time, "time", lambda: wall + jump_s)
    assert 0 <= RunClock(tmp_path).now() - before < 60
    assert abs(RunClock().now() - before - jump_s) < 60


def test_a_clock_that_was_set_back_brings_no_attempts_out_of_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run_dir(tmp_path, "small")
    RunClock.begin(run.path)
    journal = Journal(run.events("server"), clock=RunClock(run.path))
    journal.event("start", node="server")
    journal.event("end", status="failed")
    journal.close()
    last_s = resuming.last_s(run)
    wall = time.time()
    monkeypatch.setattr(time, "time", lambda: wall - 2 * HOUR_S)
    RunClock.begin(run.path, after=last_s)
    assert last_s <= RunClock(run.path).now() < last_s + 60
    monkeypatch.setattr(time, "time", lambda: wall + 2 * HOUR_S)
    RunClock.begin(run.path, after=last_s)
    assert RunClock(run.path).now() > last_s + HOUR_S


def test_a_run_under_a_jumping_clock_is_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall, calls = time.time(), itertools.count()
    jumping = lambda: wall + HOUR_S * (-1) ** next(calls)  # noqa: E731
    run = new_run_dir(tmp_path, "small")
    began = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", jumping)
        run_in_threads(resolve(topology("psl", 2, cut=1)), run.path)
    took_s = time.monotonic() - began
    summary = write_all(run)
    assert (summary["rounds"], summary["faults"]) == (3, [])
    assert 0 < summary["wall_s"] <= took_s
    times = [event["t"] for event in events(run.path, "server", "round")]
    assert times == sorted(times)
    assert times[-1] - times[0] <= took_s
