"""Devices that change during a run: parsed, followed by the clock, felt by the stage."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from small_runs import topology
from test_models_throttle import Clock, Worker

from edgenet.devices import clock as device_clock
from edgenet.errors import TopologyError
from edgenet.meters.journal import Journal
from edgenet.models.throttle import Throttled
from edgenet.node.slowing import Slowing
from edgenet.topology.events import sentence
from edgenet.topology.load import dump, loads
from edgenet.topology.spec import TimedEvent, Topology


def with_events(*events: dict[str, object]) -> Topology:
    tree = yaml.safe_load(dump(topology("fedavg", 2)))
    return loads(yaml.safe_dump({**tree, "events": list(events)}), file="t.yaml")


def test_slow_and_free_are_values_that_read_back() -> None:
    spec = with_events(
        {"at": "40 s", "slow": "learner1", "factor": 2}, {"at": "60 s", "free": "learner1"}
    )
    slow, free = spec.events
    assert slow == TimedEvent(at_s=40, kind="slow", target="learner1", settings={"factor": 2.0})
    assert free == TimedEvent(at_s=60, kind="free", target="learner1")
    assert loads(dump(spec)) == spec
    assert sentence(slow) == "learner1 becomes 2 times slower than its profile"
    assert sentence(free) == "learner1 is as fast as its profile again"


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"at": "4 s", "slow": "learner1"}, "slows 'learner1' down by nothing; add how many times"),
        ({"at": "4 s", "slow": "learner1", "factor": 0.5}, "factor"),
        ({"at": "4 s", "slow": "nobody", "factor": 2}, "nobody"),
        ({"slow": "learner1", "factor": 2}, "does not say when"),
        ({"at": "4 s", "free": "learner1", "factor": 2}, "factor"),
    ],
)
def test_a_mistake_is_a_sentence(event: dict[str, object], said: str) -> None:
    with pytest.raises(TopologyError, match=said):
        with_events(event)


def test_the_newest_event_that_is_due_counts() -> None:
    now = 0.0
    events = [
        TimedEvent(at_s=20, kind="free", target="a"),
        TimedEvent(at_s=10, kind="slow", target="a", settings={"factor": 3.0}),
        TimedEvent(at_s=5, kind="slow", target="b", settings={"factor": 9.0}),
        TimedEvent(at_s=5, kind="cut", target="a"),
    ]
    started: float | None = None
    slowing = Slowing(events, "a", lambda: started, lambda: now)
    assert slowing() == 1.0  # nobody has joined yet
    started = 100.0
    for now, factor in ((100.0, 1.0), (109.9, 1.0), (110.0, 3.0), (119.0, 3.0), (120.0, 1.0)):
        assert slowing() == factor, now


def test_a_stage_feels_it_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock, factor = Clock(), 1.0
    monkeypatch.setattr(device_clock, "time", clock)
    stage = Throttled(Worker(clock, cpu=0.1), 2, Journal(), lambda: factor)
    stage.step()
    assert clock.wall == pytest.approx(0.2)
    factor = 5.0
    stage.step()
    assert clock.wall == pytest.approx(0.2 + 1.0)
