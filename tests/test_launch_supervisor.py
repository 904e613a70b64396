"""The fork server and its supervisor with real processes; the nodes follow a script."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from edgenet.errors import InputError, Interrupted, NodeError
from edgenet.launchers.policy import Limits, Referee
from edgenet.launchers.supervisor import StopSignals, Supervisor

pytestmark = pytest.mark.processes

QUICK = Limits(notice_s=0.2, orphan_s=0.2, rest_s=0.2, term_s=0.3)
DEADLINE_S = 10.0


@pytest.fixture(autouse=True)
def _standin_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}:{Path(__file__).parents[1]}")


class Run:
    """One scripted run, from the launcher's side."""

    def __init__(self, folder: Path, script: dict[str, Any], limits: Limits = QUICK) -> None:
        self.folder, self.limits = folder, limits
        self.path = folder / "script.json"
        self.path.write_text(json.dumps(script))
        self.stop = StopSignals()
        self.pids: dict[str, int] = {}

    def reports(self) -> Iterator[dict[str, Any] | None]:
        with self.stop, Supervisor(self.stop, self.limits, "launch_standin") as supervisor:
            self.server_pid = supervisor.pid
            self.cast = supervisor.prepare(self.path, ())
            self.referee = Referee(seats=self.cast.seats, limits=self.limits)
            supervisor.start(self.folder, "paced")
            for report in supervisor.watch(self.cast, self.referee):
                if report is not None and report["is"] == "started":
                    self.pids[report["node"]] = report["pid"]
                yield report

    def go(self) -> Referee:
        end = time.monotonic() + DEADLINE_S
        for _ in self.reports():
            assert time.monotonic() < end, "the run does not end"
        return self.referee

    def when_all_run(self) -> Iterator[dict[str, Any] | None]:
        """The reports, from the moment at which every node has written its first event."""
        end = time.monotonic() + DEADLINE_S
        reports = self.reports()
        for _ in reports:
            journals = list(self.folder.glob("nodes/*/events.jsonl"))
            known = len(journals) == len(self.pids) == len(self.cast.seats)
            if known and all(path.stat().st_size for path in journals):
                return reports
            assert time.monotonic() < end, "not all nodes start"
        raise AssertionError("the run ended before all nodes had started")

    def gone(self) -> bool:
        """Whether no process of the run is left, not even unreaped."""
        return not any(psutil.pid_exists(pid) for pid in (self.server_pid, *self.pids.values()))


def finish(reports: Iterator[object]) -> None:
    end = time.monotonic() + DEADLINE_S
    for _ in reports:
        assert time.monotonic() < end, "the run does not end"


def test_all_nodes_run_and_are_reaped(tmp_path: Path) -> None:
    run = Run(tmp_path, {name: {"do": "done"} for name in ("a", "b", "c")})
    referee = run.go()
    assert referee.exit_code == 0
    assert {name: end.code for name, end in referee.ends.items()} == {"a": 0, "b": 0, "c": 0}
    assert len(set(run.pids.values())) == 3
    assert run.gone()


def test_each_node_has_its_log_and_no_input(tmp_path: Path) -> None:
    referee = Run(tmp_path, {"a": {"do": "print"}}).go()
    assert referee.ends["a"].code == 0
    log = (tmp_path / "nodes/a/log.txt").read_text()
    assert sorted(log.splitlines()) == ["to stderr", "to stdout"]


def test_nodes_inherit_no_descriptor(tmp_path: Path) -> None:
    referee = Run(tmp_path, {"a": {"do": "fds"}}).go()
    assert referee.ends["a"].code == 0, (tmp_path / "nodes/a/log.txt").read_text()


def test_crash_is_a_failure_with_its_traceback_in_the_log(tmp_path: Path) -> None:
    referee = Run(tmp_path, {"a": {"do": "crash"}}).go()
    assert (referee.ends["a"].code, referee.culprit) == (3, "a")
    assert "RuntimeError: never seen before" in (tmp_path / "nodes/a/log.txt").read_text()


def test_abort_is_reported_as_a_signal(tmp_path: Path) -> None:
    referee = Run(tmp_path, {"a": {"do": "abort"}}).go()
    assert (referee.ends["a"].code, referee.ends["a"].signal) == (None, signal.SIGABRT)


def test_failed_essential_node_stops_the_others(tmp_path: Path) -> None:
    script = {"server": {"do": "fail-on-usr1"}, "a": {}, "b": {"essential": False}}
    run = Run(tmp_path, script, Limits(notice_s=0.2, term_s=60.0))
    reports = run.when_all_run()
    os.kill(run.pids["server"], signal.SIGUSR1)
    finish(reports)
    referee = run.referee
    assert (referee.exit_code, referee.culprit) == (3, "server")
    assert referee.ends["a"].code == referee.ends["b"].code == 130
    assert run.gone()


def test_killed_essential_node_stops_the_others(tmp_path: Path) -> None:
    run = Run(tmp_path, {"server": {}, "a": {}, "b": {"do": "stubborn"}})
    reports = run.when_all_run()
    os.kill(run.pids["server"], signal.SIGKILL)
    finish(reports)
    assert (run.referee.exit_code, run.referee.culprit) == (3, "server")
    assert run.referee.ends["b"].signal == signal.SIGKILL
    assert run.gone()


def test_killed_learner_does_not(tmp_path: Path) -> None:
    run = Run(tmp_path, {"server": {}, "a": {"essential": False}})
    reports = run.when_all_run()
    os.kill(run.pids["a"], signal.SIGKILL)
    for report in reports:
        if report is not None and report["is"] == "ended":
            break
    for _ in range(4):  # four moments on, the server still runs
        assert next(reports) is None
    assert "server" not in run.referee.ends
    os.kill(run.pids["server"], signal.SIGKILL)
    finish(reports)
    assert run.referee.ends["a"].signal == signal.SIGKILL


def test_frozen_node_is_killed_at_the_end(tmp_path: Path) -> None:
    run = Run(tmp_path, {"server": {"do": "on-usr1"}, "a": {"essential": False}})
    reports = run.when_all_run()
    os.kill(run.pids["a"], signal.SIGSTOP)
    os.kill(run.pids["server"], signal.SIGUSR1)
    finish(reports)
    assert run.referee.ends["a"].signal == signal.SIGKILL
    assert run.referee.exit_code == 0
    assert run.gone()


def test_user_stop_is_orderly_and_a_second_one_is_not(tmp_path: Path) -> None:
    run = Run(tmp_path, {"a": {}, "b": {"do": "stubborn"}}, Limits(term_s=60.0))
    reports = run.when_all_run()
    os.kill(os.getpid(), signal.SIGINT)
    for report in reports:
        if report is not None and report["is"] == "ended":
            assert (report["node"], report["code"]) == ("a", 130)
            break
    os.kill(os.getpid(), signal.SIGTERM)
    finish(reports)
    assert run.referee.exit_code == 130
    assert run.referee.ends["b"].signal == signal.SIGKILL


def test_stop_while_warming_up(tmp_path: Path) -> None:
    run = Run(tmp_path, {"a": {"do": "slow-start"}})
    run.stop.count = 1
    with pytest.raises(Interrupted):
        next(run.reports())
    assert not psutil.pid_exists(run.server_pid)


def test_refusals_come_back_as_the_same_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"script\.json:1: no nodes"):
        next(Run(tmp_path, {}).reports())
    with pytest.raises(InputError, match="digits: not there"):
        next(Run(tmp_path, {"a": {"do": "no-data"}}).reports())


def test_killed_fork_server_takes_its_nodes_along(tmp_path: Path) -> None:
    run = Run(tmp_path, {"a": {}, "b": {"do": "stubborn"}})
    reports = run.when_all_run()
    nodes = [psutil.Process(pid) for pid in run.pids.values()]
    os.kill(run.server_pid, signal.SIGKILL)
    with pytest.raises(NodeError, match="the fork server ended by SIGKILL"):
        finish(reports)
    _, alive = psutil.wait_procs(nodes, timeout=5)
    assert not alive


def test_broken_machinery_is_named(tmp_path: Path) -> None:
    stop = StopSignals()
    with Supervisor(stop, QUICK, "no_such_module") as supervisor:
        with pytest.raises(NodeError, match="No module named 'no_such_module'"):
            supervisor.prepare(tmp_path, ())


def test_an_error_in_the_launcher_leaves_nothing_running(tmp_path: Path) -> None:
    run = Run(tmp_path, {"a": {}, "b": {"do": "stubborn"}})
    reports = run.when_all_run()
    with pytest.raises(ZeroDivisionError):
        reports.throw(ZeroDivisionError)  # type: ignore[attr-defined]
    assert run.gone()


def test_sixty_nodes_start_at_once(tmp_path: Path) -> None:
    run = Run(tmp_path, {f"n{i}": {"do": "done"} for i in range(60)}, Limits())
    referee = run.go()
    assert len(referee.ends) == 60
    assert referee.exit_code == 0
