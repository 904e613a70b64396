"""What a stage of a pipeline holds at the most, from sizes: under any scheme, window and split."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edgenet.errors import InputError
from edgenet.models.layers import LayerRow
from edgenet.models.motion import Motion
from edgenet.models.sizes import Sizes, State, joined, measure
from edgenet.models.strategies import ADAPTIVE, Choice, beyond, choose
from edgenet.schemes.bench import Ground
from edgenet.schemes.timetable import Timetable

STRATEGY = {
    "pipedream": "stored",
    "pipedream-2bw": "doubled",
    "greedy": "newest",
    "mcpipe": "recomputed",
    "mcpipe-adaptive": ADAPTIVE,
}
"""How each scheme that has several versions under way keeps them (models.strategies)."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """A model's layers and their devices, by numbers alone."""

    names: tuple[str, ...]
    """Of the model's layers."""
    layers: tuple[Sizes, ...]
    """Of each layer."""
    state_bytes: tuple[int, ...]
    """Of each layer's weights and buffers."""
    batch: int
    """Samples of a mini-batch."""
    motion: Motion
    """Of sgd."""
    memories: tuple[int | None, ...]
    """Bytes of RAM of each worker's device; None = this machine's."""

    @staticmethod
    def of(ground: Ground, rows: tuple[LayerRow, ...], workers: int) -> Room:
        """That of a topology.

        Raises:
            InputError: a layer cannot be taken apart, or the optimizer is not sgd.
        """
        if ground.train.optimizer.name != "sgd":
            raise InputError("what other optimizers keep is not known here")
        shapes = [ground.image, *(row.output_shape for row in rows)]
        layers = ground.layers.named_children()
        return Room(
            names=tuple(row.name for row in rows),
            layers=tuple(
                measure(layer, torch.zeros(1, *shape), name)
                for (name, layer), shape in zip(layers, shapes, strict=False)
            ),
            state_bytes=tuple(row.weight_bytes for row in rows),
            batch=ground.train.batch,
            motion=Motion.of(ground.train.optimizer, ground.train.lr),
            memories=ground.memories[-workers:],
        )

    def _unit(self, order: Timetable) -> int:
        """Samples of what travels: of a mini-batch, or of the larger of its parts."""
        parts = max((action.part for row in order.stages for action in row), default=0)
        return -(-self.batch // max(1, parts))

    def choices(self, scheme: str, at: slice, order: Timetable, stage: int) -> list[Choice]:
        """How the layers `at` keep their versions as stage `stage` (from 0) of `order`; `scheme` is
        a key of STRATEGY."""
        sizes, states = joined(self.layers[at]), _states(order, stage)
        return choose(sizes, self._unit(order), states, self.motion, STRATEGY[scheme])

    def needs(self, scheme: str, at: slice, order: Timetable, stage: int) -> int:
        """Bytes that these layers take there at the most: weights, what the optimizer keeps,
        further versions, pairs or gradients, and what open forwards keep."""
        sizes, states = joined(self.layers[at]), _states(order, stage)
        weights = 4 * sum(each.weights for each in sizes.layers)
        always = sum(self.state_bytes[at]) + (weights if self.motion.momentum else 0)
        unit = self._unit(order)
        open_bytes = sizes.open_bytes(unit)
        if scheme not in STRATEGY:
            return always + weights + max(state.open for state in states) * open_bytes
        if scheme != "pipedream-2bw":  # it sums gradients up
            always += sum(each.pair_bytes(unit) for each in sizes.layers)
        return always + beyond(self.choices(scheme, at, order, stage), open_bytes, states)


def _states(order: Timetable, stage: int) -> list[State]:
    """Each once: a round repeats them."""
    return sorted({State(*each) for each in order.states(stage)}) or [State(0, 0, 0)]
