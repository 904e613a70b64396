"""A server of split learning in a thread, and clients at the other ends of in-memory links."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.links.group import Group
from edgenet.links.link import WireLink
from edgenet.links.memory import link_pair
from edgenet.links.shared import Limits, Shared
from edgenet.meters.journal import Journal
from edgenet.models.local import LocalStage
from edgenet.schemes import split
from edgenet.schemes.attendance import Attendance
from edgenet.schemes.split_round import Variant
from edgenet.topology.spec import Optimizer

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
        journal = options.pop("journal", None) or Journal()
        self.shared = Shared(limits=LIMITS, journal=journal)
        self.far, near = dict[str, WireLink](), {}
        self.came: list[WireLink] = []
        self.players: list[threading.Thread] = []
        for name in options.pop("there", NAMES):
            near[name], self.far[name] = self.pair(name)
        self.group = Group("server", NAMES, near, self.shared, quorum=1 / 3, newcomers=self._new)
        stage = LocalStage(self.tail, Optimizer(), LR)
        head = [tensor.clone() for tensor in layers(0, 4, 3).state_dict().values()]
        clock = options.pop("clock", time.monotonic)
        roll = Attendance(self.group, options.pop("deadline_s", None), clock)
        given = (roll, stage, head, rounds, variant, 0)
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

    def has_from(self, name: str) -> None:
        """Wait until a message of `name` lies at the server."""
        end = time.monotonic() + PATIENCE_S
        while self.group[name].waiting_since() is None:
            assert time.monotonic() < end, f"nothing came from {name}"
            threading.Event().wait(0.01)

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


def step(
    tail: nn.Module, uploads: Mapping[str, tuple[Tensor, Tensor]], among: Iterable[str] = ()
) -> dict[str, Tensor]:
    """Eqs. 4-6 with delta over the clients `among` (else those that are there); their gradients at
    the cut."""
    total, gradients = sum(SAMPLES[name] for name in among or uploads), {}
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


def play(
    stage: Stage,
    uploads: Mapping[str, tuple[Tensor, Tensor]],
    tail: nn.Module,
    among: Iterable[str] = (),
    late: str = "",
) -> None:
    """Send uploads, and hold what comes back to the reference. Nobody waits for who is `late`: its
    upload is there before the others'."""
    for name in sorted(uploads, key=lambda name: name != late):
        stage.far[name].send(*uploads[name])
        if name == late:
            stage.has_from(name)
    for name, expected in step(tail, uploads, among).items():
        got = stage.far[name].recv(timeout_s=PATIENCE_S)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)


def open_round(stage: Stage, steps: int) -> None:
    stage.thread.start()
    for name in NAMES:
        stage.far[name].send(SAMPLES[name], steps)
    for name in NAMES:
        assert stage.far[name].recv(timeout_s=PATIENCE_S) == (1, [])


class Batches:
    """Two batches; notes down the head with which each pass begins. `stall` is called before each
    batch."""

    def __init__(self, name: str, head: nn.Module, stall: Callable[[], object]) -> None:
        self.samples, self._seed, self._head = SAMPLES[name], ord(name), head
        self._stall = stall
        self.began: list[Tensor] = []

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.began.append(self._head.weight.detach().clone())  # type: ignore[union-attr,operator]
        generator = torch.Generator().manual_seed(self._seed)
        for _ in range(2):
            self._stall()
            yield torch.randn(5, 4, generator=generator), torch.randint(2, (5,))


def join(
    stage: Stage, name: str, variant: Variant, stall: Callable[[], object] = lambda: None
) -> Batches:
    """Play `name`'s role in a thread."""
    head = layers(0, 4, 3)
    batches, local = Batches(name, head, stall), LocalStage(head, Optimizer(), LR)
    given = (stage.far[name], local, batches, Rounds(0), 1, variant)
    stage.players.append(threading.Thread(target=split.client, args=given, daemon=True))
    stage.players[-1].start()
    return batches
