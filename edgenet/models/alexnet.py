"""AlexNet for 28x28 images: the network of the SGLR paper's tables 4 and 6.

Pal et al. (see resnet.py), sec. 4.2: "the client model only comprises of 1 convolutional layer and
1 max-pooling layer while the remaining layers are stored in the server". Krizhevsky's 11x11 kernels
do not fit 28x28 images, and the paper does not draw its version. Read here: the version that is in
common use for MNIST, five 3x3 convolutions of 32, 64, 128, 256 and 256 channels, pooling after the
first, second and fifth, and 1024-512-classes. It agrees with the one size that the paper gives for
its smashed data, S(L) = .024 MB: 32 x 14 x 14 float32 are 25 088 bytes, .0239 MiB. The sizes of its
weights are not those of the paper (200 MB; 67 MB at the client): no network whose client holds one
convolution has a third of its weights there. Without dropout, which would draw from a generator
that a run's nodes do not share. Layers: C1 .. C5, F1 .. F3; the paper's cut is C1.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from edgenet.errors import InputError
from edgenet.models.parts import Convolution, Layers, Maker, Shape, connected, layer

PAPER_CUT = "C1"
"""One convolution and one pooling stay with the client."""
_CHANNELS = (1, 2, 4, 8, 8)
"""Of the convolutions, in widths."""
_POOLED = (True, True, False, False, True)
"""Whether a convolution is followed by 2x2 max-pooling."""
_HIDDEN = (32, 16)
"""Outputs of the first fully connected layers, in widths."""


def alexnet(width: int) -> Maker:
    """AlexNet whose first convolution has `width` channels (in common use: 32)."""

    def layers(shape: Shape, classes: int) -> Layers:
        channels, height, rows = shape
        if height < 8 or rows < 8:
            raise InputError(f"model 'alexnet' needs images of 8x8 or more, not {height}x{rows}")
        found, inputs = Layers(), channels
        for number, (wide, pooled) in enumerate(zip(_CHANNELS, _POOLED, strict=True), start=1):
            found[f"C{number}"] = _convolution(inputs, wide * width, pooled)
            inputs = wide * width
        inputs *= (height // 8) * (rows // 8)
        for number, wide in enumerate(_HIDDEN, start=1):
            found[f"F{number}"] = connected(inputs, wide * width)
            inputs = wide * width
        found["F3"] = connected(inputs, classes, last=True)
        return found

    return layers


def _convolution(inputs: int, outputs: int, pooled: bool) -> nn.Module:
    conv = Convolution(inputs, outputs, 3, padding=1)
    if pooled:
        return layer(conv=conv, relu=nn.ReLU(), pool=nn.MaxPool2d(2))
    return layer(conv=conv, relu=nn.ReLU())


ALEXNETS: Mapping[str, Maker] = {
    "alexnet": alexnet(32),
    **{f"alexnet-w{width}": alexnet(width) for width in (16, 8, 4)},
}
"""At the width in common use, and narrower."""
