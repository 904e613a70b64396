"""Predictions for several sources of one model: `fpl` with the junction before every layer, and
`sl-vertical`, with every spread of the layers behind the merge."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import nn

from edgenet.links.protocol import Kind
from edgenet.models.junction import Junction, branches_of, input_shape_of, widths_of
from edgenet.models.layers import LayerList
from edgenet.models.parts import Linear
from edgenet.models.timing import StageCost
from edgenet.node import footprint
from edgenet.node.costing import message_bytes
from edgenet.node.forecast import Chain, Worker, star_s
from edgenet.node.planner import Forecast, Planner, Sketch
from edgenet.node.predict_chain import Row, Spread, batches, spreads


def junctions(planner: Planner) -> Iterator[Forecast]:
    """fpl, J before every layer, with every spread of the layers behind it."""
    for at, row in enumerate(planner.rows):
        yield from _merged(planner, at, f"J->{row.name}", f"train.junction={row.name}")


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
    merge = _Merge(planner, at, widths_of(branches, shapes), kept)
    for spread in spreads(planner, merge.names):
        full_name = f"{name}, {spread}" if spread.stages else name
        sketch = planner.begin(full_name, setting, *spread.settings)
        for rows, times in batches(planner).items():
            workers = _sources(planner, sketch, branches, rows, times, merge.weight_bytes)
            chain = merge.chain(sketch, spread, rows, times)
            sketch.round_s += star_s(workers, chain, times)
        number_bytes = message_bytes([1], Kind.CONTROL)  # of the epoch
        planner.tell(sketch, server, sources, number_bytes)
        yield planner.finish(sketch)


def _sources(
    planner: Planner, sketch: Sketch, branches: Mapping[str, LayerList], rows: int, times: int,
    whole: int,
) -> list[Worker]:  # fmt: skip
    """What the sources do in a step; each keeps the whole merged model, of `whole` bytes."""
    (server,), workers = planner.cast("server"), []
    train = planner.train
    for source, layers in branches.items():
        eye = planner.eye(source)
        x = eye.inputs(eye.train(torch.arange(rows) % len(planner.dataset.train_y)))
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
    """The layers from the merge on: J, or the first layer made wide, and those behind it."""

    def __init__(self, planner: Planner, at: int, widths: Mapping[str, int], branches: int) -> None:
        self._planner, self._at, self._widths = planner, at, widths
        self._branches = branches
        self._has_junction = planner.train.scheme == "fpl"
        model = planner.model
        names = model.layer_names[at:]
        self.names = ("J", *names) if self._has_junction else names
        shape = input_shape_of(model, at, planner.dataset.shape)
        wide = planner.rows[at].output_shape
        self._outputs = math.prod(shape if self._has_junction else wide)
        shapes = [row.output_shape for row in planner.rows[at:]]
        self._shapes = [shape, *shapes] if self._has_junction else shapes

    def chain(self, sketch: Sketch, spread: Spread, rows: int, times: int) -> Chain:
        """The nodes from the merge on, in one of so many steps with so many samples."""
        planner = self._planner
        nodes = (*planner.cast("server"), *spread.stages)
        ends = [0, *map(self.names.index, spread.starts), len(self.names)]
        costs = [self._cost(a, b, rows) for a, b in itertools.pairwise(ends)]
        joined_s = planner.costs.joined(rows, tuple(self._widths.values()))
        row = Row(nodes, [self._shapes[end - 1] for end in ends[1:-1]])
        chain = row.chain(planner, sketch, costs, rows, times, joined_s, self.weight_bytes)
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
        offset = self._at - 1 if self._has_junction else self._at
        behind = sum(row.weight_bytes for row in self._planner.rows[offset + 1 :])
        inputs = sum(self._widths.values())
        return self._branches + 4 * (inputs + 1) * self._outputs + behind

    def _cost(self, start: int, end: int, rows: int) -> StageCost:
        """Of the layers from number `start` of the merge on to before `end`."""
        offset = self._at - 1 if self._has_junction else self._at
        if start:
            return self._planner.cost(offset + start, offset + end, rows)
        merge = self._planner.costs.wide(
            self._make, sum(self._widths.values()), self._outputs, rows,
            self._planner.train.optimizer,
        )  # fmt: skip
        if end == 1:
            return merge
        return merge + self._planner.cost(offset + 1, offset + end, rows)

    def _make(self, outputs: int) -> nn.Module:
        """The merge with so many outputs."""
        if not self._has_junction:
            linear = Linear(sum(self._widths.values()), outputs)
            nn.init.uniform_(linear.weight, -0.01, 0.01, generator=torch.Generator())
            return linear
        junction = Junction(self._widths, (outputs,))
        junction.draw(tuple(self._widths), torch.Generator().manual_seed(0))
        return junction
