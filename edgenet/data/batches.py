"""Mini-batches of a node's share, and the test of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from edgenet.data.dataset import Dataset
from edgenet.data.seeds import generator
from edgenet.errors import InputError
from edgenet.models.stage import Stage


class ShareBatches:
    """Implements `schemes.bench.Batches` for the samples `indices` of the training set.

    The pixels stay whole numbers in shared memory; only the batch at hand is normalised float32.

    Args:
        dataset: what the indices point into.
        indices: the share (samples,), as `partition` gives it.
        batch: samples in a batch; the last of a pass may be smaller.
        seed: the run's.
        share: number or name of the share, so that no two have the same order.

    Raises:
        InputError: an empty share, or a batch below 1.
    """

    def __init__(
        self, dataset: Dataset, indices: Tensor, batch: int, seed: int, share: int | str
    ) -> None:
        if batch < 1 or not len(indices):
            raise InputError(
                f"share {share!r} has {len(indices)} samples in batches of {batch}; both must be "
                "at least 1"
            )
        self._dataset, self._indices, self._batch = dataset, indices, batch
        self._key = ("batches", seed, share)
        self.passes = 0
        """Passes begun so far; set it to go on where an earlier run stopped."""

    @property
    def samples(self) -> int:
        """|D_i|: samples in the share."""
        return len(self._indices)

    def __len__(self) -> int:
        """Batches in one pass."""
        return -(-len(self._indices) // self._batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass: (inputs float32 (batch, channels, height, width), labels int64 (batch,)), in
        an order that depends on the seed, the share and the number of the pass alone."""
        random = generator(*self._key, self.passes)
        self.passes += 1
        order = self._indices[torch.randperm(len(self._indices), generator=random)]
        return self._pass(order)

    def _pass(self, order: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        data = self._dataset
        for at in torch.split(order, self._batch):
            yield data.normalised(data.train_x[at]), data.train_y[at]


def batches_to_test(
    dataset: Dataset, batch: int = 500, share: Tensor | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """The test set in order, or the samples `share` of it: (inputs, labels), normalised."""
    if share is None:
        share = torch.arange(len(dataset.test_y))
    for at in torch.split(share, batch):
        yield dataset.normalised(dataset.test_x[at]), dataset.test_y[at]


class Score(NamedTuple):
    """How good a model is on test samples."""

    loss: float
    """Mean cross-entropy."""
    accuracy: float
    """Part of the samples whose largest output is the right one: 0..1."""
    samples: int
    """How many were tested."""


def evaluate(
    model: Stage | Callable[[Tensor], Tensor],
    dataset: Dataset,
    batch: int = 500,
    share: Tensor | None = None,
) -> Score:
    """Test `model` (a stage, or a function from inputs to logits) on the test set.

    Args:
        model: what is tested; its training is not disturbed.
        dataset: its test set is used.
        batch: samples at a time.
        share: only these samples of the test set (indices); None = all.
    """
    infer = model if callable(model) else model.infer
    loss, right, samples = 0.0, 0, 0
    with torch.no_grad():
        for x, labels in batches_to_test(dataset, batch, share):
            logits = infer(x)
            loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
            right += int((logits.argmax(1) == labels).sum())
            samples += len(labels)
    return Score(loss / samples, right / samples, samples)
