"""One model over several nodes: `d-sgd`.

Malandrino and Chiasserini (FPL), section I and Fig. 1: the layers are split among the nodes, none
of them is replicated; activations and gradients cross between neighbours in every batch.

What the paper leaves open. The first node has the data, the last the labels; all go through the
samples in one order, which each draws from the seed. To test the model, the layers travel to the
first node as Kind.EVALUATION, once an epoch.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from edgenet.data import Eye, Order
from edgenet.links.protocol import Kind, Link
from edgenet.models.layers import LayerList
from edgenet.models.stage import Stage, cross_entropy
from edgenet.schemes.bench import Bench, Role, Rounds, Scheme, Setting
from edgenet.schemes.local import mean, require_finite

Judge = Callable[[Tensor, Tensor], tuple[float, Tensor]]
"""(activation, indices of its samples) -> (loss, error of the activation): what lies above."""


NOWHERE = "none"
"""As `spread`: all layers stay on the first node."""


def first(
    layers: Stage,
    eye: Eye,
    judge: Judge,
    order: Order,
    rounds: Rounds,
    test: Callable[[], Mapping[str, Any]],
) -> None:
    """`d-sgd`'s first node: the first layers, and the data."""
    for number in rounds:
        losses = []
        for at in order.epoch(number):
            loss, error = judge(layers.forward(eye.inputs(eye.train(at))), at)
            losses.append(require_finite(loss))
            layers.backward(error)
            layers.step()
        rounds.report(loss=mean(losses), **(test() if rounds.due() else {}))


def stage(
    below: Link, layers: Stage, judge: Judge, order: Order, rounds: Rounds, reporter: Link
) -> None:
    """A node with some of the layers, above another node's."""
    for number in rounds:
        for at in order.epoch(number):
            loss, error = judge(layers.forward(below.recv()), at)
            below.send(loss, layers.backward(error), kind=Kind.GRADIENT)
            layers.step()
        if rounds.due():
            reporter.send(layers.state(), kind=Kind.EVALUATION)


def by_labels(labels: Tensor) -> Judge:
    """At the last node: the mean cross-entropy."""
    return lambda output, at: cross_entropy(output, labels[at])


def from_above(above: Link) -> Judge:
    """At any other: what the node above answers."""

    def judge(output: Tensor, at: Tensor) -> tuple[float, Tensor]:
        above.send(output, kind=Kind.ACTIVATION)
        loss, error = above.recv()
        return loss, error

    return judge


def load(layers: LayerList, state: Sequence[Tensor]) -> None:
    """Copy a state that has travelled into `layers`."""
    layers.load_state_dict(dict(zip(layers.state_dict(), state, strict=True)))


def deal(layers: LayerList, nodes: int, starts: Sequence[str]) -> list[LayerList]:
    """Layers in order, over so many nodes: each from its own one of `starts` on (the first node
    begins at the beginning), or in pieces of equal length where nothing is said.

    Raises:
        ValueError: it does not come out; the sentence starts with 'spread'.
    """
    names = list(layers.layer_names)
    at = [names.index(start) for start in starts if start in names]
    if not starts:
        at = [round(i * len(names) / nodes) for i in range(1, nodes)]
    if len(at) != nodes - 1 or sorted({0, *at}) != [0, *at]:
        raise ValueError(
            f"spread is {'/'.join(starts)}; {nodes} nodes need {nodes - 1} of the layers "
            f"{', '.join(names[1:])}, in order: those that the second node and the next begin with"
        )
    items = list(layers.named_children())
    ends = [*at, len(names)]
    return [LayerList(OrderedDict(items[a:b])) for a, b in zip([0, *at], ends, strict=True)]


def working(stages: Sequence[str], layers: LayerList, starts: Sequence[str]) -> tuple[str, ...]:
    """Those of the nodes placed as `stage` that get layers: as many as `spread` names, or as there
    are layers left behind the first node's. The others have nothing to do."""
    if tuple(starts) == (NOWHERE,):
        return ()
    return tuple(stages[: len(starts) or len(layers.layer_names) - 1])


@dataclass(frozen=True)
class Chain:
    """`layers` over this run's first node (or server) and those `stage`s that get some."""

    bench: Bench
    layers: LayerList

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of the stages that work, from below."""
        return working(self.bench.cast("stage"), self.layers, self.bench.options.spread)

    @property
    def parts(self) -> list[LayerList]:
        """The layers of each node, the first node's first."""
        return deal(self.layers, 1 + len(self.stages), self.bench.options.spread)

    def link(self, stage: str) -> Link:
        """The link to one of the stages."""
        return self.bench.links("stage")[stage]

    def judge(self) -> Judge:
        """What lies above this node: the next stage, or the labels."""
        stages, name = self.stages, self.bench.name
        above = stages.index(name) + 1 if name in stages else 0
        if above < len(stages):
            return from_above(self.link(stages[above]))
        return by_labels(self.bench.dataset().train_y)

    def play(self, bottom: str) -> None:
        """Play `stage`; `bottom` is the role that is below the first of them and reports."""
        bench, stages = self.bench, self.stages
        if bench.name not in stages:
            return
        number, reporter = stages.index(bench.name), bench.link(bottom)
        below = self.link(stages[number - 1]) if number else reporter
        mine = bench.stage(self.parts[number + 1])
        stage(below, mine, self.judge(), bench.order(), bench.rounds(), reporter)

    def collect(self) -> None:
        """Copy the stages' layers, as they are now, into `layers`."""
        for name, part in zip(self.stages, self.parts[1:], strict=True):
            load(part, self.link(name).recv())


@dataclass(frozen=True, kw_only=True)
class ChainOptions:
    """How the layers are dealt out."""

    spread: tuple[str, ...] = ()
    """The layers that the second node and each further one begin with; [] = pieces of equal length,
    'none' = all on the first."""


def _play_first(bench: Bench) -> None:
    layers = bench.layers()
    chain, eye = Chain(bench, layers), bench.eye()

    def test() -> Mapping[str, Any]:
        chain.collect()
        state = list(layers.state_dict().values())
        return {"state": state, "infer": lambda at: layers(eye.inputs(eye.test(at)))}

    mine = bench.stage(chain.parts[0], first=True)
    first(mine, eye, chain.judge(), bench.order(), bench.rounds(), test)


def check_spread(setting: Setting, layers: LayerList) -> None:
    """Raises ValueError if the layers cannot be dealt out to the nodes that are there."""
    starts: Sequence[str] = setting.options.spread
    deal(layers, 1 + len(working(setting.cast["stage"], layers, starts)), starts)


def _model(setting: Setting) -> LayerList:
    check_spread(setting, setting.layers)
    return setting.layers


D_SGD = Scheme(
    name="d-sgd",
    summary="one model, its layers split over the nodes, no replication (FPL sec. I)",
    roles=(
        Role(name="first", play=_play_first, peers=("stage",), sees=True),
        Role(
            name="stage",
            play=lambda bench: Chain(bench, bench.layers()).play("first"),
            peers=("first", "stage"),
            many=True,
        ),
    ),
    options=ChainOptions,
    model=_model,
)
