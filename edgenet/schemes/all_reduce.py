"""The mean of all workers' gradients, for `data-parallel`: around a ring, or along a tree.

Every form moves 2 (N - 1) times the model's size in all. What differs is who moves it, and when:

    ring    each worker sends, and gets, 2 (N - 1) / N of it, and all of them do at the same time
            (Patarasuk and Yuan 2009: the least that an all-reduce can take)
    master  the first gets and sends N - 1 times the whole, the others once; in two turns
    chain   nobody has more than two neighbours; in 2 (N - 1) turns, one after the other

Sums are taken in an order that the workers' places alone decide, and all get the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import pairwise
from typing import TypeAlias

import torch
from torch import Tensor

from edgenet.links.protocol import Kind, LinkGroup

Reduce: TypeAlias = Callable[[Sequence[Tensor], int, float], float]
"""Given (sums of gradients over a worker's samples, how many these are, the sum of their losses) it
puts the mean over the samples of all workers into the tensors, and returns that of the losses."""
FORMS = ("ring", "master", "chain")
"""From the fastest; each is possible where the next is, but for what the network lacks."""


def pairs(form: str, workers: Sequence[str]) -> list[tuple[str, str]]:
    """Who exchanges messages with whom."""
    first, *others = workers
    if form == "master":
        return [(first, other) for other in others]
    row = list(pairwise(workers))
    return [*row, (workers[-1], first)] if form == "ring" and len(workers) > 2 else row


def choose(wanted: str, workers: Sequence[str], direct: Callable[[str, str], bool]) -> str:
    """One of FORMS: the one that is wanted, or with 'auto' the first that the network allows.

    A ring or a master whose messages pass through other workers would load their links with what
    is not theirs; a chain is what is left.

    Args:
        direct: whether two workers reach each other past all the others.

    Raises:
        ValueError: the network does not allow what is wanted.
    """

    def lacks(form: str) -> Iterator[tuple[str, str]]:
        return (pair for pair in pairs(form, workers) if form != "chain" and not direct(*pair))

    if wanted == "auto":
        return next(form for form in FORMS if not any(lacks(form)))
    for a, b in lacks(wanted):
        possible = [form for form in FORMS if not any(lacks(form))]
        raise ValueError(
            f"reduce is {wanted}, but no way between '{a}' and '{b}' leaves the other workers out; "
            f"join the two by a link, or take {' or '.join(possible)}"
        )
    return wanted


def divide(own: Sequence[Tensor], samples: int, loss: float) -> float:
    """The `Reduce` of a worker that is alone."""
    for mine in own:
        mine.div_(samples)
    return loss / samples


def ring(workers: LinkGroup, names: Sequence[str], at: int) -> Reduce:
    """Number `at` of the workers `names` in a circle.

    The gradients are one row of numbers in `size` parts. In the first half of the turns part k
    starts at worker k and gains a summand at each that it comes to, so that the last of them has
    its sum, and makes it a mean; in the second half the means go around. Each worker sends and
    receives in every turn, and its link is busy in both directions. With the parts travel the
    numbers and losses of their first workers' samples, so everybody can add these up, in one order.
    """
    size = len(names)
    before, after = names[at - 1], names[(at + 1) % size]

    def reduce(own: Sequence[Tensor], samples: int, loss: float) -> float:
        row = torch.cat([gradient.reshape(-1) for gradient in own])
        parts = row.tensor_split(size)
        told = {at: (samples, loss)}
        for turn in range(size - 1):
            mine, its = (at - turn) % size, (at - turn - 1) % size
            workers[after].send(parts[mine], *told[mine], kind=Kind.GRADIENT)
            theirs, *counted = workers[before].recv()
            parts[its].add_(theirs)
            told[its] = counted[0], counted[1]
        samples, loss = (sum(each) for each in zip(*(told[k] for k in range(size)), strict=True))
        parts[(at + 1) % size].div_(samples)
        for turn in range(size - 1):
            workers[after].send(parts[(at + 1 - turn) % size], kind=Kind.GRADIENT)
            parts[(at - turn) % size].copy_(workers[before].recv())
        for gradient, mean in zip(own, torch.split(row, [g.numel() for g in own]), strict=True):
            gradient.copy_(mean.view_as(gradient))
        return loss / samples

    return reduce


def tree(workers: LinkGroup, below: str | None, above: Collection[str]) -> Reduce:
    """A worker that adds up what it is sent from above in file order, sends that on below, and
    hands the mean up again. The one with nobody below makes the sum a mean. A chain is a tree
    without branches; under a master all the others are above it."""

    def reduce(own: Sequence[Tensor], samples: int, loss: float) -> float:
        for name in above:
            others, more, their_loss = workers[name].recv()
            for mine, its in zip(own, others, strict=True):
                mine.add_(its)
            samples, loss = samples + more, loss + their_loss
        if below is None:
            loss = divide(own, samples, loss)
        else:
            workers[below].send(own, samples, loss, kind=Kind.GRADIENT)
            mean, loss = workers[below].recv()
            for mine, its in zip(own, mean, strict=True):
                mine.copy_(its)
        if above:
            workers.broadcast(own, loss, kind=Kind.GRADIENT, to=above)
        return loss

    return reduce


def reducer(form: str, links: LinkGroup, names: Sequence[str], name: str) -> Reduce:
    """What the worker `name` of all those `names` does."""
    at = names.index(name)
    if form == "ring":
        return ring(links, names, at)
    if form == "master":
        return tree(links, names[0], ()) if at else tree(links, None, names[1:])
    return tree(links, names[at - 1] if at else None, names[at + 1 : at + 2])
