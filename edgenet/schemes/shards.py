"""The orchestrator's data: shards of the training set, sent to learners that keep none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from edgenet.data import Dataset
from edgenet.data.seeds import generator
from edgenet.errors import InputError


class Stock:
    """The training set, cut once into shards of equal size; what does not fill one is not used.

    Args:
        dataset: its training part is dealt out.
        shard: samples in a shard.
        seed: the run's; it decides which samples form a shard, and who gets which.

    Raises:
        InputError: the training set does not fill one shard.
    """

    def __init__(self, dataset: Dataset, shard: int, seed: int) -> None:
        samples = len(dataset.train_y)
        if samples < shard:
            raise InputError(f"train.shard is {shard}, but there are {samples} training samples")
        order = torch.randperm(samples, generator=generator("stock", seed))
        self._shards = order[: samples // shard * shard].view(-1, shard)
        self._dataset, self._seed = dataset, seed

    def __len__(self) -> int:
        """How many shards there are."""
        return len(self._shards)

    def draw(self, number: int, shares: Mapping[str, int]) -> dict[str, tuple[Tensor, Tensor]]:
        """So many randomly picked shards for each learner in round `number`: images uint8
        (samples, channels, height, width), labels uint8 or int64 (samples,).

        A learner never gets the same shard twice; two learners do only where all together ask
        for more than there are (section IV.B: "with duplication if needed").
        """
        order = torch.randperm(len(self), generator=generator("shards", self._seed, number))
        dealt, start = {}, 0
        for name, shards in shares.items():
            at = (torch.arange(start, start + min(shards, len(self)))) % len(self)
            dealt[name] = self._gather(self._shards[order[at]].flatten())
            start += len(at)
        return dealt

    def _gather(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        labels = self._dataset.train_y[indices]
        small = self._dataset.classes <= 256
        return self._dataset.train_x[indices], labels.to(torch.uint8) if small else labels


@dataclass(frozen=True, kw_only=True)
class Study:
    """How a learner goes through shards that it was sent."""

    dataset: Dataset
    """Only its mean and deviation are used: constants of the kind of data, known to everybody."""
    batch: int
    """Samples in a batch; the last of a pass may be smaller."""
    shard: int
    """Samples in a shard."""
    seed: int
    learner: str
    """The learner's name, so that no two go through the same shards in the same order."""

    def batches(self, x: Tensor, y: Tensor, number: int) -> SentBatches:
        """Batches of what came in round `number` (0: the benchmark), as `Stock.draw` gave it."""
        return SentBatches(self, x, y, number)


class SentBatches:
    """Implements `schemes.bench.Batches` for images and labels that came over a link."""

    def __init__(self, study: Study, x: Tensor, y: Tensor, number: int) -> None:
        self._study, self._x, self._y, self._number = study, x, y, number
        self._passes = 0

    @property
    def samples(self) -> int:
        """Samples that were sent."""
        return len(self._y)

    def __len__(self) -> int:
        """Batches in one pass."""
        return -(-self.samples // self._study.batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass, in an order that depends on seed, learner, round and pass alone."""
        study = self._study
        random = generator("sent", study.seed, study.learner, self._number, self._passes)
        self._passes += 1
        order = torch.randperm(self.samples, generator=random)
        for at in torch.split(order, study.batch):
            yield study.dataset.normalised(self._x[at]), self._y[at].long()
