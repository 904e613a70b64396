"""`data-parallel`: every worker holds the whole model and a share of the data.

Li et al. (mcPipe), sec. I and V, "data-distributed" learning, synchronous: each step is one step of
gradient descent on the joint batch of all workers. How the mean of their gradients comes about is
`reduce`: around a ring, through the first worker, or along the chain of workers (all_reduce.py);
'auto' is the first of these that the network allows without passing through other workers.

What the paper leaves open. A worker that has no batch left (shares may differ) adds nothing to the
sum. A node called master is a worker like the others, unless `place:` leaves it out. Running means
and variances of a normalisation are each worker's own; the first one's are tested.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from edgenet.models.stage import Stage, cross_entropy
from edgenet.schemes.all_reduce import FORMS, Reduce, choose, divide, pairs, reducer
from edgenet.schemes.bench import Batches, Bench, Direct, Ground, Role, Rounds, Scheme
from edgenet.schemes.local import mean, require_finite


@dataclass(frozen=True, kw_only=True)
class DataParallelOptions:
    """The settings of `data-parallel`."""

    reduce: str = "auto"
    """How gradients are added up: 'ring', 'master', 'chain', or 'auto', the first of these that
    the network allows."""

    def __post_init__(self) -> None:
        if self.reduce not in ("auto", *FORMS):
            choices = ", ".join(("auto", *FORMS))
            raise ValueError(f"reduce is '{self.reduce}'; the choices are {choices}")


def worker(
    model: Stage, batches: Batches, steps: int, epochs: int, rounds: Rounds, reduce: Reduce
) -> Iterator[float]:
    """One worker; `steps`: of the longest share in a pass. Yields the mean loss of each round."""
    for _ in rounds:
        losses = []
        for _ in range(epochs):
            stream = iter(batches)
            for _ in range(steps):
                own, samples, loss = _gradients(model, next(stream, None))
                losses.append(reduce(own, samples, loss))
                model.step()
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


@dataclass(frozen=True)
class Shares:
    """Who stands where, and how many steps a pass has."""

    workers: tuple[str, ...]
    """In the order in which sums are taken."""
    steps: int
    """Batches of the longest share."""
    reduce: str
    """One of FORMS."""

    def __str__(self) -> str:
        how = {"ring": "around the ring of", "chain": "along the chain of"}
        if self.reduce == "master":
            return f"gradients are added up at {self.workers[0]} (train.reduce: master)"
        names = ", ".join(self.workers)
        return f"gradients are added up {how[self.reduce]} {names} (train.reduce: {self.reduce})"


def arrange(ground: Ground) -> Shares:
    """Known before the run."""
    batch, names = ground.train.batch, tuple(node.name for node in ground.nodes)
    steps = max(-(-samples // batch) for samples in ground.samples.values())
    return Shares(names, steps, choose(ground.options.reduce, names, ground.direct))


def meets(
    options: DataParallelOptions, names: Sequence[str], direct: Direct
) -> Collection[tuple[str, str]]:
    """Which workers have a link."""
    return pairs(choose(options.reduce, names, direct), names)


def _play(bench: Bench) -> None:
    layout: Shares = bench.layout
    reduce: Reduce = divide
    if len(layout.workers) > 1:
        reduce = reducer(layout.reduce, bench.links("worker"), layout.workers, bench.name)
    model, rounds = bench.model(), bench.rounds()
    run = worker(model, bench.batches(), layout.steps, bench.local_epochs, rounds, reduce)
    for loss in run:
        if bench.name == layout.workers[0]:
            rounds.report(state=model.state(), loss=loss)


DATA_PARALLEL = Scheme(
    name="data-parallel",
    summary="every worker holds the model, gradients are averaged each step (mcPipe, sec. V)",
    roles=(Role(name="worker", play=_play, peers=("worker",), many=True, trains_on=True),),
    options=DataParallelOptions,
    arrange=arrange,
    meets=meets,
    remark=str,
)
