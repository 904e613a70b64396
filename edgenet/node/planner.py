"""What a way of distributing training would cost on a network: predictions to choose by.

A candidate is a scheme with its settings (a cut, a junction, a placement). Its stages are run on
this host for some tenths of a second; device profiles turn that into their seconds, channels turn
bytes into the network's. What a run adds that no plan knows, such as nodes that compete for this
host's cores, is not in it.
"""

from __future__ import annotations

import functools
import math
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from edgenet import channels
from edgenet.data import Dataset, Eye
from edgenet.devices.radio import RADIOS
from edgenet.meters import energy
from edgenet.models.layers import LayerList, LayerRow, table
from edgenet.models.throttle import slowdown
from edgenet.models.timing import StageCost
from edgenet.node.costing import Costs
from edgenet.node.footprint import Held, common_bytes, links_bytes, tested_bytes
from edgenet.node.forecast import Medium, Turn, Way
from edgenet.node.plan import Plan, Seat
from edgenet.node.substance import dataset_of, eye_of, model_of, seeing, shares_of
from edgenet.topology.graph import radio_of


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What one candidate would cost in one round."""

    name: str
    """The scheme and its settings: 'psl, cut F1'."""
    settings: tuple[str, ...]
    """What to `--set` to run it."""
    round_s: float
    """Seconds a round, without evaluation; what happens before the first only, dealt out."""
    sent_bytes: int
    """Bytes a round over all links, likewise: payload, headers, descriptors."""
    on_air_bytes: int
    """The part of them that media which can broadcast would carry: what goes to several members of
    one shared medium counts there once. The mean over the rounds; exact, draws included."""
    once_s: float
    """Seconds before the first round only, of all of them."""
    once_bytes: int
    """Bytes before the first round only."""
    memory_bytes: Mapping[str, int]
    """Node -> resident bytes at most in a run on this host, `peak_rss_bytes` (node.footprint)."""
    room_bytes: Mapping[str, int]
    """Node -> what its device's memory has left beside it, where Python and torch are resident
    alone and as a whole; negative: what it lacks. Without nodes whose device's is not known."""
    energy_j: float | None
    """Joules a round of all nodes whose power is known; None if none's is."""

    @property
    def lacks_bytes(self) -> dict[str, int]:
        """Node whose device has too little memory -> bytes that it lacks; empty: all fit."""
        return {node: -room for node, room in self.room_bytes.items() if room < 0}


@dataclass(kw_only=True)
class Sketch:
    """A forecast in the making."""

    name: str
    settings: tuple[str, ...]
    round_s: float = 0.0
    once_s: float = 0.0
    sent: defaultdict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    """(sender, receiver) -> bytes in a round, the mean over the rounds."""
    once: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Likewise, before the first."""
    copied: float = 0.0
    """Bytes of what is sent in a round that a broadcast would not carry again."""
    busy_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Node -> seconds of its own device in which it computes, in a round."""
    held: dict[str, Held] = field(default_factory=dict)
    """Node -> what it holds beyond what all nodes do."""

    def hold(self, node: str, held: Held) -> None:
        """A node holds so much at a time."""
        self.held[node] = self.held.get(node, held) | held


def mixed(parts: Sequence[tuple[Sketch, int]]) -> Sketch:
    """One candidate whose rounds are of several kinds: the mean of them, each with how many rounds
    are like that; held at most what the largest holds."""
    (first, _), total = parts[0], sum(rounds for _, rounds in parts)
    whole = Sketch(name=first.name, settings=first.settings, once_s=first.once_s, once=first.once)
    for part, rounds in parts:
        share = rounds / total
        whole.round_s += share * part.round_s
        whole.copied += share * part.copied
        for hop, nbytes in part.sent.items():
            whole.sent[hop] += share * nbytes
        for node, seconds in part.busy_s.items():
            whole.busy_s[node] += share * seconds
        for node, held in part.held.items():
            whole.hold(node, held)
    return whole


class Planner:
    """What all candidates of one scheme have in common.

    Args:
        plan: a resolved topology.
        costs: what has been measured on this host.
        options: the scheme's own, as the user set them; None = those of `plan`.
        shared: members of a shared medium halve each other's rate (true of kernel back ends).
    """

    def __init__(
        self, plan: Plan, costs: Costs, options: Any = None, *, shared: bool = False
    ) -> None:
        self.plan, self.costs, self._shared = plan, costs, shared
        self.options = plan.options if options is None else options
        self.train, self.seed = plan.topology.train, plan.topology.seed
        self.dataset: Dataset = dataset_of(plan.topology)
        self.model: LayerList = model_of(plan.topology, self.dataset)
        self.rows: tuple[LayerRow, ...] = table(self.model, self.dataset.shape)
        self._media: dict[str, Medium] = {}
        self._medium = functools.cache(plan.medium)
        self.seen = functools.cache(self._seen)
        """A batch of so many samples as a source sees it: (node, rows) -> (rows, ...)."""
        self._slow = {
            seat.name: slowdown(costs.host_flops, plan.topology.device(seat.name))
            for seat in plan.seats
        }
        self.samples = {seat.name: self._samples(seat) for seat in plan.seats}
        self.model_bytes = sum(row.weight_bytes for row in self.rows)
        self.tested_bytes = 0
        if self.train.evaluate:
            self.tested_bytes = tested_bytes(self.model, self.dataset)
        common = common_bytes(plan, self.dataset)
        self._common = {s.name: common + links_bytes(plan, s.name) for s in plan.seats}

    def cast(self, role: str) -> tuple[str, ...]:
        """Who plays `role`."""
        return self.plan.casts[role]

    def eye(self, node: str) -> Eye:
        """What a node sees."""
        number = seeing(self.plan.scheme, self.plan.casts).index(node)
        return eye_of(self.plan.topology, self.dataset, number)

    def begin(self, name: str, *settings: str) -> Sketch:
        """A new candidate; ways are idle again."""
        self._media.clear()
        settings = (f"train.scheme={self.train.scheme}", *settings)
        return Sketch(name=", ".join([self.train.scheme, name] if name else [self.train.scheme]),
                      settings=settings)  # fmt: skip

    def way(self, source: str, target: str) -> Way:
        """From one node to another."""
        name = self._medium(source, target) if self._shared else None
        medium = None if name is None else self._media.setdefault(name, Medium())
        return Way(
            channels.between(self.plan.topology, source, target),
            medium=medium,
            message_s=self.costs.message_s,
            seed=(source, target),
        )

    def copies(self, source: str, targets: Iterable[str]) -> int:
        """To how many of `targets` a message from `source` need not be sent once more where media
        can broadcast."""
        media = [self._medium(source, target) for target in targets]
        shared = [medium for medium in media if medium is not None]
        return len(shared) - len(set(shared))

    def tell(self, sketch: Sketch, source: str, targets: Sequence[str], nbytes: int) -> None:
        """`source` sends all of `targets` the same, once a round."""
        for target in targets:
            sketch.sent[source, target] += nbytes
        sketch.copied += self.copies(source, targets) * nbytes

    def on(self, node: str, seconds: float) -> float:
        """Host seconds in a stage's verbs, as the node's device takes them."""
        return self._slow[node] * seconds

    def turn(self, node: str, cost: StageCost, before_s: float = 0.0) -> Turn:
        """A node's part of a chain; `before_s`: host seconds between the verbs."""
        return Turn(
            forward_s=self.on(node, cost.forward_s) + before_s,
            backward_s=self.on(node, cost.backward_s),
            step_s=self.on(node, cost.step_s),
        )

    def inputs(self, rows: int) -> Tensor:
        """A batch of the dataset."""
        return self.dataset.normalised(self.dataset.train_x[:1].expand(rows, *self.dataset.shape))

    def outputs(self, at: int, rows: int) -> Tensor:
        """A batch of the input of layer number `at`."""
        if at == 0:
            return self.inputs(rows)
        return torch.rand(rows, *self.rows[at - 1].output_shape)

    def cost(self, start: int, end: int | None, rows: int) -> StageCost:
        """Of the model's layers from number `start` to before `end` in one stage."""
        layers = self.part(start, end)
        key = (self.train.model, self.dataset.shape, layers.layer_names)
        x = self.outputs(start, rows)
        return self.costs.stage(key, layers, x, self.train.optimizer, first=start == 0)[0]

    def part(self, start: int, end: int | None) -> LayerList:
        """Those layers."""
        return LayerList(OrderedDict(list(self.model.named_children())[start:end]))

    def fetch_s(self, node: str, rows: int) -> float:
        """Host seconds in which a node that trains makes its next batch."""
        if self.train.data.views and self.plan.role(self.plan.seat(node).role).sees:
            return self.see_s(node, rows)
        data, at = self.dataset, torch.arange(rows) % len(self.dataset.train_x)
        key = ("plain", data.name, rows)
        return self.costs.call(key, lambda: data.normalised(data.train_x[at]))

    def see_s(self, node: str, rows: int) -> float:
        """Host seconds in which a source sees a batch."""
        key = ("see", self.eye(node).view, rows)
        return self.costs.call(key, lambda: self._seen(node, rows))

    def _seen(self, node: str, rows: int) -> Tensor:
        eye = self.eye(node)
        return eye.inputs(eye.train(torch.arange(rows) % len(self.dataset.train_y)))

    def _samples(self, seat: Seat) -> int:
        """Of a node's own pass: its share, or all where it sees them in its own view."""
        if seat.share is None or (self.train.data.views and self.plan.role(seat.role).sees):
            return len(self.dataset.train_y)
        return len(shares_of(self.plan.topology, self.dataset, self.plan.shares)[seat.share])

    def loss_s(self, rows: int) -> float:
        """Host seconds of the loss."""
        return self.costs.loss(rows, self.dataset.classes)

    def finish(self, sketch: Sketch) -> Forecast:
        """The forecast."""
        rounds = self.train.rounds
        round_s = sketch.round_s + sketch.once_s / rounds
        sent = math.fsum(sketch.sent.values()) + sketch.once.total() / rounds
        saves = self.plan.topology.faults.checkpoint != 0 and rounds > 1
        own = {n: self._common[n] + held.most(saves=saves) for n, held in sketch.held.items()}
        memory = {node: self.costs.base_bytes + nbytes for node, nbytes in own.items()}
        return Forecast(
            name=sketch.name,
            settings=sketch.settings,
            round_s=round_s,
            sent_bytes=round(sent),
            on_air_bytes=round(sent - sketch.copied),
            once_s=sketch.once_s,
            once_bytes=sketch.once.total(),
            memory_bytes=memory,
            room_bytes=self._rooms({n: self.costs.alone_bytes + size for n, size in own.items()}),
            energy_j=self._energy_j(round_s, sketch),
        )

    def _rooms(self, held: Mapping[str, int]) -> dict[str, int]:
        most = {node: self.plan.topology.device(node).memory_bytes for node in held}
        return {node: size - held[node] for node, size in most.items() if size is not None}

    def _energy_j(self, round_s: float, sketch: Sketch) -> float | None:
        """The same model as a run's (edgenet.meters.energy)."""
        known = [
            energy.phases(
                self.plan.topology.device(seat.name), self._activity(seat.name, round_s, sketch),
                RADIOS.get(radio_of(self.plan.topology, seat.name) or ""),
            )
            for seat in self.plan.seats
        ]  # fmt: skip
        joules = [each.total_j for each in known if each is not None]
        return math.fsum(joules) if joules else None

    def _activity(self, node: str, round_s: float, sketch: Sketch) -> energy.Activity:
        moved = sketch.sent.copy()
        for hop, nbytes in sketch.once.items():
            moved[hop] += nbytes / self.train.rounds
        busy_s = min(round_s, sketch.busy_s[node])
        return energy.Activity(
            wall_s=round_s,
            cpu_s=sketch.busy_s[node] / self._slow[node],
            slowdown=self._slow[node],
            compute_s=busy_s,
            wait_s=round_s - busy_s,
            sent_bytes=round(sum(n for (source, _), n in moved.items() if source == node)),
            received_bytes=round(sum(n for (_, target), n in moved.items() if target == node)),
        )
