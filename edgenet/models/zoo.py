"""The models: each a function (shape of the inputs, classes) -> its named layers, not drawn."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping

from torch import nn

from edgenet.errors import InputError

Shape = tuple[int, ...]


class _Linear(nn.Linear):
    """Not drawn when it is made: torch would draw from its global generator."""

    def reset_parameters(self) -> None:
        """Leave the weights to `initialise`."""


class _Convolution(nn.Conv2d):
    """Not drawn when it is made, like `_Linear`."""

    def reset_parameters(self) -> None:
        """Leave the weights to `initialise`."""


def _layer(**parts: nn.Module) -> nn.Module:
    return nn.Sequential(OrderedDict(parts))


def _connected(inputs: int, outputs: int, *, last: bool = False) -> nn.Module:
    """Fully connected; ReLU behind it unless it is the last."""
    if last:
        return _layer(flatten=nn.Flatten(), linear=_Linear(inputs, outputs))
    return _layer(flatten=nn.Flatten(), linear=_Linear(inputs, outputs), relu=nn.ReLU())


def _convolution(inputs: int, outputs: int) -> nn.Module:
    """5x5, same size, ReLU, then half the height and width."""
    conv = _Convolution(inputs, outputs, 5, padding=2)
    return _layer(conv=conv, relu=nn.ReLU(), pool=nn.MaxPool2d(2))


def _multilayer_perceptron(*hidden: int) -> Callable[[Shape, int], OrderedDict[str, nn.Module]]:
    def layers(shape: Shape, classes: int) -> OrderedDict[str, nn.Module]:
        widths = (math.prod(shape), *hidden, classes)
        last = len(hidden)
        return OrderedDict(
            (f"F{i + 1}", _connected(widths[i], widths[i + 1], last=i == last))
            for i in range(len(widths) - 1)
        )

    return layers


def _leaf_cnn(shape: Shape, classes: int) -> OrderedDict[str, nn.Module]:
    channels, height, width = shape
    if height < 4 or width < 4:
        raise InputError(f"model 'leaf-cnn' needs images of 4x4 or more, not {height}x{width}")
    return OrderedDict(
        C1=_convolution(channels, 32),
        C2=_convolution(32, 64),
        F1=_connected(64 * (height // 4) * (width // 4), 2048),
        F2=_connected(2048, classes, last=True),
    )


MODELS: Mapping[str, Callable[[Shape, int], OrderedDict[str, nn.Module]]] = {
    "two-nn": _multilayer_perceptron(200, 200),
    "two-nn-small": _multilayer_perceptron(50, 20),
    "leaf-cnn": _leaf_cnn,
}
"""Name -> the layers for (input shape, classes), not yet drawn.

two-nn: McMahan et al. 2017, sec. 3 ('2NN'; 784-200-200-10 on MNIST: 199 210 parameters).
two-nn-small: DAB's TwoNN, 784-50-20-10. leaf-cnn: LEAF's CNN as FPL uses it, C1 5x5x32, C2 5x5x64,
F1 3136-2048, F2 (6 603 710 parameters for FEMNIST's 62 classes).
"""
