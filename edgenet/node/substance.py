"""What a topology trains: its data, its model, its cut; looked up and held against each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from edgenet.data import DATASETS, Dataset, load, partition, subset
from edgenet.errors import InputError, TopologyError
from edgenet.models.layers import LayerList, build, cut
from edgenet.models.zoo import MODELS
from edgenet.schemes import Scheme
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


def check_substance(topology: Topology, scheme: Scheme, shares: int) -> tuple[Dataset, LayerList]:
    """Make sure that a node will be able to make all of the above; returns two of them.

    Raises:
        TopologyError: with file, line and the choices.
        DataError: the dataset is not there, or damaged.
    """
    train = topology.train
    _known(topology, "train.data.name", "dataset", train.data.name, tuple(DATASETS))
    _known(topology, "train.model", "model", train.model, tuple(MODELS))
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
