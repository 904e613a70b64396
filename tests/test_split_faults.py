"""Split learning when clients die, dawdle or come back: the steps go on with who is there."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from small_runs import events, topology
from test_faults import ROUNDS, Run, gone, start
from torch import Tensor, nn

from edgenet.links.group import Group
from edgenet.links.link import WireLink
from edgenet.links.memory import link_pair
from edgenet.links.shared import Limits, Shared
from edgenet.models.local import LocalStage
from edgenet.schemes import split
from edgenet.schemes.split import Variant
from edgenet.topology.spec import Optimizer

__all__ = ["start"]  # a fixture

NAMES = ("a", "b", "c")
SAMPLES = {"a": 10, "b": 20, "c": 30}
LIMITS = Limits(linger_s=2.0)
PATIENCE_S = 20.0
LR = 0.1


def layers(seed: int, inputs: int, outputs: int) -> nn.Linear:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Linear(inputs, outputs)


class Rounds:
    """`schemes.bench.Rounds` without a run around it."""

    def __init__(self, total: int, after: Mapping[int, Callable[[], None]] | None = None) -> None:
        self.total, self.after = total, after or {}
        self.now = 0
        self.figures: list[dict[str, Any]] = []

    def __len__(self) -> int:
        return self.total

    def __iter__(self) -> Iterator[int]:
        for number in range(1, self.total + 1):
            self.now = number
            yield number

    def enter(self, number: int) -> AbstractContextManager[None]:
        self.now = number
        return nullcontext()

    def recall(self, name: str, default: Any = None) -> Any:
        return default

    def remember(self, **values: Any) -> None:
        pass

    def due(self) -> bool:
        return False

    def report(self, *, state: Any = None, models: Any = (), **figures: Any) -> None:
        self.figures.append(figures)
        self.after.get(self.now, lambda: None)()


class Stage:
    """A server in a thread, and the clients' ends of its links."""

    def __init__(self, variant: Variant, rounds: Rounds, **options: Any) -> None:
        self.rounds, self.tail = rounds, layers(1, 3, 2)
        self.shared, self.far, near = Shared(limits=LIMITS), dict[str, WireLink](), {}
        self.came: list[WireLink] = []
        self.players: list[threading.Thread] = []
        for name in options.pop("there", NAMES):
            near[name], self.far[name] = self.pair(name)
        self.group = Group("server", NAMES, near, self.shared, quorum=1 / 3, newcomers=self._new)
        stage = LocalStage(self.tail, Optimizer(), LR)
        head = [tensor.clone() for tensor in layers(0, 4, 3).state_dict().values()]
        given = (self.group, stage, head, rounds, variant, 0, options.pop("deadline_s", None))
        self.thread = threading.Thread(target=split.server, args=given, daemon=True)

    def pair(self, name: str) -> tuple[WireLink, WireLink]:
        return link_pair(("server", name), (self.shared, Shared(limits=LIMITS)))

    def come(self, name: str) -> None:
        """`name` connects (again)."""
        link, self.far[name] = self.pair(name)
        self.came.append(link)

    def _new(self, _: Any) -> Sequence[WireLink]:
        came, self.came = self.came, []
        return came

    def end(self) -> None:
        """The server must have come to its end by itself."""
        self.thread.join(PATIENCE_S)
        for player in self.players:  # by now all that there will be
            player.join(PATIENCE_S)
        assert not any(thread.is_alive() for thread in (self.thread, *self.players))
        for link in self.far.values():
            link.start_close()
        self.group.close()


def upload(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(5, 3, generator=generator), torch.randint(2, (5,), generator=generator)


def step(tail: nn.Module, uploads: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Eqs. 4-6 with delta over the clients that are there; their gradients at the cut."""
    total, gradients = sum(SAMPLES[name] for name in uploads), {}
    tail.zero_grad()
    for name, (s, y) in uploads.items():
        leaf = s.clone().requires_grad_()
        loss = nn.functional.cross_entropy(tail(leaf), y)
        (gradients[name],) = torch.autograd.grad(loss, leaf, retain_graph=True)
        (SAMPLES[name] / total * loss).backward()
    with torch.no_grad():
        for weight in tail.parameters():
            weight -= LR * weight.grad
    return gradients


def play(stage: Stage, uploads: Mapping[str, tuple[Tensor, Tensor]], tail: nn.Module) -> None:
    """Send uploads, and hold what comes back to the reference."""
    for name, items in uploads.items():
        stage.far[name].send(*items)
    for name, expected in step(tail, uploads).items():
        got = stage.far[name].recv(timeout_s=PATIENCE_S)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)


def open_round(stage: Stage, steps: int) -> None:
    stage.thread.start()
    for name in NAMES:
        stage.far[name].send(SAMPLES[name], steps)
    for name in NAMES:
        assert stage.far[name].recv(timeout_s=PATIENCE_S) == (1, [])


def test_the_share_of_a_lost_client_goes_to_the_others() -> None:
    stage, tail = Stage(Variant(), Rounds(1)), layers(1, 3, 2)
    open_round(stage, 2)
    play(stage, {name: upload(i) for i, name in enumerate(NAMES)}, tail)
    stage.far["b"].close()
    play(stage, {"a": upload(3), "c": upload(4)}, tail)
    stage.end()
    torch.testing.assert_close(stage.tail.weight, tail.weight, rtol=0, atol=1e-6)


def test_a_late_client_is_not_waited_for_and_its_upload_goes_into_a_later_step() -> None:
    stage, tail = Stage(Variant(), Rounds(1), deadline_s=0.5), layers(1, 3, 2)
    open_round(stage, 2)
    play(stage, {"a": upload(0), "c": upload(1)}, tail)
    play(stage, {name: upload(2 + i) for i, name in enumerate(NAMES)}, tail)
    play(stage, {"b": upload(5)}, tail)
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


class Batches:
    """Two batches; notes down the head with which each pass begins."""

    def __init__(self, name: str, head: nn.Module) -> None:
        self.samples, self._seed, self._head = SAMPLES[name], ord(name), head
        self.began: list[Tensor] = []

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.began.append(self._head.weight.detach().clone())  # type: ignore[union-attr,operator]
        generator = torch.Generator().manual_seed(self._seed)
        for _ in range(2):
            yield torch.randn(5, 4, generator=generator), torch.randint(2, (5,))


def join(stage: Stage, name: str, variant: Variant) -> Batches:
    """Play `name`'s role in a thread."""
    head = layers(0, 4, 3)
    batches, local = Batches(name, head), LocalStage(head, Optimizer(), LR)
    given = (stage.far[name], local, batches, Rounds(0), 1, variant)
    stage.players.append(threading.Thread(target=split.client, args=given, daemon=True))
    stage.players[-1].start()
    return batches


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
