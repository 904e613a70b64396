"""How a pipeline lies over its workers: which layers where, which windows, in which order.

All of it follows from the topology, before a run, and is the same at every node.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from edgenet.errors import InputError
from edgenet.models.layers import LayerList, LayerRow, table
from edgenet.models.strategies import Choice
from edgenet.schemes.bench import Ground
from edgenet.schemes.clock import times
from edgenet.schemes.cut import (
    estimated,
    master_feeds,
    most_parts,
    starts_of,
    windows_for,
)
from edgenet.schemes.room import STRATEGY, Room
from edgenet.schemes.timetable import Timetable, timetable


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A pipeline laid over its workers, stage 1 first."""

    scheme: str
    """Its name."""
    chain: tuple[str, ...]
    """All nodes; where the master feeds, it is the first and holds no stage."""
    feeds: bool
    """Whether the first of the chain only owns the data."""
    starts: tuple[int, ...]
    """Index of each stage's first layer."""
    layer_names: tuple[str, ...]
    """Of the whole model."""
    parts: tuple[int, ...]
    """How many micro-batches each mini-batch of a round is cut into (mostly 1)."""
    table: Timetable
    """The order of work in a round."""
    choices: tuple[tuple[Choice, ...], ...]
    """How each stage keeps versions of its layers' weights; empty where there is only one."""
    state_bytes: tuple[int, ...] = ()
    """Of each stage's weights and buffers."""
    room: Room | None = None
    """What stages hold, computed from sizes; None where layers cannot be taken apart, or the
    optimizer is not sgd."""

    @property
    def workers(self) -> tuple[str, ...]:
        """The node of each stage."""
        return self.chain[1:] if self.feeds else self.chain

    def names(self, stage: int) -> tuple[str, ...]:
        """The layers of stage `stage` (from 0)."""
        return self.layer_names[self.at(stage)]

    def at(self, stage: int) -> slice:
        """Their place in the model."""
        ends = (*self.starts[1:], len(self.layer_names))
        return slice(self.starts[stage], ends[stage])

    def layers(self, model: LayerList, stage: int) -> LayerList:
        """Those layers of `model`."""
        found = dict(model.named_children())
        return LayerList(OrderedDict((name, found[name]) for name in self.names(stage)))


def arrange(ground: Ground) -> Layout:
    """Lay the pipeline out.

    Raises:
        ValueError: it does not come out, its timetable cannot be carried out, or a layer cannot be
            taken apart; the sentence starts with the key under `train:`.
    """
    scheme = ground.train.scheme
    _check_optimizer(ground)
    rows = table(ground.layers, ground.image)
    starts, parts = starts_of(ground, rows), _parts(ground)
    windows = windows_for(ground, rows, starts, estimated(ground, rows, starts))
    order = _order(scheme, windows, parts)
    layout = Layout(
        scheme=scheme,
        chain=tuple(node.name for node in ground.nodes),
        feeds=master_feeds(ground),
        starts=starts,
        layer_names=ground.layers.layer_names,
        parts=parts,
        table=order,
        choices=(),
        state_bytes=tuple(sum(row.weight_bytes for row in rows[a:b])
                         for a, b in pairwise((*starts, len(rows)))),
        room=_room(ground, rows, len(starts)),
    )  # fmt: skip
    return layout if scheme not in STRATEGY else _with_choices(layout)


def _check_optimizer(ground: Ground) -> None:
    name = ground.train.optimizer.name
    if ground.train.scheme in STRATEGY and name != "sgd":
        raise ValueError(
            f"optimizer is {name}; {ground.train.scheme} computes weight versions by the algebra "
            "of sgd (with or without momentum and weight decay)"
        )


def _parts(ground: Ground) -> tuple[int, ...]:
    """Micro-batches of each mini-batch of a round; the last of an epoch may be smaller than the
    others."""
    samples, batch = next(iter(ground.samples.values())), ground.train.batch
    sizes = [min(batch, samples - at) for at in range(0, samples, batch)]
    most = most_parts(ground)
    span: int = ground.options.span
    if not span:
        return tuple(min(most, size) for size in sizes * ground.train.local_epochs)
    if ground.train.local_epochs != 1:
        raise ValueError(
            f"span is {span}, and local_epochs {ground.train.local_epochs}: a round is either so "
            "many mini-batches or so many epochs; leave one of them out"
        )
    if sizes[-1] < most:
        raise ValueError(
            f"span is {span}, and the last mini-batch of an epoch has {sizes[-1]} samples for "
            f"{most} micro-batches; choose a batch that leaves more of {samples} samples"
        )
    return (most,) * span


def _order(scheme: str, windows: tuple[int, ...], parts: Sequence[int]) -> Timetable:
    """The timetable, which can be carried out."""
    order = timetable(scheme, windows, parts)
    try:
        times(order)
    except InputError as error:
        raise ValueError(f"windows is {list(windows)}; {error}") from None
    return order


def _with_choices(layout: Layout) -> Layout:
    """The layout with a strategy for every layer."""
    room, stages = layout.room, range(len(layout.workers))
    if room is None:
        return layout
    choices = (room.choices(layout.scheme, layout.at(n), layout.table, n) for n in stages)
    return replace(layout, choices=tuple(map(tuple, choices)))


def _room(ground: Ground, rows: tuple[LayerRow, ...], workers: int) -> Room | None:
    try:
        return Room.of(ground, rows, workers)
    except InputError as error:
        if ground.train.scheme in STRATEGY:
            raise ValueError(f"model is {ground.train.model}; its {error}") from None
        return None
