"""A labelled set of images, as it is kept in memory: whole numbers, shared between processes."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from edgenet.data.seeds import generator
from edgenet.errors import DataError
from edgenet.topology.spec import Data


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Images and their labels, to train and to test on. Not to be changed: it may be shared."""

    name: str
    """The name it was loaded by."""
    train_x: Tensor
    """Training images: uint8 (samples, channels, height, width)."""
    train_y: Tensor
    """Their labels: int64 (samples,), 0 .. classes - 1."""
    test_x: Tensor
    """Test images, like `train_x`."""
    test_y: Tensor
    """Test labels, like `train_y`."""
    classes: int
    """Number of different labels."""
    mean: tuple[float, ...]
    """Mean of each channel over the training set, with pixels in 0..1."""
    std: tuple[float, ...]
    """Standard deviation of each channel over the training set, with pixels in 0..1."""
    notes: tuple[str, ...] = ()
    """What a reader of the results has to know, as sentences: parts that are missing, ..."""

    def __post_init__(self) -> None:
        for part, x, y in (
            ("training", self.train_x, self.train_y),
            ("test", self.test_x, self.test_y),
        ):
            if len(x) != len(y):
                raise DataError(f"{self.name}: {len(x)} {part} images, but {len(y)} labels")
            if not len(y):
                raise DataError(f"{self.name}: there are no {part} images")
            if not 0 <= int(y.min()) <= int(y.max()) < self.classes:
                raise DataError(
                    f"{self.name}: {part} labels go from {int(y.min())} to {int(y.max())}, not "
                    f"from 0 to {self.classes - 1}"
                )

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, height, width) of an image."""
        return tuple(self.train_x.shape[1:])

    def normalised(self, images: Tensor) -> Tensor:
        """Uint8 `images` (samples, channels, height, width) with mean 0 and deviation 1, in torch's
        default type (float32; float64 where rounding is to be told from mathematics)."""
        scale = torch.tensor([1 / (255 * s) for s in self.std]).view(-1, 1, 1)
        shift = torch.tensor([-m / s for m, s in zip(self.mean, self.std, strict=True)])
        return images.to(scale.dtype).mul_(scale).add_(shift.view(-1, 1, 1))


def subset(dataset: Dataset, spec: Data, seed: int) -> Dataset:
    """`dataset` with only as many samples as `spec` asks for, drawn by the seed.

    Asking again in this process, or in one forked from it, gives the same object.

    Raises:
        DataError: more samples are asked for than there are, or less than one.
    """
    return _subset(dataset, spec.train, spec.test, seed)


@functools.lru_cache(maxsize=8)
def _subset(dataset: Dataset, train: int | None, test: int | None, seed: int) -> Dataset:
    at_train = _draw(dataset, "train", len(dataset.train_y), train, seed)
    at_test = _draw(dataset, "test", len(dataset.test_y), test, seed)
    if at_train is not None:
        x, y = dataset.train_x[at_train], dataset.train_y[at_train]
        dataset = replace(dataset, train_x=x, train_y=y)
    if at_test is not None:
        x, y = dataset.test_x[at_test], dataset.test_y[at_test]
        dataset = replace(dataset, test_x=x, test_y=y)
    return dataset


def _draw(dataset: Dataset, part: str, there: int, wanted: int | None, seed: int) -> Tensor | None:
    """Sorted indices of `wanted` samples out of `there`; None for all of them."""
    if wanted is None or wanted == there:
        return None
    if not 1 <= wanted <= there:
        raise DataError(
            f"train.data.{part} is {wanted}, but {dataset.name} has {there} {part} samples; "
            f"give a number from 1 to {there}, or leave it out for all"
        )
    order = torch.randperm(there, generator=generator("subset", part, seed))
    return order[:wanted].sort().values
