"""Learners and sources that die, freeze, leave, and come back into a training that runs."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from small_runs import events, topology
from test_faults import Run, gone, start
from test_parallel import spec_of

from edgenet.topology import Topology
from edgenet.topology.spec import TimedEvent

__all__ = ["start"]  # a fixture

pytestmark = pytest.mark.processes

ALL = ["learner0", "learner1", "learner2"]
DATA = {"name": "digits", "train": 900, "test": 60}
BOUND_S = 90.0


def active(run: Run) -> list[list[str]]:
    """Who took part in each round."""
    return [event["active"] for event in events(run.out, "server", "round")]


def happening(spec: Topology, *comings: tuple[int, str, str]) -> Topology:
    """`spec` with events (round, kind, node)."""
    made = [
        TimedEvent(at_s=float("inf"), at_round=number, kind=kind, target=node)
        for number, kind, node in comings
    ]
    return replace(spec, events=tuple(made))


def interrupt(run: Run) -> tuple[dict[str, Any], str]:
    """Stop a run that has shown what it was to show; (summary, stderr)."""
    run.process.send_signal(signal.SIGINT)
    code, summary, err = run.end(BOUND_S)
    assert code == 130, err
    return summary, err


@pytest.mark.parametrize("scheme", ["psl", "fedavg"])
def test_a_killed_node_takes_part_again(scheme: str, start: Callable[[Any], Run]) -> None:
    faults, cut = {"restart": 1, "silence": "20 s"}, {"cut": 1} if scheme == "psl" else {}
    spec = topology(scheme, 3, faults, data=DATA, rounds=25, batch=10, **cut)
    run = start(happening(spec, (3, "kill", "learner1")))
    code, summary, err = run.end(BOUND_S)
    assert code == 0, err
    assert "learner1 was killed by SIGKILL; it is started again (1 of 1)" in err
    assert [(fault["peer"], fault["what"]) for fault in summary["faults"]] == [("learner1", "lost")]
    assert active(run)[-1] == ALL
    assert summary["nodes"]["learner1"]["status"] == "done"
    assert [each["node"] for each in summary["restarts"]] == ["learner1"]
    starts = events(run.out, "learner1", "start")
    assert len(starts) == 2
    assert gone([event["pid"] for event in starts])


def test_a_frozen_learner_is_replaced(start: Callable[[Any], Run]) -> None:
    faults = {"restart": 1, "heartbeat": "0.5 s", "silence": "1.5 s"}
    run = start(topology("fedavg", 3, faults, rounds=100_000))
    run.reach(2)
    frozen = run.pid("learner1")
    os.kill(frozen, signal.SIGSTOP)
    run.wait(lambda: ALL[::2] in active(run), "round without it")
    run.wait(lambda: active(run)[-1] == ALL, "round with it again")
    summary, _ = interrupt(run)
    assert gone([frozen])
    assert [(f["peer"], f["what"]) for f in summary["faults"]] == [("learner1", "silent")]
    assert summary["restarts"][0]["node"] == "learner1"


def test_a_source_comes_late_leaves_and_comes_back(start: Callable[[Any], Run]) -> None:
    data = {"name": "digits", "train": 120, "test": 60, "views": ["blur", "erase", "crop"]}
    spec = spec_of("fpl", 3, junction="F2", rounds=100_000, evaluate=0, data=data)
    comings = ((2, "start", "learner2"), (60, "stop", "learner2"), (62, "start", "learner2"))
    run = start(happening(spec, *comings))

    run.reach(1)

    def changes() -> list[int]:
        there = ["learner2" in names for names in active(run)]
        return [at for at in range(1, len(there)) if there[at] != there[at - 1]]

    run.wait(lambda: len(changes()) == 3, "source that comes, leaves and comes back")
    summary, _ = interrupt(run)
    norms = [event["junction"] for event in events(run.out, "server", "round")]
    came, left, back = (norms[at].get("learner2", 0.0) for at in changes()[:3])
    # It joins with nothing (the output is what it was) and gains; it comes back with nothing.
    grown = norms[changes()[1] - 1]["learner2"]
    assert 0 < came < grown / 2
    assert 0 == left < back < grown / 2
    (fault,) = summary["faults"]
    assert (fault["peer"], fault["what"]) == ("learner2", "left")
    assert [change["what"] for change in summary["changes"]] == ["start", "stop", "start"]
    assert json.loads((run.out / "run.json").read_text())["nodes"]["learner2"]["later"]
