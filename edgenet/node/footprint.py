"""What a node has resident at most: what a run's `peak_rss_bytes` will say.

Python, torch and the dataset are resident in every node. What comes on top changes as a run goes
on: first a node makes the whole model, of which it keeps a part; then it trains, and has gradients
and activations; between two rounds it has neither, but a copy of what it saves, and of its largest
tensor as it is written; and at the end the one that reports gathers what the others hold. The peak
is the largest of these, since memory that one of them frees the next one takes again. Not so with
gradients of less than 32 MB: torch asks for aligned memory, glibc keeps what is freed, and a piece
of just the size does not fit once more, so that two of each stay resident (measured).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from edgenet.data import Dataset, load
from edgenet.links.sizes import ring
from edgenet.models.timing import StageCost
from edgenet.node.bench import TEST_BATCH
from edgenet.node.connect import ring_bytes
from edgenet.node.plan import Plan

_MAPPED_BYTES = 32 * 2**20
"""Larger pieces always go back to the system when they are freed (glibc on 64 bits)."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """Bytes that a node holds beyond what every node does."""

    built: int = 0
    """While it makes its model."""
    always: int = 0
    """From then on: weights, the optimizer's state, messages that stay until the next comes."""
    training: int = 0
    """Beside these in a step: gradients, what the open forward keeps, messages under way."""
    saving: int = 0
    """Beside these between two rounds, where checkpoints are made."""
    reporting: int = 0
    """Beside these after the last round."""

    def most(self, *, saves: bool) -> int:
        """Of all phases; `saves`: checkpoints are made."""
        later = max(self.training, self.reporting, self.saving if saves else 0)
        return max(self.built, self.always + later)

    def __or__(self, other: Held) -> Held:
        """The larger of each."""
        mine, its = asdict(self), asdict(other)
        return Held(**{key: max(mine[key], its[key]) for key in mine})


def stage(
    cost: StageCost,
    *,
    model: int,
    beside: int = 0,
    messages: int = 0,
    saved: int = 0,
    reported: int = 0,
) -> Held:
    """Of a node with one stage.

    Args:
        cost: the stage's.
        model: bytes of the model that it is cut out of.
        beside: bytes that it holds all the time, too.
        messages: bytes of what is under way in a step.
        saved: bytes of what it saves beside the stage.
        reported: bytes of what it gathers in the end.
    """
    kept = cost.weight_bytes + cost.optimizer_bytes
    stays = cost.gradient_bytes if cost.largest_bytes < _MAPPED_BYTES else 0
    return Held(
        built=model,
        always=kept + beside + stays,
        training=cost.gradient_bytes + cost.stash_bytes + messages,
        saving=kept + saved + cost.largest_bytes,
        reporting=reported,
    )


def common_bytes(plan: Plan, dataset: Dataset) -> int:
    """What all nodes have of the data: the dataset as it was read, and the part that is used."""
    whole = load(plan.topology.train.data.name)
    parts = [(each.train_x, each.train_y, each.test_x, each.test_y) for each in (whole, dataset)]
    sizes = {t.untyped_storage().data_ptr(): t.nbytes for part in parts for t in part}
    return sum(sizes.values())


def links_bytes(plan: Plan, node: str) -> int:
    """A node's receive buffers: every page of them comes into use."""
    seat = plan.seat(node)
    budget = ring_bytes(plan, seat)
    rings = [
        ring(plan.channel(peer, node), links=len(seat.peers), budget_bytes=budget)
        for peer, _ in seat.peers
    ]
    return sum(each.frame_bytes * each.depth for each in rings)


def tested_bytes(model: nn.Module, dataset: Dataset) -> int:
    """What a test of the model holds of activations: of all its modules the largest input and
    output, of a batch."""
    most = 0

    def look(_: nn.Module, x: tuple[Tensor, ...], y: Tensor) -> None:
        nonlocal most
        most = max(most, y.nbytes + sum(t.nbytes for t in x))

    handles = [each.register_forward_hook(look) for each in model.modules()]
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, *dataset.shape))
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return min(TEST_BATCH, len(dataset.test_y)) * most
