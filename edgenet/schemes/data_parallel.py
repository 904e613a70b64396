"""`data-parallel`: every worker holds the whole model and a share of the data.

Li et al. (mcPipe), sec. I and V, "data-distributed" learning, synchronous: each step is one step of
gradient descent on the joint batch of all workers. The sum runs along the chain of workers to the
first and the mean comes back the same way, so that only neighbours talk: 2 (N - 1) messages of the
model's size a step, as many as through a master, and no node has more than two links.

What the paper leaves open. A worker that has no batch left (shares may differ) adds nothing to the
sum. A node called master is a worker like the others, unless `place:` leaves it out. Running means
and variances of a normalisation are each worker's own; the first one's are tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from edgenet.links.protocol import Kind
from edgenet.models.stage import Stage, cross_entropy
from edgenet.schemes.bench import Batches, Bench, Ground, Role, Rounds, Scheme
from edgenet.schemes.local import mean, require_finite


class End(Protocol):
    """A neighbour in the chain, or an end of it."""

    def send(self, *items: Any, kind: Kind = Kind.CONTROL) -> None:
        """Hand a message over."""

    def recv(self) -> Any:
        """The next message."""


def worker(
    before: End, after: End, model: Stage, batches: Batches, steps: int, epochs: int, rounds: Rounds
) -> Iterator[float]:
    """One worker between its neighbours; `steps`: of the longest share in a pass. Yields the mean
    loss of each round."""
    for _ in rounds:
        losses = []
        for _ in range(epochs):
            stream = iter(batches)
            for _ in range(steps):
                own, samples, loss = _gradients(model, next(stream, None))
                others, more, their_loss = after.recv()
                for mine, its in zip(own, others, strict=False):
                    mine.add_(its)
                before.send(own, samples + more, loss + their_loss, kind=Kind.GRADIENT)
                average, loss = before.recv()
                after.send(average, loss, kind=Kind.GRADIENT)
                for mine, its in zip(own, average, strict=True):
                    mine.copy_(its)
                model.step()
                losses.append(loss)
        yield mean(losses)


def _gradients(
    model: Stage, batch: tuple[Tensor, Tensor] | None
) -> tuple[Sequence[Tensor], int, float]:
    """(sum of the samples' gradients, samples, sum of their losses); the tensors are the model's
    own."""
    if batch is None:
        return model.gradients(), 0, 0.0
    x, y = batch
    loss, error = cross_entropy(model.forward(x), y)
    model.backward(error * len(y))
    return model.gradients(), len(y), require_finite(loss) * len(y)


class Top:
    """In front of the first worker: makes the sum a mean."""

    def __init__(self) -> None:
        self._mean: tuple[list[Tensor], float] = ([], 0.0)

    def send(self, *items: Any, kind: Kind = Kind.CONTROL) -> None:
        """The sum over all workers."""
        total, samples, loss = items
        self._mean = [gradient / samples for gradient in total], loss / samples

    def recv(self) -> Any:
        """The mean."""
        return self._mean


class Bottom:
    """Behind the last worker: nobody."""

    def send(self, *items: Any, kind: Kind = Kind.CONTROL) -> None:
        """Nobody waits for the mean here."""

    def recv(self) -> Any:
        """Nothing to add."""
        return [], 0, 0.0


@dataclass(frozen=True)
class Shares:
    """Who stands where, and how many steps a pass has."""

    chain: tuple[str, ...]
    """The workers."""
    steps: int
    """Batches of the longest share."""


def arrange(ground: Ground) -> Shares:
    """Known before the run."""
    batch = ground.train.batch
    steps = max(-(-samples // batch) for samples in ground.samples.values())
    return Shares(tuple(node.name for node in ground.nodes), steps)


def _play(bench: Bench) -> None:
    layout: Shares = bench.layout
    at, last = layout.chain.index(bench.name), len(layout.chain) - 1
    before: End = Top() if at == 0 else _neighbour(bench, at - 1)
    after: End = Bottom() if at == last else _neighbour(bench, at + 1)
    model, rounds = bench.model(), bench.rounds()
    run = worker(before, after, model, bench.batches(), layout.steps, bench.local_epochs, rounds)
    for loss in run:
        if at == 0:
            rounds.report(state=model.state(), loss=loss)


def _neighbour(bench: Bench, at: int) -> End:
    return bench.links("worker")[bench.layout.chain[at]]


DATA_PARALLEL = Scheme(
    name="data-parallel",
    summary="every worker holds the model, gradients are averaged each step (mcPipe, sec. V)",
    roles=(
        Role(name="worker", play=_play, peers=("worker",), many=True, trains_on=True, chain=True),
    ),
    arrange=arrange,
)
