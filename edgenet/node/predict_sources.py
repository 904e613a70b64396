"""Predictions for several sources of one model: `fpl` with the junction before every layer, and
`sl-vertical`, with every spread of the layers behind the merge."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from edgenet.errors import InputError
from edgenet.links.protocol import Kind
from edgenet.models.junction import Junction, branches_of, input_shape_of, widths_of
from edgenet.models.layers import LayerList
from edgenet.models.parts import Linear
from edgenet.models.timing import StageCost
from edgenet.node import footprint
from edgenet.node.costing import message_bytes
from edgenet.node.footprint import Held
from edgenet.node.forecast import Chain, Worker, star_s
from edgenet.node.planner import Forecast, Planner, Sketch, mixed
from edgenet.node.predict_chain import Row, Spread, batches, spreads
from edgenet.schemes.parallel_options import FplOptions


def junctions(planner: Planner) -> Iterator[Forecast]:
    """fpl, J before every layer that it can be made for, with every spread of the layers behind it.

    Raises:
        InputError: there is no such layer.
    """
    refused: list[InputError] = []
    for at, row in enumerate(planner.rows):
        try:
            yield from _merged(planner, at, f"J->{row.name}", f"train.junction={row.name}")
        except InputError as error:  # a mean of what differs in size
            refused.append(error)
    if len(refused) == len(planner.rows):
        raise refused[-1]


def vertical(planner: Planner) -> Iterator[Forecast]:
    """sl-vertical, cut before every fully connected layer."""
    layers = list(planner.model.children())
    for at, below in enumerate(planner.rows[:-1], start=1):
        if isinstance(getattr(layers[at], "linear", None), nn.Linear):
            yield from _merged(planner, at, f"cut {below.name}", f"train.cut={below.name}")


def _merged(planner: Planner, at: int, name: str, setting: str) -> Iterator[Forecast]:
    """Branches of the first `at` layers, a merge, and what is behind it."""
    model = planner.model
    (server,), sources = planner.cast("server"), planner.cast("source")
    shapes = {source: planner.eye(source).shape for source in sources}
    draw, image = torch.Generator().manual_seed(0), planner.dataset.shape
    branches = branches_of(model, at, shapes, image, draw)
    kept = sum(t.nbytes for layers in branches.values() for t in layers.state_dict().values())
    widths = widths_of(branches, shapes)
    whole = _Merge(planner, at, widths, kept)
    number_bytes = message_bytes([1], Kind.CONTROL)  # of the epoch
    for spread in spreads(planner, whole.names):
        full_name = f"{name}, {spread}" if spread.stages else name
        parts = []
        for there, rounds in _epochs(planner, sources).items():
            sketch = planner.begin(full_name, setting, *spread.settings)
            merge = _Merge(planner, at, {source: widths[source] for source in there}, kept)
            for rows, times in batches(planner).items():
                active = {source: branches[source] for source in there}
                workers = _sources(planner, sketch, active, rows, times, whole.weight_bytes)
                chain = merge.chain(sketch, spread, rows, times, whole.weight_bytes)
                sketch.round_s += star_s(workers, chain, times)
            for source in set(sources) - set(there):
                built = whole.weight_bytes + planner.model_bytes
                sketch.hold(source, Held(built=built, always=whole.weight_bytes))
            planner.tell(sketch, server, there, number_bytes)
            parts.append((sketch, rounds))
        yield planner.finish(mixed(parts))


def _epochs(planner: Planner, sources: Sequence[str]) -> Counter[tuple[str, ...]]:
    """{the sources that take part: in how many epochs it is they}, by `joins` and `leaves`."""
    own, epochs = planner.options, range(1, planner.train.rounds + 1)
    if not isinstance(own, FplOptions):
        return Counter({tuple(sources): len(epochs)})
    return Counter(tuple(s for s in sources if own.takes_part(s, epoch)) for epoch in epochs)


def _sources(
    planner: Planner, sketch: Sketch, branches: Mapping[str, LayerList], rows: int, times: int,
    whole: int,
) -> list[Worker]:  # fmt: skip
    """What the sources do in a step; each keeps the whole merged model, of `whole` bytes."""
    (server,), workers = planner.cast("server"), []
    train = planner.train
    for source, layers in branches.items():
        x = planner.seen(source, rows)
        key = (train.model, x.shape[1:], layers.layer_names)
        cost, y = planner.costs.stage(key, layers, x, train.optimizer, first=True)
        turn, way = planner.turn(source, cost), planner.way(source, server)
        worker = Worker(
            before_s=planner.see_s(source, rows) + turn.forward_s,
            up=way,
            up_bytes=message_bytes([y], Kind.ACTIVATION),
            down=planner.way(server, source),
            down_bytes=message_bytes([y], Kind.GRADIENT),
            after_s=turn.backward_s + turn.step_s,
            opening_bytes=message_bytes([1], Kind.CONTROL),
        )
        sketch.sent[source, server] += times * worker.up_bytes
        sketch.sent[server, source] += times * worker.down_bytes
        sketch.busy_s[source] += times * planner.on(source, cost.train_s)
        held = footprint.stage(
            cost,
            model=whole + planner.model_bytes,
            beside=whole - cost.weight_bytes,
            messages=2 * y.nbytes,
            reported=cost.weight_bytes,
        )
        sketch.hold(source, held)
        workers.append(worker)
    return workers


class _Merge:
    """The layers from the merge on: J, or the first layer made wide, and those behind it; of the
    sources in `widths`, {name: numbers of a sample}. `branches`: bytes of all branches.

    Raises:
        InputError: J is a mean, and the sources' outputs are not of one size.
    """

    def __init__(self, planner: Planner, at: int, widths: Mapping[str, int], branches: int) -> None:
        self._planner, self._at, self._widths = planner, at, widths
        self._branches = branches
        own, model = planner.options, planner.model
        self._own = own if isinstance(own, FplOptions) else None
        names = model.layer_names[at:]
        self.names = ("J", *names) if self._own else names
        shape = input_shape_of(model, at, planner.dataset.shape)
        wide = planner.rows[at].output_shape
        self._outputs = math.prod(shape if self._own else wide)
        shapes = [row.output_shape for row in planner.rows[at:]]
        self._shapes = [shape, *shapes] if self._own else shapes
        self._mean = self._make(self._outputs) if self._own and not self._learned else None

    @property
    def _learned(self) -> bool:
        return self._own is None or self._own.merge == "learned"

    def chain(self, sketch: Sketch, spread: Spread, rows: int, times: int, whole: int) -> Chain:
        """The nodes from the merge on, in one of so many steps with so many samples; each keeps
        the whole merged model, of `whole` bytes."""
        planner = self._planner
        nodes = (*planner.cast("server"), *spread.stages)
        ends = [0, *map(self.names.index, spread.starts), len(self.names)]
        costs = [self._cost(a, b, rows) for a, b in itertools.pairwise(ends)]
        joined_s = planner.costs.joined(rows, tuple(self._widths.values()))
        row = Row(nodes, [self._shapes[end - 1] for end in ends[1:-1]])
        chain = row.chain(planner, sketch, costs, rows, times, joined_s, whole)
        held = sketch.held[nodes[0]]
        came = 4 * rows * sum(self._widths.values())  # and is joined; and errors, likewise
        more = replace(
            held,
            built=held.built + planner.model_bytes,
            training=held.training + 4 * came,
            reporting=held.reporting + self._branches,
        )
        sketch.hold(nodes[0], more)
        return chain

    @property
    def weight_bytes(self) -> int:
        """Of the whole merged model, the branches with it."""
        offset = self._at - 1 if self._own else self._at
        behind = sum(row.weight_bytes for row in self._planner.rows[offset + 1 :])
        inputs = sum(self._widths.values())
        merge = 4 * (inputs + 1) * self._outputs if self._learned else 0
        return self._branches + merge + behind

    def _cost(self, start: int, end: int, rows: int) -> StageCost:
        """Of the layers from number `start` of the merge on to before `end`."""
        offset = self._at - 1 if self._own else self._at
        if start:
            return self._planner.cost(offset + start, offset + end, rows)
        merge = self._merge_cost(rows)
        if end == 1:
            return merge
        return merge + self._planner.cost(offset + 1, offset + end, rows)

    def _merge_cost(self, rows: int) -> StageCost:
        planner, inputs = self._planner, sum(self._widths.values())
        optimizer = planner.train.optimizer
        if self._mean is None:
            return planner.costs.wide(self._make, inputs, self._outputs, rows, optimizer)
        key, x = ("mean", *self._widths.values()), torch.rand(rows, inputs)
        return planner.costs.stage(key, self._mean, x, optimizer, first=False)[0]

    def _make(self, outputs: int) -> nn.Module:
        """The merge with so many outputs."""
        if self._own is None:
            linear = Linear(sum(self._widths.values()), outputs)
            nn.init.uniform_(linear.weight, -0.01, 0.01, generator=torch.Generator())
            return linear
        junction = Junction(
            self._widths, (outputs,), activation=self._own.junction_relu, learned=self._learned
        )
        junction.draw(tuple(self._widths), torch.Generator().manual_seed(0))
        return junction
