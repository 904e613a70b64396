"""One pass of plain training on a node's own data: what every scheme here is made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from torch import Tensor

from edgenet.errors import NodeError
from edgenet.models.stage import Stage, cross_entropy


def train_pass(
    model: Stage,
    batches: Iterable[tuple[Tensor, Tensor]],
    anchor: Sequence[Tensor] = (),
    mu: float = 0.0,
) -> float:
    """Train `model` on every batch once; returns the mean loss over the pass's batches.

    With an anchor, the objective is h(w) = F(w) + mu/2 ||w - anchor||^2 (Li et al. 2020,
    "Federated optimization in heterogeneous networks", Algorithm 2).

    Raises:
        NodeError: the loss is no longer a finite number.
    """
    losses = []
    for x, y in batches:
        loss, error = cross_entropy(model.forward(x), y)
        losses.append(require_finite(loss))
        model.backward(error)
        if anchor:
            model.pull(anchor, mu)
        model.step()
    return mean(losses)


def mean(losses: Sequence[float]) -> float:
    """The mean; NaN (which results show as unknown) of none at all."""
    return sum(losses) / len(losses) if losses else math.nan


def require_finite(loss: float) -> float:
    """The loss itself. Raises NodeError if it is NaN or infinite: no such run may yield a plot."""
    if not math.isfinite(loss):
        raise NodeError(f"the training loss became {loss}; lower train.lr")
    return loss
