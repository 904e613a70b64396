"""Datasets, how they are dealt out to nodes, and batches of them."""

from edgenet.data.batches import Order, Score, ShareBatches, evaluate, evaluate_at
from edgenet.data.catalogue import DATASETS, load
from edgenet.data.dataset import Dataset, subset
from edgenet.data.partition import describe, partition
from edgenet.data.views import VIEWS, Eye

__all__ = [
    "DATASETS",
    "VIEWS",
    "Dataset",
    "Eye",
    "Order",
    "Score",
    "ShareBatches",
    "describe",
    "evaluate",
    "evaluate_at",
    "load",
    "partition",
    "subset",
]
