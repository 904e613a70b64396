"""Models as ordered lists of named layers that can be cut between any two of them.

A layer is what a paper counts as one: a convolution or a fully connected product together with the
activation and the pooling that follow it. Weights depend on the seed alone: they are drawn from a
generator of their own, never from torch's global one, so any number of threads may build models.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgenet.errors import InputError
from edgenet.models.parts import Shape
from edgenet.models.zoo import MODELS


class LayerList(nn.Sequential):
    """Named layers in order."""

    def __init__(self, layers: OrderedDict[str, nn.Module]) -> None:
        super().__init__(layers)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The names of the layers, first to last."""
        return tuple(self._modules)


def build(name: str, *, classes: int, shape: Shape, seed: int) -> LayerList:
    """The model called `name` for inputs of `shape` (channels, height, width), on the CPU.

    The same seed gives the same weights, everywhere: those that torch's own initialisation gives
    after `torch.manual_seed(seed)`.

    Raises:
        InputError: an unknown name, or a shape or number of classes that the model cannot have.
    """
    if name not in MODELS:
        raise InputError(f"model {name!r} is unknown; the choices are {', '.join(MODELS)}")
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(
            f"model {name!r} takes inputs of shape (channels, height, width), not {tuple(shape)}"
        )
    if classes < 2:
        raise InputError(f"model {name!r} needs at least 2 classes, not {classes}")
    model = LayerList(MODELS[name](shape, classes))
    return initialise(model, torch.Generator().manual_seed(seed))


def cut(model: LayerList, at: str | int) -> tuple[LayerList, LayerList]:
    """(head, tail) of `model`, both with at least one layer; they share the model's weights.

    Args:
        model: what is cut.
        at: the name of the head's last layer, or the number of layers in the head.

    Raises:
        InputError: there is no such place; the text lists the places there are.
    """
    names = model.layer_names
    if isinstance(at, str) and at in names[:-1]:
        count = names.index(at) + 1
    elif type(at) is int and 1 <= at < len(names):
        count = at
    else:
        raise InputError(f"the model cannot be cut at {at!r}; {_places(names)}")
    layers = list(model.named_children())
    return LayerList(OrderedDict(layers[:count])), LayerList(OrderedDict(layers[count:]))


def _places(names: tuple[str, ...]) -> str:
    if len(names) < 2:
        return "it has a single layer"
    counts = "1" if len(names) == 2 else f"1 to {len(names) - 1}"
    return f"the choices are {', '.join(names[:-1])} (the head's last layer), or {counts} (layers)"


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """What one layer costs, and what a cut behind it costs."""

    name: str
    """The layer's name."""
    parameters: int
    """Trained numbers."""
    weight_bytes: int
    """Bytes of its parameters and buffers: what a node holds and FedAvg sends."""
    output_shape: Shape
    """Shape of one sample's activation behind the layer."""
    activation_bytes: int
    """Bytes of one sample's activation: what a cut here sends up, and as much back down."""
    batch_bytes: int
    """`activation_bytes` of a whole batch."""
    forward_flops: int
    """Floating-point operations of one sample's forward pass, a multiply-add counted as two;
    convolutions and fully connected products only."""

    @property
    def backward_flops(self) -> int:
        """Operations of one sample's backward pass: one product for each of the two errors."""
        return 2 * self.forward_flops


def table(model: LayerList, shape: Shape, batch: int = 1) -> tuple[LayerRow, ...]:
    """One row per layer of `model` for inputs of `shape` (without the batch), in batches of
    `batch`. A single empty sample is passed through to learn the shapes.

    Raises:
        InputError: the model does not take inputs of this shape.
    """
    rows = []
    x = torch.zeros((1, *shape))
    for name, layer in model.named_children():
        flops, x = _trace(name, layer, x)
        rows.append(
            LayerRow(
                name=name,
                parameters=sum(p.numel() for p in layer.parameters()),
                weight_bytes=sum(t.nbytes for t in layer.state_dict().values()),
                output_shape=tuple(x.shape[1:]),
                activation_bytes=x.nbytes,
                batch_bytes=x.nbytes * batch,
                forward_flops=flops,
            )
        )
    return tuple(rows)


def _trace(name: str, layer: nn.Module, x: Tensor) -> tuple[int, Tensor]:
    """Operations of one sample's pass through `layer`, and the activation behind it."""
    flops = 0

    def count(module: nn.Module, _: tuple[Tensor, ...], y: Tensor) -> None:
        nonlocal flops
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            # Every element of the output is one row of weights times as many inputs.
            flops += 2 * y.numel() * module.weight[0].numel()

    handles = [module.register_forward_hook(count) for module in layer.modules()]
    training = layer.training
    try:
        with torch.no_grad():
            y: Tensor = layer.eval()(x)
        return flops, y
    except RuntimeError as error:
        shape = tuple(x.shape[1:])
        raise InputError(f"layer {name} does not take inputs of shape {shape}: {error}") from error
    finally:
        layer.train(training)
        for handle in handles:
            handle.remove()


def initialise(model: LayerList, generator: torch.Generator) -> LayerList:
    """Draw every weight of `model` from `generator`, in order, and return the model.

    Convolutions and fully connected layers: weight and bias uniform within +-1/sqrt(fan_in), which
    is torch's default. Layers whose start is not random (normalisation) get that start.
    """
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                bound = 1 / math.sqrt(module.weight[0].numel())
                for tensor in module.parameters():
                    tensor.uniform_(-bound, bound, generator=generator)
            elif isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.reset_parameters()
            elif any(True for _ in module.parameters(recurse=False)):
                raise TypeError(f"no initialisation is known for {type(module).__name__}")
    return model
