"""Mini-batches of a node's share, and the test of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from edgenet.data.dataset import Dataset
from edgenet.data.seeds import generator
from edgenet.data.views import Eye
from edgenet.errors import InputError
from edgenet.models.stage import Stage


class Order:
    """The order in which training samples are gone through: batches of indices.

    Nodes that make it from the same arguments go through the same samples at the same time, without
    a word about it.

    Args:
        indices: the samples (samples,), as `partition` gives them.
        batch: samples in a batch; the last of a pass may be smaller.
        seed: the run's.
        share: number or name of the share, so that no two have the same order.
        each: passes that make up an epoch.

    Raises:
        InputError: an empty share, or a batch below 1.
    """

    def __init__(
        self, indices: Tensor, batch: int, seed: int, share: int | str, *, each: int = 1
    ) -> None:
        if batch < 1 or not len(indices):
            raise InputError(
                f"share {share!r} has {len(indices)} samples in batches of {batch}; both must be "
                "at least 1"
            )
        self.indices = indices
        """The samples of a pass (samples,), in the order of the training set."""
        self._batch, self._each = batch, each
        self._key = ("batches", seed, share)
        self.passes = 0
        """Passes begun so far."""

    @property
    def samples(self) -> int:
        """|D_i|: samples in a pass."""
        return len(self.indices)

    def __len__(self) -> int:
        """Batches in one pass."""
        return -(-len(self.indices) // self._batch)

    def __iter__(self) -> Iterator[Tensor]:
        """One pass: indices int64 (batch,), in an order that depends on the seed, the share and the
        number of the pass alone."""
        random = generator(*self._key, self.passes)
        self.passes += 1
        order = self.indices[torch.randperm(len(self.indices), generator=random)]
        return iter(torch.split(order, self._batch))

    def checkpoint(self) -> dict[str, int]:
        """What `restore` needs."""
        return {"passes": self.passes}

    def restore(self, saved: Mapping[str, int]) -> None:
        """Go on where `saved` was taken."""
        self.passes = saved["passes"]

    def epoch(self, number: int) -> Iterator[Tensor]:
        """The batches of epoch 1, 2, ..., whatever was gone through before."""
        self.passes = (number - 1) * self._each
        return (at for _ in range(self._each) for at in self)


class ShareBatches:
    """Implements `schemes.bench.Batches` for the samples `indices` of the training set.

    The pixels stay whole numbers in shared memory; only the batch at hand is normalised.

    Args:
        dataset: what the indices point into.
        indices, batch, seed, share: as for `Order`.
        eye: sees the samples; None = as the dataset has them.

    Raises:
        InputError: an empty share, or a batch below 1.
    """

    def __init__(
        self,
        dataset: Dataset,
        indices: Tensor,
        batch: int,
        seed: int,
        share: int | str,
        *,
        eye: Eye | None = None,
    ) -> None:
        self._dataset, self._eye = dataset, eye
        self._order = Order(indices, batch, seed, share)

    def checkpoint(self) -> dict[str, int]:
        """What `restore` needs."""
        return self._order.checkpoint()

    def restore(self, saved: Mapping[str, int]) -> None:
        """Go on where `saved` was taken."""
        self._order.restore(saved)

    @property
    def samples(self) -> int:
        """|D_i|: samples in the share."""
        return self._order.samples

    def __len__(self) -> int:
        """Batches in one pass."""
        return len(self._order)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass: (inputs (batch, channels, height, width), labels int64 (batch,)), in
        the order of `Order`."""
        return self._pass(iter(self._order))  # the pass counts from here, not from its first batch

    def stream(self, after: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Pass after pass without end, from the batch behind the first `after` of them all."""
        self._order.passes, skipped = divmod(after, len(self))
        while True:
            yield from self._pass(islice(iter(self._order), skipped, None))
            skipped = 0

    def _pass(self, order: Iterator[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        data, eye = self._dataset, self._eye
        for at in order:
            x = data.normalised(data.train_x[at]) if eye is None else eye.inputs(eye.train(at))
            yield x, data.train_y[at]


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
    return evaluate_at(lambda at: infer(dataset.normalised(dataset.test_x[at])), dataset,
                       batch, share)  # fmt: skip


def evaluate_at(
    infer: Callable[[Tensor], Tensor],
    dataset: Dataset,
    batch: int = 500,
    share: Tensor | None = None,
) -> Score:
    """Like `evaluate`, for a function from *indices* of test samples (batch,) to their logits: it
    finds its inputs itself (several views of a sample, ...)."""
    at = torch.arange(len(dataset.test_y)) if share is None else share
    loss, right = 0.0, 0
    with torch.no_grad():
        for part in torch.split(at, batch):
            logits, labels = infer(part), dataset.test_y[part]
            loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
            right += int((logits.argmax(1) == labels).sum())
    return Score(loss / len(at), right / len(at), len(at))
