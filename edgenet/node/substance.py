"""What a topology trains: its data, its model, its cut; looked up and held against each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.data import DATASETS, VIEWS, Dataset, Eye, Order, load, partition, subset
from edgenet.errors import InputError, TopologyError
from edgenet.models.layers import LayerList, build, cut
from edgenet.models.zoo import MODELS
from edgenet.schemes import Scheme
from edgenet.schemes.bench import Setting
from edgenet.topology.spec import Topology


def dataset_of(topology: Topology) -> Dataset:
    """The part of the dataset that the topology uses, from EDGENET_DATA where that is set."""
    wanted = topology.train.data
    return subset(load(wanted.name), wanted, topology.seed)


def model_of(topology: Topology, dataset: Dataset) -> LayerList:
    """The whole model, the same on every node: its weights depend on the seed alone."""
    return build(
        topology.train.model, classes=dataset.classes, shape=dataset.shape, seed=topology.seed
    )


def shares_of(topology: Topology, dataset: Dataset, shares: int) -> tuple[Tensor, ...]:
    """Indices into the training set, one share for every node that trains."""
    return partition(dataset.train_y, topology.train.partition, shares, topology.seed)


def order_of(topology: Topology, dataset: Dataset, times: int = 1) -> Order:
    """The order in which all nodes go through the whole training set: that of a single learner."""
    (indices,) = shares_of(topology, dataset, 1)
    if times > 1:
        indices = torch.arange(times * len(indices))
    train = topology.train
    return Order(indices, train.batch, topology.seed, 0, each=train.local_epochs)


def eye_of(topology: Topology, dataset: Dataset, number: int) -> Eye:
    """What source `number` sees: the views are dealt out to the sources in turn."""
    views = topology.train.data.views or ("plain",)
    return Eye(dataset, views[number % len(views)], topology.seed, number)


def seeing(scheme: Scheme, cast: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The names of all nodes that see samples through a view of their own, by number."""
    return tuple(name for role in scheme.roles if role.sees for name in cast[role.name])


def whole_of(
    topology: Topology,
    scheme: Scheme,
    options: Any,
    dataset: Dataset,
    cast: Mapping[str, tuple[str, ...]],
) -> nn.Module:
    """The scheme's own global model, initialised by the seed.

    Raises:
        TopologyError: it cannot be made from these settings.
    """
    assert scheme.model is not None
    names = seeing(scheme, cast)
    setting = Setting(
        layers=model_of(topology, dataset),
        image=dataset.shape,
        shapes={name: eye_of(topology, dataset, i).shape for i, name in enumerate(names)},
        options=options,
        cut=topology.train.cut,
        seed=topology.seed,
        rounds=topology.train.rounds,
        cast=cast,
    )
    try:
        return scheme.model(setting)
    except ValueError as error:
        key = str(error).partition(" ")[0]
        raise TopologyError(f"{topology.where(f'train.{key}')}: train.{error}") from None


def check_substance(topology: Topology, scheme: Scheme, shares: int) -> tuple[Dataset, LayerList]:
    """Make sure that a node will be able to make all of the above; returns two of them.

    Raises:
        TopologyError: with file, line and the choices.
        DataError: the dataset is not there, or damaged.
    """
    train = topology.train
    _known(topology, "train.data.name", "dataset", train.data.name, tuple(DATASETS))
    _known(topology, "train.model", "model", train.model, tuple(MODELS))
    for view in train.data.views:
        _known(topology, "train.data.views", "view", view, tuple(VIEWS))
    with _at(topology, "train.data"):
        dataset = dataset_of(topology)
    with _at(topology, "train.partition"):
        shares_of(topology, dataset, shares)
    with _at(topology, "train.model"):
        model = model_of(topology, dataset)
    if scheme.cuts and train.cut is None:
        names = ", ".join(model.layer_names[:-1])
        raise TopologyError(
            f"{topology.where('train')}: scheme '{scheme.name}' needs train.cut, the last layer "
            f"that stays with the client; layers of '{train.model}' are {names}"
        )
    if train.cut is not None:
        with _at(topology, "train.cut"):
            cut(model, train.cut)
    return dataset, model


@contextmanager
def _at(topology: Topology, path: str) -> Iterator[None]:
    """Add the place in the file to what the body finds wrong."""
    try:
        yield
    except InputError as error:
        raise TopologyError(f"{topology.where(path)}: {error}") from None


def _known(topology: Topology, path: str, what: str, name: str, choices: tuple[str, ...]) -> None:
    if name not in choices:
        raise TopologyError(
            f"{topology.where(path)}: unknown {what} '{name}'; {what}s are {', '.join(choices)}"
        )
