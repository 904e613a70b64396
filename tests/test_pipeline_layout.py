"""What a pipeline's layout says and refuses, its order of work, and the memory that it counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from chains import DEEP, EXACT, chain, finish, one_torch_thread
from small_runs import events

from edgenet.devices import PROFILES
from edgenet.errors import Interrupted, NodeError, TopologyError
from edgenet.models.layers import build
from edgenet.models.versions import Stored
from edgenet.node.memory import MemoryLimit
from edgenet.node.plan import resolve
from edgenet.node.threads import run_in_threads
from edgenet.schemes.advice import advise
from edgenet.schemes.cut import balance
from edgenet.schemes.timetable import BACKWARD, FORWARD


@pytest.fixture(autouse=True)
def _one_torch_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


def test_only_neighbours_are_linked() -> None:
    seats = resolve(chain("pipedream", 4)).seats
    assert [[peer for peer, _ in seat.peers] for seat in seats] == [
        ["worker1"], ["worker0", "worker2"], ["worker1", "worker3"], ["worker2"],
    ]  # fmt: skip


def test_memory_is_counted_and_follows_the_plan(tmp_path: Path) -> None:
    """The middle stage, whose window is full: m versions under pipedream, one under mcpipe."""
    split = {"split": ["C5", "F2"], "windows": [4, 4, 1], "window": 4}
    peaks = {}
    for scheme in EXACT:
        spec = chain(scheme, 3, **split)
        finish(spec, tmp_path / scheme)
        seen = events(tmp_path / scheme, "worker1", "memory")
        assert max(event["live"] for event in seen) == 4
        last = events(tmp_path / scheme, "worker2", "memory")
        assert max(event["live"] for event in last) == 1
        peaks[scheme] = max(event["versions"] for event in seen)
    model = build(DEEP, classes=10, shape=(1, 28, 28), seed=0)
    size = sum(p.nbytes for name, p in model.named_parameters() if name[:2] in ("F1", "F2"))
    assert peaks == {"pipedream": 4 * size, "mcpipe": size, "mcpipe-adaptive": size}


def test_the_order_of_the_events_is_that_of_the_timetable(tmp_path: Path) -> None:
    spec = chain("pipedream", 3)
    finish(spec, tmp_path)
    for n, row in enumerate(resolve(spec).layout.table.stages):
        verbs = {FORWARD: "forward", BACKWARD: "backward"}
        planned = [verbs.get(action.verb, "step") for action in row] * spec.train.rounds
        spans = events(tmp_path, f"worker{n}", "span")
        assert [s["n"] for s in spans if s["k"] == "compute"] == planned


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ({"window": 0}, "train.window is 0; it must be"),
        ({"split": [1, 2, 1]}, "train.split is"),
        ({"split": ["C1", "F9"]}, "train.split has 'F9' in it; layers are C1"),
        ({"windows": [4, 1]}, "train.windows has 2 numbers for 3 workers"),
        (
            {"windows": [2, 3, 1]},
            "train.windows is [2, 3, 1]; this timetable cannot be carried out",
        ),
        ({"optimizer": "adam"}, "train.optimizer is adam"),
        ({"span": -1}, "train.span is -1"),
        ({"span": 3, "local_epochs": 2}, "train.span is 3, and local_epochs 2"),
        ({"master": "sleeps"}, "train.master is 'sleeps'"),
        ({"model": "two-nn", "window": True}, "train.window is True"),
        ({"model": "resnet-16-w8"}, "train.model is resnet-16-w8; its layer B1"),
    ],
)
def test_bad_input_is_a_sentence_with_its_place(train: dict[str, Any], said: str) -> None:
    with pytest.raises(TopologyError) as refused:
        resolve(chain("mcpipe", 3, **train))
    assert said in str(refused.value)
    assert str(refused.value).startswith("chain.yaml:")


def test_more_workers_than_layers_are_refused() -> None:
    with pytest.raises(TopologyError, match=r"train\.split finds 4 workers for 3 layers"):
        resolve(chain("gpipe", 4, model="two-nn"))


def test_a_stage_without_memory_says_what_it_held_and_what_would_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's own words for it come from an allocator that is asked for the impossible."""

    def grow(layer: Stored, needed: set[int]) -> None:
        if layer.newest == 3 and len(layer.product.weights[0]) == 64:
            torch.empty(1 << 60, dtype=torch.uint8)
        whole(layer, needed)

    whole = Stored.update
    monkeypatch.setattr(Stored, "update", grow)
    split = {"split": ["C5", "F2"], "windows": [4, 4, 1]}
    plan = resolve(chain("pipedream", 3, **split))
    with pytest.raises(NodeError) as ended:
        run_in_threads(plan, tmp_path)
    said = str(ended.value)
    assert said.startswith("worker1 ran out of memory in an update: it held 3 weight versions")
    assert "that is stage 2 (F1, F2) under pipedream" in said
    assert "what takes less: train.scheme " in said


def test_a_stage_on_too_small_a_device_says_the_same() -> None:
    layout = resolve(chain("pipedream", 3)).layout
    limit = MemoryLimit("worker1", PROFILES["pi1"], read=lambda: 10**12)
    limit.check()
    with pytest.raises(NodeError) as ended, limit.kept(lambda: f"; {advise(layout, 'worker1')}"):
        raise Interrupted("stopped by SIGTERM")
    assert "worker1 holds 931 GiB, but its device 'pi1' has" in str(ended.value)
    assert "that is stage 2 (" in str(ended.value)
    assert "train.scheme " in str(ended.value)


def test_the_split_is_balanced_by_speed() -> None:
    even = resolve(chain("gpipe", 3)).layout.starts
    tree = chain("gpipe", 3)
    slow = replace(tree.nodes[0], device="pi3")
    uneven = resolve(replace(tree, nodes=(slow, *tree.nodes[1:]))).layout.starts
    assert 1 <= uneven[1] < even[1]


def test_the_split_can_be_balanced_by_memory() -> None:
    """F1, the largest layer, ends up alone."""
    names = resolve(chain("gpipe", 3, balance="memory")).layout
    assert ("F1",) in [names.names(n) for n in range(3)]
    assert balance([1, 1, 1, 9], [1.0, 1.0]) == (0, 3)
    assert balance([4, 4, 4, 4], [3.0, 1.0]) == (0, 3)
