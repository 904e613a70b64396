"""DAB, CSA and equal split on clocks of our own: deadlines, requests, refusals, recovery."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from virtual_time import Count, End, Message, Node, Star, Timed, star, together

from edgenet.data import load, subset
from edgenet.errors import NodeError
from edgenet.links.protocol import Kind
from edgenet.models.layers import build
from edgenet.models.local import LocalStage
from edgenet.schemes.edge_learner import csa_learner, dab_learner, equal_learner
from edgenet.schemes.edge_orchestrator import (
    Terms,
    csa_orchestrator,
    dab_orchestrator,
    equal_orchestrator,
)
from edgenet.schemes.shards import Stock, Study
from edgenet.topology.spec import Data, Optimizer

SHARD, SHARDS = 10, 24
TERMS = Terms(deadline_s=10.0, passes=2, benchmark=2, margin=0.1)
RATE = 1e6
Pace = Callable[[float], float]


def steady(seconds: float) -> Pace:
    """Seconds for a sample, always."""
    return lambda _: seconds


@dataclass
class Trial:
    """What a run on virtual clocks left."""

    reports: list[dict[str, Any]]
    learners: list[Node]
    hub: Node
    log: list[Message]
    group: Star
    stock: Stock

    def notes(self, event: str) -> list[dict[str, Any]]:
        """What the orchestrator noted."""
        return [fields for name, fields in self.hub.notes if name == event]


def model() -> LocalStage:
    layers = build("two-nn-small", classes=10, shape=(1, 28, 28), seed=3)
    return LocalStage(layers, Optimizer(), 0.1, needs_input_error=False)


def trial(
    scheme: str,
    paces: list[Pace],
    rounds: int = 3,
    terms: Terms = TERMS,
    strangers: list[Callable[[End, Node], None]] | None = None,
) -> Trial:
    """A run with a learner of each pace, and then the strangers."""
    dataset = subset(load("digits", None), Data(train=SHARD * SHARDS, test=20), 3)
    stock = Stock(dataset, SHARD, 3)
    count = len(paces) + len(strangers or [])
    hub, nodes = Node("server"), [Node(f"learner{i}") for i in range(count)]
    group, ends, log = star(hub, nodes, RATE)
    done = Count(rounds, hub)
    bodies: list[Callable[[], None]] = []
    orchestrators = {
        "dab": dab_orchestrator, "csa": csa_orchestrator, "equal-split": equal_orchestrator
    }  # fmt: skip
    bodies.append(lambda: orchestrators[scheme](group, model(), done, stock, terms, hub))  # type: ignore[arg-type]
    for node, end, pace in zip(nodes, ends, paces, strict=False):
        study = Study(dataset=dataset, batch=5, shard=SHARD, seed=3, learner=node.name)
        bodies.append(lambda n=node, e=end, p=pace, s=study: learn(scheme, n, e, p, s))
    for node, end, stranger in zip(
        nodes[len(paces) :], ends[len(paces) :], strangers or [], strict=True
    ):
        bodies.append(lambda n=node, e=end, s=stranger: s(e, n))
    together(*bodies)
    return Trial(done.reports, nodes, hub, log, group, stock)


def learn(scheme: str, node: Node, end: End, pace: Pace, study: Study) -> None:
    stages = [Timed(model(), node, pace) for _ in range(2)]
    rounds = Count(0, node)
    if scheme == "dab":
        dab_learner(end, stages[0], stages[1], rounds, study, node)
    elif scheme == "csa":
        csa_learner(end, stages[0], stages[1], rounds, study, node)
    else:
        equal_learner(end, stages[0], rounds, study, node)


def shards_served(done: Trial, name: str) -> list[int]:
    """How many shards the learner got in each round in which it was asked."""
    sent = done.group.ends[name].sent
    return [len(m.items[1]) // SHARD for m in sent if m.kind is Kind.DATA and len(m.items) == 4]


def test_learners_take_what_fits_and_all_keep_the_deadline() -> None:
    """c = 1 shard in 10 samples x pace; 24 shards are offered."""
    done = trial("dab", [steady(0.005), steady(0.05), steady(0.2)], rounds=20)
    assert all(report["late"] == 0 for report in done.reports)
    assert all(report["took_s"] < TERMS.deadline_s for report in done.reports)
    # mu / c = 2 x 10 x pace a shard, of 9 s; the links are a few ms a shard
    assert shards_served(done, "learner0") == [24] * 20
    assert shards_served(done, "learner1") == [8] * 20
    assert shards_served(done, "learner2") == [2] * 20


def test_the_plain_mean_is_taken_of_those_in_time_only() -> None:
    """The slow one gets a third of the shards, as all do, and misses every deadline."""
    done = trial("equal-split", [steady(0.01), steady(0.02), steady(0.1)], rounds=1)
    assert done.reports[0]["active"] == ["learner0", "learner1"]
    assert done.reports[0]["late"] == 1
    assert done.reports[0]["took_s"] == pytest.approx(TERMS.deadline_s, rel=1e-3)
    states = [updates(done, name)[0] for name in ("learner0", "learner1")]
    for mean, a, b in zip(done.reports[0]["state"], *states, strict=True):
        torch.testing.assert_close(mean, (a + b) / 2, rtol=0, atol=1e-6)


def updates(done: Trial, name: str) -> list[list[Tensor]]:
    return [m.items[1] for m in done.log if m.source == name and m.kind is Kind.WEIGHTS]


def test_who_is_late_is_not_asked_until_it_has_answered() -> None:
    """8 shards x 10 samples x 2 passes x 0.1 s = 16 s: late in round 1, busy in round 2."""
    done = trial("equal-split", [steady(0.01), steady(0.02), steady(0.1)], rounds=6)
    late = [report["late"] for report in done.reports]
    assert late[0] == 1
    assert sum(late) == len(shards_served(done, "learner2")) < 6
    assert all("learner2" not in report["active"] for report in done.reports)


def test_without_anybody_free_the_late_are_waited_for() -> None:
    done = trial("equal-split", [steady(0.05)], rounds=3)  # 24 shards: 24 s, three deadlines
    assert done.reports[0]["late"] == 1
    assert len(updates(done, "learner0")) >= 1


def test_a_learner_that_fits_no_shard_says_so_and_takes_no_part() -> None:
    done = trial("dab", [steady(0.01), steady(1.0)], rounds=2)
    assert [report["active"] for report in done.reports] == [["learner0"]] * 2
    ((_, said),) = [note for note in done.learners[1].notes if note[0] == "log"]
    assert "takes no part: not one shard can be" in said["text"]
    assert shards_served(done, "learner1") == []


def test_without_any_learner_the_run_ends_with_a_sentence() -> None:
    with pytest.raises(NodeError, match=r"no learner takes part .*raise train\.deadline"):
        trial("dab", [steady(1.0), steady(2.0)])


def half_speed(from_s: float, to_s: float = 1e9) -> Pace:
    return lambda now: 0.1 if from_s <= now < to_s else 0.05


@pytest.mark.parametrize("from_s", [34.0, 38.0, 41.3])
def test_dab_dynamic_recovers_from_half_the_speed_within_two_rounds(from_s: float) -> None:
    done = trial("dab", [steady(0.05), half_speed(from_s)], 11, replace(TERMS, dynamic=True))
    missed = [i for i, report in enumerate(done.reports) if "learner1" not in report["active"]]
    assert len(missed) == (0 if from_s > 41 else 1)  # it gives that round up, and is free again
    assert shards_served(done, "learner1")[-1] == 4
    assert done.notes("fault") == []


def test_a_round_is_given_up_in_time_for_the_next_and_not_long_before_its_plan() -> None:
    """At the last batch that ends before it. In `dab`, which is the paper's, it is trained to the
    end."""
    batch_s = 5 * half_speed(0.0)(0.0)
    slowed = [steady(0.05), half_speed(34.0)]
    for dynamic in (True, False):
        done = trial("dab", slowed, 11, replace(TERMS, dynamic=dynamic))
        worked = [f for name, f in done.learners[1].notes if name == "worked"]
        given_up = [f for f in worked if f["given_up"]]
        assert len(given_up) == dynamic
        for fields in given_up:
            took_s = fields["download_s"] + fields["train_s"]
            assert TERMS.planned_s - batch_s < took_s < TERMS.deadline_s
        empty = [m for m in done.log if m.kind is Kind.WEIGHTS and m.items[1:] == ([],)]
        assert len(empty) == dynamic


def test_dab_without_dynamics_goes_on_missing() -> None:
    done = trial("dab", [steady(0.05), half_speed(40.0)], 14)
    assert sum("learner1" not in report["active"] for report in done.reports) >= 8
    assert shards_served(done, "learner1")[-1] == 8


def test_a_learner_that_is_freed_takes_more_again() -> None:
    done = trial("dab", [steady(0.05), half_speed(0.0, 40.0)], 10, replace(TERMS, dynamic=True))
    served = shards_served(done, "learner1")
    assert served[0] == 4
    assert served[-1] == 8


def liar(asks: int, works_s: float) -> Callable[[End, Node], None]:
    """A learner that asks for what it likes."""

    def play(end: End, node: Node) -> None:
        end.recv()
        end.send(1)
        end.recv()
        end.send(asks)
        while end.recv():
            _, _, _, weights = end.recv()
            node.now += works_s
            end.send(asks, weights, kind=Kind.WEIGHTS)

    return play


def test_a_request_above_the_offer_is_refused() -> None:
    terms = replace(TERMS, dynamic=True)
    done = trial("dab", [steady(0.05)], 3, terms, [liar(SHARDS + 1, 1.0)])
    (fault,) = done.notes("fault")
    assert (fault["peer"], fault["what"]) == ("learner1", "refused")
    assert shards_served(done, "learner1") == []
    assert all(report["active"] == ["learner0"] for report in done.reports)


@pytest.mark.parametrize("misses", [1, 2, 3])
def test_so_many_misses_in_a_row_end_a_learners_part(misses: int) -> None:
    terms = replace(TERMS, dynamic=True, misses=misses)
    done = trial("dab", [steady(0.05)], 12, terms, [liar(20, 12.0)])
    (fault,) = done.notes("fault")
    assert (fault["peer"], fault["what"]) == ("learner1", "dropped")
    assert len(shards_served(done, "learner1")) == misses


def brief_standstill(until_s: float = 50.0) -> Pace:
    """20 times slower for a while."""
    return lambda now: 1.0 if 34.0 <= now < until_s else 0.05


@pytest.mark.parametrize("until_s", [44.0, 50.0, 65.0])
def test_a_learner_that_fits_no_shard_any_more_is_back_when_it_is_freed(until_s: float) -> None:
    """With a learner that goes on, whose rounds are not held up by it."""
    terms = replace(TERMS, dynamic=True, misses=2)
    done = trial("dab", [steady(0.03), brief_standstill(until_s)], 14, terms)
    served = shards_served(done, "learner1")
    assert 1 in served[3:]  # it was tried
    assert served[-3:] == [8] * 3
    assert all("learner1" in report["active"] for report in done.reports[-3:])
    assert done.notes("fault") == []
    assert len(shards_served(done, "learner0")) == 14
    assert all(report["took_s"] <= TERMS.deadline_s for report in done.reports)


def test_nobody_waits_for_a_learner_that_is_only_tried() -> None:
    alone = trial("dab", [steady(0.03)], 6, replace(TERMS, dynamic=True))
    done = trial("dab", [steady(0.03), steady(1.0)], 6, replace(TERMS, dynamic=True, misses=1))
    for with_it, without in zip(done.reports, alone.reports, strict=True):
        assert with_it["took_s"] == pytest.approx(without["took_s"], rel=0.02)
        assert (with_it["active"], with_it["late"]) == (["learner0"], 0)
    assert set(shards_served(done, "learner1")) == {1}
    assert done.notes("fault") == []
    ((_, said),) = [note for note in done.learners[1].notes if note[0] == "log"]
    assert "takes no part: not one shard can be" in said["text"]


def test_alone_such_a_learner_keeps_the_run_alive() -> None:
    done = trial("dab", [brief_standstill()], 14, replace(TERMS, dynamic=True, misses=2))
    assert [len(report["active"]) for report in done.reports[-3:]] == [1] * 3
    assert shards_served(done, "learner0")[-1] == 8


def test_what_nobody_ever_trained_is_no_result() -> None:
    with pytest.raises(NodeError, match=r"no learner takes part .*raise train\.deadline"):
        trial("dab", [steady(1.0), steady(2.0)], terms=replace(TERMS, dynamic=True))


def test_a_round_that_is_given_up_is_no_miss() -> None:
    """Half the speed: one round is given up, and even a single miss would end the part."""
    terms = replace(TERMS, dynamic=True, misses=1)
    done = trial("dab", [steady(0.05), half_speed(34.0)], 11, terms)
    assert [f["given_up"] for e, f in done.learners[1].notes if e == "worked"].count(True) == 1
    assert done.notes("fault") == []
    assert shards_served(done, "learner1")[-1] == 4


def test_csa_deals_all_shards_out_and_fills_the_deadline() -> None:
    done = trial("csa", [steady(0.01), steady(0.02), steady(0.04)], rounds=4)
    assert all(report["shards"] == SHARDS for report in done.reports)
    assert all(report["late"] == 0 for report in done.reports)
    assert all(0.75 * 9 < report["took_s"] < 10 for report in done.reports)
    assert all(report["staleness"] <= 1 for report in done.reports)
    last = [updates(done, node.name)[-1] for node in done.learners]
    for mean, *parts in zip(done.reports[-1]["state"], *last, strict=True):
        torch.testing.assert_close(mean, sum(parts) / 3, rtol=0, atol=1e-6)


def leaks(log: list[Message], state: list[Tensor], offered: int) -> list[Message]:
    """What left a learner beyond requests for a number of shards, and parameters."""

    def harmless(message: Message) -> bool:
        request, *rest = message.items
        if type(request) is not int or not 0 <= request <= offered:
            return False
        if not rest:
            return True
        shapes = [t.shape for t in state]
        return len(rest) == 1 and [t.shape for t in rest[0]] in (shapes, [])

    return [m for m in log if m.source != "server" and not harmless(m)]


@pytest.mark.parametrize("dynamic", [False, True])
def test_nothing_but_requests_and_parameters_leaves_a_dab_learner(dynamic: bool) -> None:
    done = trial("dab", [steady(0.01), steady(0.05)], terms=replace(TERMS, dynamic=dynamic))
    assert len([m for m in done.log if m.source != "server"]) == 2 * (2 + 3)
    assert leaks(done.log, model().state(), SHARDS) == []


def test_what_csa_learners_tell_is_noticed() -> None:
    done = trial("csa", [steady(0.01), steady(0.05)])
    told = leaks(done.log, model().state(), SHARDS)
    assert sorted(m.source for m in told) == ["learner0", "learner1"]
    assert all(isinstance(m.items[0], float) for m in told)
