"""Datasets, how they are dealt out to nodes, and batches of them."""

from edgenet.data.batches import Score, ShareBatches, evaluate
from edgenet.data.catalogue import DATASETS, load
from edgenet.data.dataset import Dataset, subset
from edgenet.data.partition import describe, partition

__all__ = [
    "DATASETS",
    "Dataset",
    "Score",
    "ShareBatches",
    "describe",
    "evaluate",
    "load",
    "partition",
    "subset",
]
