"""VGG16: the network of the mcPipe paper.

Simonyan and Zisserman 2015, table 1, column D: 13 convolutions of 3x3 (64, 64, 128, 128, 256 x 3,
512 x 6), pooling after the 2nd, 4th, 7th, 10th and 13th, then 4096-4096-classes. The first fully
connected layer has as many inputs as are left: 512 for 32x32 images (the CIFAR form, 33.6 million
parameters), 25 088 for 224x224 (138.4 million with 1000 classes). Without dropout, which would draw
from a generator that a run's nodes do not share.

Five poolings leave nothing of an image below 32x32; those get a wider border of zeros at the first
convolution, as MNIST is commonly padded to 32x32. Without normalisation the network hardly starts
to learn from torch's initial weights: `vgg16-bn` has one behind each convolution. Layers: C1 ..
C13, F1 .. F3.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from edgenet.errors import InputError
from edgenet.models.parts import Convolution, Layers, Maker, Shape, connected, layer

_CHANNELS = (1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 8, 8, 8)
"""Of the convolutions, in widths."""
_POOLED = (2, 4, 7, 10, 13)
"""Convolutions that are followed by 2x2 max-pooling."""
_HIDDEN = 64
"""Outputs of the first fully connected layers, in widths."""
_SMALLEST, _PADDED = 20, 32


def vgg16(width: int, *, normalised: bool = False) -> Maker:
    """VGG16 whose first convolution has `width` channels (in the paper: 64)."""

    def layers(shape: Shape, classes: int) -> Layers:
        channels, height, columns = shape
        if min(height, columns) < _SMALLEST:
            raise InputError(
                f"model 'vgg16' needs images of {_SMALLEST}x{_SMALLEST} or more, not "
                f"{height}x{columns}"
            )
        border = tuple(max(0, -(-(_PADDED - size) // 2)) for size in (height, columns))
        found, inputs = Layers(), channels
        for number, wide in enumerate(_CHANNELS, start=1):
            padding = (1 + border[0], 1 + border[1]) if number == 1 else (1, 1)
            conv = Convolution(inputs, wide * width, 3, padding=padding, bias=not normalised)
            found[f"C{number}"] = _behind(conv, normalised, number in _POOLED)
            inputs = wide * width
        for size, more in zip((height, columns), border, strict=True):
            inputs *= (size + 2 * more) // 2 ** len(_POOLED)
        for number in (1, 2):
            found[f"F{number}"] = connected(inputs, _HIDDEN * width)
            inputs = _HIDDEN * width
        found["F3"] = connected(inputs, classes, last=True)
        return found

    return layers


def _behind(conv: nn.Conv2d, normalised: bool, pooled: bool) -> nn.Module:
    parts: dict[str, nn.Module] = {"conv": conv}
    if normalised:
        parts["norm"] = nn.BatchNorm2d(conv.out_channels)
    parts["relu"] = nn.ReLU()
    if pooled:
        parts["pool"] = nn.MaxPool2d(2)
    return layer(**parts)


VGGS: Mapping[str, Maker] = {
    "vgg16": vgg16(64),
    "vgg16-bn": vgg16(64, normalised=True),
    **{f"vgg16-w{width}": vgg16(width) for width in (16, 4)},
    **{f"vgg16-bn-w{width}": vgg16(width, normalised=True) for width in (16, 4)},
}
"""At the paper's width, and narrower."""
