"""Models as ordered lists of named layers that can be cut between any two of them.

A layer is what a paper counts as one: a convolution or a fully connected product together with the
activation and the pooling that follow it. Weights depend on the seed alone: they are drawn from a
generator of their own, never from torch's global one, so any number of threads may build models.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgenet.errors import InputError

Shape = tuple[int, ...]


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
