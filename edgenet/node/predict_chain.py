"""Predictions for layers that are dealt out to nodes in a row: `d-sgd`, and what stands behind the
merge of several sources.

Where nodes are placed as `stage`, the layers are dealt out to them in every way that there is, or
in pieces of equal length where there are very many.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from edgenet.links.protocol import Kind
from edgenet.models.timing import StageCost
from edgenet.node import footprint
from edgenet.node.costing import message_bytes
from edgenet.node.forecast import Chain, Hop, Turn, chain_s
from edgenet.node.planner import Forecast, Planner, Sketch
from edgenet.schemes.chain import NOWHERE

_FLOAT = 4
"""Bytes."""
_MOST_SPREADS = 40
"""Ways of dealing layers out; of more than these only that in pieces of equal length is planned."""


def dealt_out(planner: Planner) -> Iterator[Forecast]:
    """d-sgd, with every spread of its layers."""
    (first,) = planner.cast("first")
    names = [row.name for row in planner.rows]
    for spread in spreads(planner, names):
        sketch = planner.begin(str(spread), *spread.settings)
        ends = [0, *map(names.index, spread.starts), len(names)]
        shapes = [planner.rows[at - 1].output_shape for at in ends[1:-1]]
        row = Row((first, *spread.stages), shapes)
        for rows, times in batches(planner).items():
            costs = [planner.cost(a, b, rows) for a, b in itertools.pairwise(ends)]
            see_s, whole = planner.see_s(first, rows), planner.model_bytes
            chain = row.chain(planner, sketch, costs, rows, times, see_s, whole)
            sketch.round_s += chain_s(chain, times)
        yield planner.finish(sketch)


@dataclass(frozen=True)
class Row:
    """Nodes in a row, and the shapes of what crosses between them (of a sample)."""

    nodes: Sequence[str]
    shapes: Sequence[tuple[int, ...]]

    def chain(
        self, planner: Planner, sketch: Sketch, costs: Sequence[StageCost], rows: int, times: int,
        before_s: float, whole: int,
    ) -> Chain:  # fmt: skip
        """They in one of so many steps; `before_s`: host seconds before the first's forward;
        `whole`: bytes of the model that each of them keeps beside its own part. The last has the
        loss."""
        turns = [planner.turn(node, cost) for node, cost in zip(self.nodes, costs, strict=True)]
        turns[0] = _later(turns[0], before_s)
        turns[-1] = _later(turns[-1], planner.loss_s(rows))
        hops = []
        for (a, b), shape in zip(itertools.pairwise(self.nodes), self.shapes, strict=True):
            y = torch.empty(rows, *shape)
            hop = Hop(
                up=planner.way(a, b),
                up_bytes=message_bytes([y], Kind.ACTIVATION),
                down=planner.way(b, a),
                down_bytes=message_bytes([1.0, y], Kind.GRADIENT),
            )
            sketch.sent[a, b] += times * hop.up_bytes
            sketch.sent[b, a] += times * hop.down_bytes
            hops.append(hop)
        crossing = [0, *(rows * math.prod(shape) * _FLOAT for shape in self.shapes), 0]
        for number, (node, cost) in enumerate(zip(self.nodes, costs, strict=True)):
            sketch.busy_s[node] += times * planner.on(node, cost.train_s)
            gathered = sum(each.weight_bytes for each in costs[1:]) + planner.tested_bytes
            held = footprint.stage(
                cost,
                model=whole,
                beside=whole - cost.weight_bytes,
                messages=2 * sum(crossing[number : number + 2]),
                reported=cost.weight_bytes if number else gathered,
            )
            sketch.hold(node, held)
        return Chain(turns, hops)


def _later(turn: Turn, seconds: float) -> Turn:
    return replace(turn, forward_s=turn.forward_s + seconds)


def batches(planner: Planner) -> dict[int, int]:
    """Samples in a step -> how many steps of a round are like that."""
    samples, batch = len(planner.dataset.train_y), planner.train.batch
    full, rest = divmod(samples, batch)
    epochs = planner.train.local_epochs
    return {n: times * epochs for n, times in ((batch, full), (rest, 1)) if n and times}


@dataclass(frozen=True)
class Spread:
    """One way of dealing layers out to the nodes placed as `stage`."""

    stages: tuple[str, ...] = ()
    """Those that get layers; none: all stay on the node below."""
    starts: tuple[str, ...] = ()
    """The layer that each begins with."""
    settings: tuple[str, ...] = ()
    """What to `--set`."""

    def __str__(self) -> str:
        """For the candidate's name: 'F2.. on fog'."""
        pairs = zip(self.starts, self.stages, strict=True)
        return ", ".join(f"{start}.. on {node}" for start, node in pairs)


def spreads(planner: Planner, names: Sequence[str]) -> Iterator[Spread]:
    """Every way of dealing the layers `names` out, the user's own among them where they are very
    many; without stages there is one."""
    stages = planner.cast("stage")
    if not stages:
        yield Spread()
        return
    if planner.train.scheme != "d-sgd":
        yield Spread(settings=(f"train.spread={NOWHERE}",))
    most = min(len(stages), len(names) - 1)
    found = [starts for k in range(1, most + 1) for starts in itertools.combinations(names[1:], k)]
    if len(found) > _MOST_SPREADS:
        equal = tuple(names[round(i * len(names) / (most + 1))] for i in range(1, most + 1))
        own = tuple(planner.options.spread)
        found = [equal, *([own] if own in found and own != equal else [])]
    for starts in found:
        yield Spread(stages[: len(starts)], starts, (f"train.spread={'/'.join(starts)}",))
