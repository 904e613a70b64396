"""Split learning when clients die or come back: the steps go on with who is there."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_runs import events, topology
from split_stand import (
    NAMES,
    PATIENCE_S,
    Batches,
    Rounds,
    Stage,
    join,
    layers,
    open_round,
    play,
    step,
    upload,
)
from test_faults import ROUNDS, Run, gone, start

from edgenet.schemes.split_round import Variant

__all__ = ["start"]  # a fixture


def test_the_share_of_a_lost_client_goes_to_the_others() -> None:
    stage, tail = Stage(Variant(), Rounds(1)), layers(1, 3, 2)
    open_round(stage, 2)
    play(stage, {name: upload(i) for i, name in enumerate(NAMES)}, tail)
    stage.far["b"].close()
    play(stage, {"a": upload(3), "c": upload(4)}, tail)
    stage.end()
    torch.testing.assert_close(stage.tail.weight, tail.weight, rtol=0, atol=1e-6)


def test_only_those_who_are_there_are_drawn() -> None:
    stage, tail = Stage(Variant(phi=1.0), Rounds(1)), layers(1, 3, 2)
    open_round(stage, 1)
    stage.far["b"].close()
    uploads = {"a": upload(0), "c": upload(1)}
    for name, items in uploads.items():
        stage.far[name].send(*items)
    own = step(tail, uploads)
    for name in uploads:
        got = stage.far[name].recv(timeout_s=PATIENCE_S)
        torch.testing.assert_close(got, (own["a"] + own["c"]) / 2, rtol=0, atol=1e-6)
    stage.end()
    assert stage.rounds.figures[0]["averaged"] == [("a", "c")]


@pytest.mark.parametrize("variant", [Variant(), Variant(phi=0.5), Variant(sync="epoch")])
def test_who_comes_later_gets_a_head_and_takes_part(variant: Variant) -> None:
    heads: dict[str, Batches] = {}

    def arrive() -> None:
        stage.come("c")
        heads["c"] = join(stage, "c", variant)

    stage = Stage(variant, Rounds(3, {1: arrive}), there=("a", "b"))
    heads |= {name: join(stage, name, variant) for name in ("a", "b")}
    stage.thread.start()
    stage.end()
    active = [figures["active"] for figures in stage.rounds.figures]
    assert active == [["a", "b"], ["a", "b", "c"], ["a", "b", "c"]]
    assert len(heads["c"].began) == 2
    assert torch.equal(heads["c"].began[0], heads["a"].began[1])
    assert not torch.equal(heads["c"].began[0], layers(0, 4, 3).weight)
    assert torch.equal(heads["c"].began[0], heads["b"].began[1]) == variant.common_head


@pytest.mark.processes
@pytest.mark.parametrize(
    ("scheme", "blow"),
    [("ssl", signal.SIGKILL), ("sfl", signal.SIGSTOP), ("sglr", signal.SIGKILL)],
    ids=["ssl-killed", "sfl-frozen", "sglr-killed"],
)
def test_the_run_goes_on_without_a_client(
    scheme: str, blow: signal.Signals, start: Callable[[Any], Run]
) -> None:
    data = {"name": "digits", "train": 900, "test": 60}
    faults = {"heartbeat": "0.5 s", "silence": "2 s"}
    own = {"phi": 1.0} if scheme == "sglr" else {}
    run = start(topology(scheme, 3, faults, data=data, rounds=ROUNDS, batch=10, cut=1, **own))
    run.reach(2)
    pids = [run.pid(node) for node in ("server", "learner0", "learner1", "learner2")]
    os.kill(run.pid("learner1"), blow)
    code, summary, err = run.end(60.0)
    assert code == 0, err
    assert summary["rounds"] == ROUNDS
    assert summary["nodes"]["learner1"]["status"] == "lost"
    last = events(run.out, "server", "round")[-1]
    assert last["active"] == ["learner0", "learner2"]
    if scheme == "sglr":
        assert last["averaged"][-1] == ["learner0", "learner2"]
    assert gone(pids)
