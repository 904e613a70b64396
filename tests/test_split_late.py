"""Split learning with a client that is late: nobody waits for it twice, and it may come back."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import events, topology
from split_stand import (
    NAMES,
    PATIENCE_S,
    Rounds,
    Stage,
    join,
    layers,
    open_round,
    play,
    step,
    upload,
)
from test_faults import Run, gone, start

from edgenet.meters.journal import Journal
from edgenet.schemes.split_round import Variant

__all__ = ["start"]  # a fixture

DEADLINE_S = 2.0
"""So long nobody is late by mistake, even beside much other work."""


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    """The first backward pass of a process takes far longer than all that follow."""
    step(layers(1, 3, 2), {"a": upload(0)})


def waits(journal: Path) -> list[str]:
    """Whom the server has waited a deadline for in vain, each time."""
    lines = journal.read_text(encoding="utf-8").splitlines()
    return [e["peer"] for e in map(json.loads, lines) if e["e"] == "fault" and e["what"] == "late"]


def test_a_late_clients_uploads_go_into_later_steps_and_at_last_on_top() -> None:
    stage, tail = Stage(Variant(), Rounds(1), deadline_s=DEADLINE_S), layers(1, 3, 2)
    open_round(stage, 2)
    play(stage, {"a": upload(0), "c": upload(1)}, tail)
    play(stage, {name: upload(2 + i) for i, name in enumerate(NAMES)}, tail, late="b")
    play(stage, {"b": upload(5)}, tail, among=NAMES)  # as heavy as it would have been with them
    stage.end()
    torch.testing.assert_close(stage.tail.weight, tail.weight, rtol=0, atol=1e-6)
    assert stage.rounds.figures[0]["active"] == list(NAMES)
    assert "missed" not in stage.rounds.figures[0]


def test_who_stalls_costs_a_deadline_in_the_round_and_one_at_its_end(tmp_path: Path) -> None:
    steps, journal = 6, Journal(tmp_path / "server.jsonl")
    stage = Stage(Variant(), Rounds(2), deadline_s=DEADLINE_S, journal=journal)
    tail = layers(1, 3, 2)
    open_round(stage, steps)
    for i in range(steps):
        play(stage, {"a": upload(2 * i), "c": upload(2 * i + 1)}, tail)
    for name in "ac":
        assert stage.far[name].recv(timeout_s=PATIENCE_S) == (2, [])
    for i in range(steps):
        play(stage, {"a": upload(2 * i), "c": upload(2 * i + 1)}, tail)
    for _ in ("the round is over", "the training is over"):
        assert stage.far["b"].recv(timeout_s=PATIENCE_S) == ()
    stage.end()
    journal.close()
    torch.testing.assert_close(stage.tail.weight, tail.weight, rtol=0, atol=1e-6)
    assert [each.get("missed") for each in stage.rounds.figures] == [{"b": steps}, None]
    assert waits(tmp_path / "server.jsonl") == ["b", "b"]


def test_steps_on_top_have_one_deadline_together() -> None:
    times = iter([0.0, 0.1, 2 * DEADLINE_S])  # the limit is set; b's first step; its second
    stage = Stage(Variant(), Rounds(1), deadline_s=DEADLINE_S, clock=lambda: next(times))
    tail = layers(1, 3, 2)
    open_round(stage, 2)
    for i in range(2):
        play(stage, {"a": upload(2 * i), "c": upload(2 * i + 1)}, tail)
    play(stage, {"b": upload(5)}, tail, among=NAMES)
    stage.end()
    assert stage.rounds.figures[0]["missed"] == {"b": 1}


def test_who_is_late_with_its_head_loses_the_rest_of_the_round() -> None:
    stage = Stage(Variant(sync="batch"), Rounds(1), deadline_s=DEADLINE_S)
    stage.thread.start()
    for name in NAMES:
        stage.far[name].send(10, 2)
    for name in NAMES:
        stage.far[name].recv(timeout_s=PATIENCE_S)
        stage.far[name].send(*upload(1))
    for name in NAMES:
        stage.far[name].recv(timeout_s=PATIENCE_S)
    for name, weight in (("a", 1.0), ("c", 3.0)):
        stage.far[name].send([torch.full((2,), weight)])
    for name in "ac":
        (common,) = stage.far[name].recv(timeout_s=PATIENCE_S)
        assert torch.equal(common, torch.full((2,), 2.0))
        stage.far[name].send(*upload(2))
    for name in "ac":
        stage.far[name].recv(timeout_s=PATIENCE_S)
        stage.far[name].send([torch.ones(2)])
    stage.end()
    assert stage.rounds.figures[0]["missed"] == {"b": 1}


SSL = Variant(sync="epoch", in_turn=True)
VARIANTS = [Variant(), Variant(phi=1.0), Variant(sync="epoch"), Variant(sync="batch"), SSL]


@pytest.mark.parametrize("variant", VARIANTS, ids=["psl", "sgl", "sfl", "sfl-batch", "ssl"])
def test_who_stalled_takes_part_again(variant: Variant) -> None:
    awake = threading.Event()

    def wake() -> None:
        """The server goes on when the client's upload is there."""
        awake.set()
        stage.has_from("b")

    stage = Stage(variant, Rounds(3, {2: wake}), deadline_s=DEADLINE_S / 2)
    for name in NAMES:
        stall = (lambda: awake.wait(PATIENCE_S)) if name == "b" else lambda: True
        join(stage, name, variant, stall)
    stage.thread.start()
    stage.end()
    active = [figures["active"] for figures in stage.rounds.figures]
    assert active == [["a", "c"], ["a", "c"], ["a", "b", "c"]]
    assert [each.get("missed") for each in stage.rounds.figures] == [{"b": 2}, None, None]


def _now(run: Run, name: str) -> list[dict[str, Any]]:
    """The server's events so far; none while it is writing a line."""
    try:
        return events(run.out, "server", name)
    except ValueError:
        return []


@pytest.mark.processes
@pytest.mark.parametrize("scheme", ["psl", "fedavg"])
def test_a_run_goes_on_beside_a_frozen_client(scheme: str, start: Callable[[Any], Run]) -> None:
    faults = {"heartbeat": "1 s", "silence": "60 s", "deadline": "1 s", "quorum": 0.5}
    data = {"name": "digits", "train": 900, "test": 60}
    own = {"cut": 1} if scheme == "psl" else {}
    run = start(topology(scheme, 3, faults, data=data, rounds=60, batch=10, **own))
    run.reach(2)
    pids = [run.pid(node) for node in ("server", "learner0", "learner1", "learner2")]

    def rounds() -> list[list[str]]:
        return [event["active"] for event in _now(run, "round")]

    def late() -> list[str]:
        return [each["what"] for each in _now(run, "fault") if each["peer"] == "learner1"]

    before = len(late())  # on a busy machine
    os.kill(run.pid("learner1"), signal.SIGSTOP)
    alone = ["learner0", "learner2"]
    run.wait(lambda: rounds().count(alone) >= 4, "four rounds without learner1")
    assert late()[before:] in (["late"], ["late", "late"])
    os.kill(run.pid("learner1"), signal.SIGCONT)
    back = len(rounds())
    run.wait(lambda: any("learner1" in active for active in rounds()[back:]), "it take part again")
    code, summary, err = run.end(60.0)
    assert code == 0, err
    assert summary["rounds"] == 60
    assert {node["status"] for node in summary["nodes"].values()} == {"done"}
    assert gone(pids)
