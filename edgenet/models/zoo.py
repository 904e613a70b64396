"""The models: each a function (shape of the inputs, classes) -> its named layers, not drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import nn

from edgenet.errors import InputError
from edgenet.models.alexnet import ALEXNETS
from edgenet.models.parts import Convolution, Layers, Maker, Shape, connected, layer
from edgenet.models.resnet import RESNETS
from edgenet.models.vgg import VGGS


def _convolution(inputs: int, outputs: int) -> nn.Module:
    """5x5, same size, ReLU, then half the height and width."""
    conv = Convolution(inputs, outputs, 5, padding=2)
    return layer(conv=conv, relu=nn.ReLU(), pool=nn.MaxPool2d(2))


def _multilayer_perceptron(*hidden: int) -> Maker:
    def layers(shape: Shape, classes: int) -> Layers:
        widths = (math.prod(shape), *hidden, classes)
        last = len(hidden)
        return Layers(
            (f"F{i + 1}", connected(widths[i], widths[i + 1], last=i == last))
            for i in range(len(widths) - 1)
        )

    return layers


def _leaf_cnn(width: int) -> Maker:
    """LEAF's CNN whose first convolution has `width` channels (LEAF: 32)."""

    def layers(shape: Shape, classes: int) -> Layers:
        channels, height, rows = shape
        if height < 4 or rows < 4:
            raise InputError(f"model 'leaf-cnn' needs images of 4x4 or more, not {height}x{rows}")
        return Layers(
            C1=_convolution(channels, width),
            C2=_convolution(width, 2 * width),
            F1=connected(2 * width * (height // 4) * (rows // 4), 64 * width),
            F2=connected(64 * width, classes, last=True),
        )

    return layers


MODELS: Mapping[str, Maker] = {
    "two-nn": _multilayer_perceptron(200, 200),
    "two-nn-small": _multilayer_perceptron(50, 20),
    "leaf-cnn": _leaf_cnn(32),
    **{f"leaf-cnn-w{width}": _leaf_cnn(width) for width in (16, 8, 4)},
    **RESNETS,
    **ALEXNETS,
    **VGGS,
}
"""Name -> the layers for (input shape, classes), not yet drawn.

two-nn: McMahan et al. 2017, sec. 3 ('2NN'; 784-200-200-10 on MNIST: 199 210 parameters).
two-nn-small: DAB's TwoNN, 784-50-20-10. leaf-cnn: LEAF's CNN as FPL uses it, C1 5x5x32, C2 5x5x64,
F1 3136-2048, F2 (6 603 710 parameters for FEMNIST's 62 classes). resnet-16 and alexnet: SGLR's, see
their files. -w8 behind a name: 8 channels in the first convolution, the others in proportion.
"""
