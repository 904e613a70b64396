"""How a training set is dealt out to the nodes that train.

Every way of dealing is drawn by the seed alone; no sample is dealt twice. A single node gets what
the nodes would have got together, so that `centralized` trains on the same samples.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from edgenet.data.seeds import generator
from edgenet.errors import InputError
from edgenet.topology.spec import Partition

_DRAWS = 100
"""Dirichlet proportions are drawn again at most this often while a node would get nothing."""


def partition(labels: Tensor, spec: Partition, nodes: int, seed: int) -> tuple[Tensor, ...]:
    """One share a node: sorted indices (int64) into `labels` (samples,), no index twice.

    Raises:
        InputError: an unknown kind, or a dealing in which a node would get nothing.
    """
    if spec.kind not in KINDS:
        raise InputError(
            f"train.partition: {spec.kind!r} is unknown; the choices are {', '.join(KINDS)}"
        )
    if not 1 <= nodes <= len(labels):
        raise InputError(
            f"train.partition: {len(labels)} training samples cannot be dealt out to {nodes} nodes"
        )
    random = generator("partition", spec.kind, seed)
    shares = KINDS[spec.kind](labels, spec, nodes, random)
    return tuple(share.sort().values for share in shares)


def describe(labels: Tensor, shares: Sequence[Tensor], classes: int) -> list[list[int]]:
    """For the records: samples of each label (0 .. classes - 1) in each share."""
    return [labels[share].bincount(minlength=classes).tolist() for share in shares]


def _iid(labels: Tensor, spec: Partition, nodes: int, random: torch.Generator) -> Sequence[Tensor]:
    """Shuffled and cut into shares whose sizes differ by one at most."""
    return torch.randperm(len(labels), generator=random).tensor_split(nodes)


def _shards(
    labels: Tensor, spec: Partition, nodes: int, random: torch.Generator
) -> Sequence[Tensor]:
    """McMahan et al. 2017, sec. 3: sorted by label, cut into pieces, so many to each node."""
    each, samples = spec.shards_per_node, len(labels)
    if not 1 <= each <= samples // nodes:
        raise InputError(
            f"train.partition.shards_per_node is {each}; {samples} samples for {nodes} nodes allow "
            f"from 1 to {samples // nodes}"
        )
    shuffled = torch.randperm(samples, generator=random)
    pieces = shuffled[labels[shuffled].sort(stable=True).indices].tensor_split(nodes * each)
    order = torch.randperm(len(pieces), generator=random).tolist()
    return [
        torch.cat([pieces[i] for i in order[node * each : (node + 1) * each]])
        for node in range(nodes)
    ]


def _dirichlet(
    labels: Tensor, spec: Partition, nodes: int, random: torch.Generator
) -> Sequence[Tensor]:
    """Hsu et al. 2019 (arXiv:1909.06335), per label: the nodes' proportions of it are
    Dirichlet(alpha). Drawn again while a node would get nothing."""
    if not 0 < spec.alpha < float("inf"):
        raise InputError(f"train.partition.alpha must be above 0 and finite, not {spec.alpha}")
    for _ in range(_DRAWS):
        shares = _dirichlet_once(labels, spec.alpha, nodes, random)
        if all(len(share) for share in shares):
            return shares
    raise InputError(
        f"train.partition: with alpha {spec.alpha:g}, {len(labels)} samples for {nodes} nodes left "
        f"a node without any in {_DRAWS} draws; raise alpha, or take fewer nodes or more samples"
    )


def _dirichlet_once(
    labels: Tensor, alpha: float, nodes: int, random: torch.Generator
) -> list[Tensor]:
    dealt: list[list[Tensor]] = [[] for _ in range(nodes)]
    for label in torch.unique(labels).tolist():
        at = (labels == label).nonzero().flatten()
        at = at[torch.randperm(len(at), generator=random)]
        weights = torch._standard_gamma(torch.full((nodes,), alpha).double(), generator=random)
        # With a tiny alpha every weight can be 0 to the last digit: then one node takes it all.
        if not weights.sum() > 0:
            weights[torch.randint(nodes, (1,), generator=random)] = 1
        ends = (weights.cumsum(0) / weights.sum() * len(at)).round().long()[:-1]
        for node, piece in enumerate(at.tensor_split(ends)):
            dealt[node].append(piece)
    return [torch.cat(pieces) for pieces in dealt]


def _sizes(
    labels: Tensor, spec: Partition, nodes: int, random: torch.Generator
) -> Sequence[Tensor]:
    """So many to each node, without replacement; what is left over is not used."""
    sizes = spec.sizes if nodes == len(spec.sizes) else (sum(spec.sizes),)
    if nodes != len(sizes):
        raise InputError(
            f"train.partition.sizes has {len(spec.sizes)} numbers for {nodes} nodes that train; "
            "give one for each"
        )
    if min(sizes) < 1 or sum(sizes) > len(labels):
        raise InputError(
            f"train.partition.sizes must be at least 1 each and at most {len(labels)} (the "
            f"training samples) together, not {', '.join(map(str, spec.sizes))}"
        )
    order = torch.randperm(len(labels), generator=random)
    ends = list(itertools.accumulate(sizes))
    return order[: ends[-1]].tensor_split(ends[:-1])


KINDS: Mapping[str, Callable[[Tensor, Partition, int, torch.Generator], Sequence[Tensor]]] = {
    "iid": _iid,
    "shards": _shards,
    "dirichlet": _dirichlet,
    "sizes": _sizes,
}
"""What `Partition.kind` may be."""
