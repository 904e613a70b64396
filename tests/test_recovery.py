"""A node is lost that the run cannot do without: all start again from their checkpoints."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from small_runs import assert_same, events, topology
from small_runs import run as run_small
from test_comings import LEARNER, SERVER, lives, until, written
from test_faults import Run, gone, start
from test_launch_local import Launch, launch

__all__ = ["launch", "start", "written"]  # fixtures

pytestmark = pytest.mark.processes

BOUND_S = 90.0


@pytest.mark.parametrize(
    ("scheme", "victim", "blow"),
    [("fedavg", "server", signal.SIGKILL), ("mcpipe", "learner1", signal.SIGKILL),
     ("psl", "server", signal.SIGSTOP)],
    ids=["server-killed", "worker-killed", "server-frozen"],
)  # fmt: skip
def test_the_weights_are_those_of_an_undisturbed_run(
    scheme: str, victim: str, blow: signal.Signals, start: Callable[[Any], Run], tmp_path: Path
) -> None:
    faults = {"heartbeat": "0.5 s", "silence": "1.5 s", "restart": 1, "checkpoint": 2}
    more = {"cut": 1} if scheme == "psl" else {}
    data = {"name": "digits", "train": 240, "test": 60}
    rounds = 120 if scheme == "fedavg" else 24  # its rounds are short: it must be hit within them
    spec = topology(scheme, 2, faults, data=data, rounds=rounds, **more)
    expected = run_small(spec, tmp_path / "undisturbed").state
    run = start(spec)
    run.reach(7)
    pids = [run.pid(node) for node in ("server", "learner0", "learner1")]
    os.kill(run.pid(victim), blow)
    code, summary, err = run.end(BOUND_S)
    assert code == 0, err
    assert "all nodes are started again after round" in err
    assert_same(torch.load(run.out / "model.pt", weights_only=True), expected)
    (restart,) = summary["restarts"]
    assert restart["after"] in range(6, rounds, 2)
    assert restart["thrown_s"] + restart["back_s"] == pytest.approx(restart["lost_s"], abs=1e-3)
    assert {node["status"] for node in summary["nodes"].values()} == {"done"}
    lost = f"{restart['number']} of {restart['of']}"
    assert f"all nodes were started again after round {restart['after']} ({lost})" in (
        run.out / "report.html"
    ).read_text(encoding="utf-8")
    assert gone(pids)
    assert len(events(run.out, "learner0", "start")) == 2


def test_it_ends_when_that_was_done_as_often_as_it_may(
    launch: Launch, written: Callable[[str], None]
) -> None:
    written("faults: {restart: 1}\n")
    launcher = launch(server=SERVER, learner0=LEARNER, learner1={**LEARNER, "do": "stubborn"})
    launcher.started()
    for life in range(2):
        until(lambda n=life: len(lives(launcher, "server")) == n + 1)
        until(lambda n=life: len(lives(launcher, "learner1")) == n + 1)
        os.kill(lives(launcher, "server")[life], signal.SIGKILL)
    code, said = launcher.end()
    assert code == 3
    assert (
        "server was killed by SIGKILL; all nodes are started again from the beginning (1 of 1)"
        in said
    )
    assert said.splitlines()[-1].startswith(
        "server was killed by SIGKILL; it was started again as often as faults.restart allows (log"
    )
    assert not any(psutil.pid_exists(pid) for pid in lives(launcher, "learner1"))


def test_a_server_that_fails_before_it_has_joined_would_fail_again(
    launch: Launch, written: Callable[[str], None]
) -> None:
    written("faults: {restart: 1}\n")
    launcher = launch(server={"do": "fail"}, learner0=LEARNER)
    code, said = launcher.end()
    assert code == 3
    assert "started again" not in said


def test_one_that_did_not_notice_is_frozen_and_all_start_again(
    launch: Launch, written: Callable[[str], None]
) -> None:
    written("faults: {restart: 1}\n")
    launcher = launch(
        server={**SERVER, "peers": ["learner0"]}, learner0={**LEARNER, "do": "fail-on-usr1"}
    )
    launcher.started()
    os.kill(lives(launcher, "server")[0], signal.SIGSTOP)
    for life in range(2):  # the second time it has been started again as often as it may be
        until(lambda n=life: len(lives(launcher, "learner0")) == n + 1)
        os.kill(lives(launcher, "learner0")[life], signal.SIGUSR1)
    until(lambda: len(lives(launcher, "server")) == 2)
    os.kill(lives(launcher, "server")[1], signal.SIGUSR1)
    code, said = launcher.end()
    assert code == 0
    assert "server did not end although all its peers had failed (frozen?); all nodes are" in said


def test_a_stop_by_the_user_ends_a_new_start_too(
    launch: Launch, written: Callable[[str], None]
) -> None:
    written("faults: {restart: 9}\n")
    launcher = launch(server=SERVER, learner0={**LEARNER, "do": "stubborn"})
    launcher.started()
    os.kill(lives(launcher, "server")[0], signal.SIGKILL)  # the learner takes its time to end
    assert launcher.process.stderr is not None
    launcher.process.send_signal(signal.SIGINT)
    launcher.process.send_signal(signal.SIGTERM)
    code, _ = launcher.end()
    assert code in (3, 130)
    assert not any(psutil.pid_exists(pid) for pid in lives(launcher, "learner0"))
