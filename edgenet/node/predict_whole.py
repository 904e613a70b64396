"""Predictions for schemes in which a node trains the whole model: `fedavg`, `gfl`, and
`transfer-images`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from edgenet.links.protocol import Kind
from edgenet.models.layers import LayerList
from edgenet.models.timing import StageCost
from edgenet.node import footprint
from edgenet.node.costing import message_bytes
from edgenet.node.footprint import Held
from edgenet.node.forecast import Chain, Turn, Worker, star_s
from edgenet.node.planner import Forecast, Planner, Sketch
from edgenet.schemes.images import CHUNK


def federated(planner: Planner) -> Iterator[Forecast]:
    """fedavg: the whole model travels."""
    sketch = planner.begin("")
    _fill(planner, sketch, planner.model, anchored=False)
    yield planner.finish(sketch)


def generalised(planner: Planner) -> Iterator[Forecast]:
    """gfl: the last layers travel, from the last alone to all of them (which is FL); and those that
    the user has named."""
    layers = dict(planner.model.named_children())
    names = list(layers)
    named = [name for name in names if name in planner.options.averaged]
    sets = [names[at:] for at in reversed(range(len(names)))]
    anchored = planner.options.mu_prox > 0
    for chosen in [*sets, named] if named and named not in sets else sets:
        averaged = "/".join(chosen)
        sketch = planner.begin(f"averaged {averaged}", f"train.averaged={averaged}")
        travelling = LayerList(OrderedDict((name, layers[name]) for name in chosen))
        _fill(planner, sketch, travelling, anchored=anchored)
        yield planner.finish(sketch)


def images(planner: Planner) -> Iterator[Forecast]:
    """transfer-images: what travels does so once."""
    sketch = planner.begin("")
    (server,), sources = planner.cast("server"), planner.cast("source")
    samples, batch = len(planner.dataset.train_y), planner.train.batch
    cost = planner.cost(0, None, batch)
    shape = planner.dataset.train_x.shape[1:]
    chunks = [min(CHUNK, samples - at) for at in range(0, samples, CHUNK)]
    sizes = [message_bytes([torch.empty(n, *shape, dtype=torch.uint8)], Kind.DATA) for n in chunks]
    for name in sources:
        way, see_s = planner.way(name, server), planner.see_s(name, chunks[0])
        arrivals = [way.arrival_s(size, (i + 1) * see_s) for i, size in enumerate(sizes)]
        sketch.once_s = max(sketch.once_s, arrivals[-1])
        sketch.once[name, server] = sum(sizes)
        sketch.hold(name, Held(always=sum(sizes)))
    full, rest = divmod(len(sources) * samples * planner.train.local_epochs, batch)
    steps = full + (1 if rest else 0)
    part = cost.of_batch(full + rest / batch)
    stage_s = planner.on(server, part.forward_s + part.backward_s + steps * cost.step_s)
    at, seen = torch.arange(batch) % samples, planner.dataset.train_x
    fetch_s = planner.costs.call(("seen", batch), lambda: planner.dataset.normalised(seen[at]))
    sketch.busy_s[server] = stage_s
    sketch.round_s = stage_s + steps * (planner.loss_s(batch) + fetch_s)
    came = len(sources) * sum(sizes)
    held = footprint.stage(
        cost, model=planner.model_bytes + 2 * came, beside=came, reported=planner.tested_bytes
    )
    sketch.hold(server, held)
    yield planner.finish(sketch)


def _fill(planner: Planner, sketch: Sketch, travelling: LayerList, *, anchored: bool) -> None:
    (server,), learners = planner.cast("server"), planner.cast("learner")
    cost = planner.cost(0, None, planner.train.batch)
    state = list(travelling.state_dict().values())
    there = message_bytes([state, 1], Kind.WEIGHTS)
    back = message_bytes([state, 1, 1.0], Kind.WEIGHTS)
    workers = []
    for name in learners:
        pass_s, stage_s = _pass_s(planner, name, cost, anchored=anchored)
        epochs = planner.train.local_epochs
        workers.append(
            Worker(
                before_s=epochs * pass_s + planner.costs.copy(state),
                up=planner.way(name, server),
                up_bytes=back,
                down=planner.way(server, name),
                down_bytes=there,
                after_s=planner.costs.copy(state),
            )
        )
        sketch.busy_s[name] += epochs * stage_s
        sketch.sent[name, server] += back
        sketch.hold(name, _learner(planner, cost, _nbytes(state), anchored=anchored))
    planner.tell(sketch, server, learners, there)
    sketch.hold(server, _server(planner, len(learners), _nbytes(state)))
    mean_s = planner.costs.mean(state, len(learners)) + planner.costs.copy(state)
    sketch.round_s = star_s(workers, Chain([Turn(forward_s=mean_s, backward_s=0.0, step_s=0.0)]), 1)


def _learner(planner: Planner, cost: StageCost, travelling: int, *, anchored: bool) -> Held:
    """What came stays until the next comes; what is sent is on its way when training is over."""
    return footprint.stage(
        cost,
        model=planner.model_bytes,
        beside=2 * travelling,
        messages=cost.largest_bytes if anchored else 0,
        reported=planner.model_bytes - travelling,
    )


def _server(planner: Planner, learners: int, travelling: int) -> Held:
    """What the learners sent stays until they all have sent again. gfl has a model for each of
    them, and two more, to test."""
    whole, general = planner.model_bytes, planner.train.scheme == "gfl"
    models = (learners + 2) * whole if general else whole
    largest = max(t.nbytes for t in planner.model.state_dict().values())
    return Held(
        built=models,
        always=models + learners * travelling,
        training=(1 + learners) * travelling,
        saving=travelling + largest,
        reporting=planner.tested_bytes + learners * (whole - travelling),
    )


def _pass_s(planner: Planner, name: str, cost: StageCost, *, anchored: bool) -> tuple[float, float]:
    """Seconds of a pass over a learner's data, and those of them in its stage."""
    batch = planner.train.batch
    full, rest = divmod(planner.samples[name], batch)
    steps = full + (1 if rest else 0)
    part = cost.of_batch(full + rest / batch)
    stage_s = planner.on(name, part.forward_s + part.backward_s + steps * cost.step_s)
    host_s = planner.loss_s(batch) + planner.fetch_s(name, batch)
    if anchored:
        host_s += planner.costs.pull(planner.model, planner.train.optimizer)
    return stage_s + steps * host_s, stage_s


def _nbytes(state: Sequence[Tensor]) -> int:
    return sum(t.nbytes for t in state)
