"""Views: what each of several sources sees of the same sample (FPL, section III and Fig. 4).

The paper names the transformations (Gaussian blur, random erasure, horizontal flip, vertical flip,
random crop) and not their settings. Read here as torchvision's defaults where it has any:

    blur    5x5 kernel, deviation 1.5 pixels
    erase   one black rectangle of 2 to 33 % of the area, sides 0.3 to 3.3 to one (RandomErasing)
    hflip   left and right exchanged, always
    vflip   top and bottom exchanged, always
    crop    a square of 3/4 of each side, anywhere, enlarged to the size of the image: the model's
            input has one size

Beyond the paper: `plain` (the image as it is), `noise` (pixels that have nothing to do with the
sample: a broken camera) and `sensor` (no image: the mean brightness of each row and each column in
0..1, as two strips of photodiodes at the sides of the scene would read it).

What is random depends on (seed, sample, source) alone and is computed, not stored: a source sees a
sample the same way in every pass, on every machine, and in whatever batch it stands.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from edgenet.data.dataset import Dataset
from edgenet.errors import InputError

_KERNEL, _DEVIATION = 5, 1.5
_ERASED_AREA = (0.02, 0.33)
_ERASED_SIDES = (0.3, 3.3)
_CROPPED = 0.75

Draw = Callable[[int], Tensor]
"""count -> uniform numbers in [0, 1), float32 (samples, count), each sample's its own."""


def _plain(images: Tensor, draw: Draw) -> Tensor:
    return images


def _blur(images: Tensor, draw: Draw) -> Tensor:
    """Borders are mirrored, as torchvision does it."""
    half = _KERNEL // 2
    weights = (-torch.linspace(-half, half, _KERNEL).square() / (2 * _DEVIATION**2)).exp()
    line = (weights / weights.sum()).view(1, 1, 1, -1)
    channels = images.shape[1]
    x = functional.pad(images.float(), (half,) * 4, mode="reflect")
    x = functional.conv2d(x, line.expand(channels, 1, 1, -1), groups=channels)
    x = functional.conv2d(x, line.mT.expand(channels, 1, -1, 1), groups=channels)
    return _whole(x)


def _erase(images: Tensor, draw: Draw) -> Tensor:
    """Zhong et al. 2020, Algorithm 1, with every image erased; one number a side is cut off where
    the rectangle would be larger than the image, instead of drawing again."""
    height, width = images.shape[2:]
    area, ratio, top, left = draw(4).unbind(1)
    low, high = torch.tensor(_ERASED_SIDES).log()
    sides = (low + (high - low) * ratio).exp()
    area = height * width * (_ERASED_AREA[0] + (_ERASED_AREA[1] - _ERASED_AREA[0]) * area)
    tall = (area * sides).sqrt().round().clamp(1, height - 1)
    wide = (area / sides).sqrt().round().clamp(1, width - 1)
    top = (top * (height - tall + 1)).floor()
    left = (left * (width - wide + 1)).floor()
    inside = _between(height, top, tall)[:, :, None] & _between(width, left, wide)[:, None, :]
    return images.masked_fill(inside[:, None], 0)


def _between(size: int, first: Tensor, length: Tensor) -> Tensor:
    """(samples, size): whether the place is one of `length` places from `first` on."""
    place = torch.arange(size)
    return (place >= first[:, None]) & (place < (first + length)[:, None])


def _hflip(images: Tensor, draw: Draw) -> Tensor:
    return images.flip(3)


def _vflip(images: Tensor, draw: Draw) -> Tensor:
    return images.flip(2)


def _crop(images: Tensor, draw: Draw) -> Tensor:
    """Bilinear, as torchvision's resized_crop without antialiasing (which enlarging needs none)."""
    at = draw(2)
    grids = []
    for axis, size in enumerate(images.shape[2:]):
        part = round(_CROPPED * size)
        first = (at[:, axis] * (size - part + 1)).floor()
        inner = ((torch.arange(size) + 0.5) * part / size - 0.5).clamp(0, part - 1)
        grids.append((2 * (first[:, None] + inner) + 1) / size - 1)  # grid_sample's -1..1
    rows, columns = grids
    height, width = images.shape[2:]
    grid = torch.stack(
        [columns[:, None, :].expand(-1, height, -1), rows[:, :, None].expand(-1, -1, width)], dim=3
    )
    return _whole(functional.grid_sample(images.float(), grid, align_corners=False))


def _noise(images: Tensor, draw: Draw) -> Tensor:
    return (draw(images[0].numel()) * 256).to(torch.uint8).view_as(images)


def _sensor(images: Tensor, draw: Draw) -> Tensor:
    bright = images.float().mean(1) / 255
    return torch.cat([bright.mean(2), bright.mean(1)], dim=1)


def _whole(x: Tensor) -> Tensor:
    return x.round_().clamp_(0, 255).to(torch.uint8)


VIEWS: Mapping[str, Callable[[Tensor, Draw], Tensor]] = {
    "blur": _blur,
    "erase": _erase,
    "hflip": _hflip,
    "vflip": _vflip,
    "crop": _crop,
    "plain": _plain,
    "noise": _noise,
    "sensor": _sensor,
}
"""Name -> (images uint8 (samples, channels, height, width), random numbers) -> what is seen: images
of the same shape and type, or ('sensor') vectors float32 (samples, height + width)."""


@dataclass(frozen=True, eq=False)
class Eye:
    """One source's sight of a dataset: every sample, in the source's own view."""

    dataset: Dataset
    """What there is to see."""
    view: str
    """A name in `VIEWS`."""
    seed: int
    """The run's."""
    source: int
    """Number of the source: two sources with the same view draw different numbers."""

    def __post_init__(self) -> None:
        if self.view not in VIEWS:
            raise InputError(f"view {self.view!r} is unknown; views are {', '.join(VIEWS)}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample as it is seen."""
        return tuple(self.train(torch.zeros(1, dtype=torch.int64)).shape[1:])

    def train(self, at: Tensor) -> Tensor:
        """The training samples of indices `at`, as the source holds them: uint8 images, or float32
        vectors."""
        return VIEWS[self.view](self.dataset.train_x[at], self._draws("train", at))

    def test(self, at: Tensor) -> Tensor:
        """The test samples of indices `at`, likewise."""
        return VIEWS[self.view](self.dataset.test_x[at], self._draws("test", at))

    def inputs(self, seen: Tensor) -> Tensor:
        """What a model is given of what was seen: images normalised, vectors as they are."""
        return self.dataset.normalised(seen) if seen.dtype == torch.uint8 else seen

    def _draws(self, part: str, at: Tensor) -> Draw:
        digest = hashlib.sha256(repr(("view", part, self.seed, self.source)).encode()).digest()
        return lambda count: uniform(int.from_bytes(digest[:8], "big", signed=True), at, count)


def uniform(key: int, at: Tensor, count: int) -> Tensor:
    """`count` numbers in [0, 1) for each index in `at`, float32 (len(at), count), from (key, index)
    alone: splitmix64 (Steele, Lea, Flood 2014, Fig. 17) of a counter."""
    counter = at[:, None] * count + torch.arange(count)
    z = key + counter * -0x61C8864680B583EB  # the golden gamma; int64 wraps around
    z = (z ^ _shifted(z, 30)) * -0x40A7B892E31B1A47
    z = (z ^ _shifted(z, 27)) * -0x6B2FB644ECCEEE15
    return _shifted(z ^ _shifted(z, 31), 40).float() / 2**24


def _shifted(z: Tensor, bits: int) -> Tensor:
    """Towards the right, zeros coming in (torch keeps the sign of int64)."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
