"""What models are put together from: layers whose weights are not drawn when they are made."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from torch import nn

Shape = tuple[int, ...]

Layers = OrderedDict[str, nn.Module]
"""Named layers in order."""

Maker = Callable[[Shape, int], Layers]
"""A model: (shape of an input: channels, height, width; classes) -> its layers, not drawn."""


class Linear(nn.Linear):
    """Not drawn when it is made: torch would draw from its global generator."""

    def reset_parameters(self) -> None:
        """Leave the weights to `layers.initialise`."""


class Convolution(nn.Conv2d):
    """Not drawn when it is made, like `Linear`."""

    def reset_parameters(self) -> None:
        """Leave the weights to `layers.initialise`."""


def layer(**parts: nn.Module) -> nn.Module:
    """One layer out of named parts."""
    return nn.Sequential(OrderedDict(parts))


def connected(inputs: int, outputs: int, *, last: bool = False) -> nn.Module:
    """Fully connected; ReLU behind it unless it is the last."""
    if last:
        return layer(flatten=nn.Flatten(), linear=Linear(inputs, outputs))
    return layer(flatten=nn.Flatten(), linear=Linear(inputs, outputs), relu=nn.ReLU())
