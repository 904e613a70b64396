"""What a scheme lays its work out on: nodes with their devices, and the ways between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch

from edgenet import channels
from edgenet.data import Dataset
from edgenet.errors import TopologyError
from edgenet.models.calibrate import calibrate
from edgenet.models.layers import LayerList
from edgenet.models.throttle import slowdown
from edgenet.models.timing import StageCost, stage_cost
from edgenet.node.substance import model_of
from edgenet.schemes.bench import Ground, Measured
from edgenet.topology.graph import direct, route
from edgenet.topology.spec import Channel, Optimizer, Topology

_HOST_FLOPS = 20e9
"""Taken for a device as fast as this machine: a layout must not depend on the host it is made on.
About what one core of a present desktop trains small models at."""
_LAYER_S = 0.1
"""To measure a layer; at least three batches are computed."""


def ground_of(
    topology: Topology,
    options: Any,
    names: Sequence[str],
    samples: Mapping[str, int],
    dataset: Dataset,
    *,
    measure: bool,
) -> Ground:
    """The ground of the nodes `names`, in rank order; `samples` as in `Ground`.

    Args:
        measure: whether layers may be measured here.

    Raises:
        TopologyError: no path of links joins two of them that follow each other.
    """
    layers = model_of(topology, dataset)
    devices = [topology.device(name) for name in names]
    costs = partial(layer_costs, layers, dataset.shape, topology.train.optimizer)

    def measured(rows: int) -> Measured:
        emulated = any(device.training_flops is not None for device in devices)
        flops = calibrate() if emulated else 0.0
        return Measured(costs(rows), tuple(slowdown(flops, device) for device in devices))

    return Ground(
        train=topology.train,
        options=options,
        layers=layers,
        image=dataset.shape,
        samples=samples,
        nodes=tuple(map(topology.node, names)),
        speeds=tuple(device.training_flops or _HOST_FLOPS for device in devices),
        memories=tuple(device.memory_bytes for device in devices),
        hops=tuple(channel(topology, a, b) for a, b in pairwise(names)),
        direct=partial(direct, topology, names),
        measure=measured if measure else None,
    )


def layer_costs(
    layers: LayerList, image: Sequence[int], optimizer: Optimizer, rows: int
) -> tuple[StageCost, ...]:
    """What each layer takes on one thread of this host, on a batch of `rows` images.

    Weights and statistics of the layers change; torch's random numbers go on as if nothing was.
    """
    costs = list[StageCost]()
    x = torch.rand(rows, *image, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng(devices=[]):  # dropout draws
        for layer in layers.children():
            cost, x = stage_cost(layer, x, optimizer=optimizer, first=not costs, budget_s=_LAYER_S)
            costs.append(cost)
    return tuple(costs)


def channel(topology: Topology, source: str, target: str) -> Channel:
    """What the network does to one direction between two nodes: its hops, composed.

    Raises:
        TopologyError: no path of links joins them.
    """
    if route(topology, source, target) is None:
        raise TopologyError(
            f"{topology.where('links')}: '{source}' cannot reach '{target}', which it must talk to "
            f"under scheme '{topology.train.scheme}'; join them by a link"
        )
    return channels.between(topology, source, target)
