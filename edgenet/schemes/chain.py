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
    if nodes > len(names):
        raise ValueError(f"spread finds {nodes} nodes for {len(names)} layers ({', '.join(names)})")
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


def chain(bench: Bench, layers: LayerList, starts: Sequence[str]) -> list[LayerList]:
    """`layers` over this run's first node (or server) and its `stage`s."""
    return deal(layers, 1 + len(bench.cast("stage")), starts)


def judge_of(bench: Bench) -> Judge:
    """What lies above this node: the next stage, or the labels."""
    stages = bench.cast("stage")
    above = stages.index(bench.name) + 1 if bench.name in stages else 0
    if above < len(stages):
        return from_above(bench.links("stage")[stages[above]])
    return by_labels(bench.dataset().train_y)


def play_stage(bench: Bench, layers: LayerList, bottom: str) -> None:
    """Play `stage` on its part of `layers`; `bottom` is the role that is below the first of them
    and reports."""
    stages, reporter = bench.cast("stage"), bench.link(bottom)
    number = stages.index(bench.name)
    below = bench.links("stage")[stages[number - 1]] if number else reporter
    mine = bench.stage(chain(bench, layers, bench.options.spread)[number + 1])
    stage(below, mine, judge_of(bench), bench.order(), bench.rounds(), reporter)


def collect(bench: Bench, parts: Sequence[LayerList]) -> None:
    """Copy the stages' layers, as they are now, into `parts` (the first node's come first)."""
    stages = bench.cast("stage")
    for name, part in zip(stages, parts[1:], strict=True):
        load(part, bench.links("stage")[name].recv())


@dataclass(frozen=True, kw_only=True)
class ChainOptions:
    """How the layers are dealt out."""

    spread: tuple[str, ...] = ()
    """The layers that the second node and each further one begin with; none = pieces of equal
    length."""


def _play_first(bench: Bench) -> None:
    layers = bench.layers()
    parts = chain(bench, layers, bench.options.spread)
    eye = bench.eye()

    def test() -> Mapping[str, Any]:
        collect(bench, parts)
        state = list(layers.state_dict().values())
        return {"state": state, "infer": lambda at: layers(eye.inputs(eye.test(at)))}

    mine = bench.stage(parts[0], first=True)
    first(mine, eye, judge_of(bench), bench.order(), bench.rounds(), test)


def _model(setting: Setting) -> LayerList:
    deal(setting.layers, 1 + len(setting.cast["stage"]), setting.options.spread)
    return setting.layers


D_SGD = Scheme(
    name="d-sgd",
    summary="one model, its layers split over the nodes, no replication (FPL sec. I)",
    roles=(
        Role(name="first", play=_play_first, peers=("stage",), sees=True),
        Role(
            name="stage",
            play=lambda bench: play_stage(bench, bench.layers(), "first"),
            peers=("first", "stage"),
            many=True,
        ),
    ),
    options=ChainOptions,
    model=_model,
)
