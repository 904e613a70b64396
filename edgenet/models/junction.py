"""A model with several inputs: a branch for each source, a merge, and one trunk behind it.

FPL (section II) merges by a junction layer J, fully connected: in = the sum of the branches'
outputs, out = the input size of the layer after it. Its columns are kept apart by source, so that a
source may come or go while the others train on.

Split learning on vertically partitioned data (Vepakomma et al. 2018, as FPL's section III compares
with it) has no such layer: the layer after the merge is made wide enough to take all outputs.

What FPL leaves open. The branches start as copies of the model's own layers. The junction has a
bias, is drawn like every other layer (uniform within 1/sqrt(in)), and is followed by ReLU, as every
fully connected layer of the paper's network but the last. A branch whose input is a vector and no
image has one fully connected layer instead of the model's (S1, 128 wide).
"""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgenet.errors import InputError
from edgenet.models.layers import LayerList, initialise, table
from edgenet.models.parts import Linear

Shape = tuple[int, ...]

_SENSOR_WIDTH = 128


class Junction(nn.Module):
    """J: y = relu(bias + sum over sources s of W_s x_s).

    Args:
        widths: numbers in a sample's activation, of every source that may ever come.
        shape: of a sample's output: the next layer's input.
        activation: ReLU behind it.
        learned: False: the mean of the sources instead, with nothing to learn.

    Raises:
        InputError: a mean is asked for of activations that are not of the output's size.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        shape: Shape,
        *,
        activation: bool = True,
        learned: bool = True,
    ) -> None:
        super().__init__()
        self._widths, self._shape = dict(widths), shape
        self._activation, self._learned = activation, learned
        self.sources: tuple[str, ...] = ()
        """Who has columns now, in the order in which their activations are expected."""
        self.bias = nn.Parameter(torch.zeros(math.prod(shape))) if learned else None
        other = {width for width in widths.values() if width != math.prod(shape)}
        if not learned and other:
            raise InputError(
                f"the mean of activations of {min(other)} numbers is no input of shape {shape}"
            )

    def draw(self, sources: Sequence[str], generator: torch.Generator) -> None:
        """Begin with these sources, every weight and the bias drawn."""
        bound = 1 / math.sqrt(sum(self._widths[source] for source in sources))
        for source in sources:
            self.add(source)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-bound, bound, generator=generator)

    def add(self, source: str) -> None:
        """Gain columns for `source`; they are zeros, so that the output is what it was."""
        if self._learned:
            zeros = torch.zeros(math.prod(self._shape), self._widths[source])
            self.register_parameter(_columns(source), nn.Parameter(zeros))
        self.sources = tuple(s for s in self._widths if s == source or s in self.sources)

    def remove(self, source: str) -> None:
        """Lose the columns of `source`."""
        if self._learned:
            delattr(self, _columns(source))
        self.sources = tuple(s for s in self.sources if s != source)

    def adopt(self, sources: Sequence[str]) -> None:
        """Give and take columns until just `sources` have some."""
        for source in set(self.sources) - set(sources):
            self.remove(source)
        for source in sources:
            if source not in self.sources:
                self.add(source)

    def norms(self) -> dict[str, float]:
        """How much each source counts: the Frobenius norm of its columns."""
        if not self._learned:
            return {}
        return {source: float(self.columns(source).detach().norm()) for source in self.sources}

    def columns(self, source: str) -> Tensor:
        """W_s: (outputs, inputs) of one source."""
        return self.get_parameter(_columns(source))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, sum of the present sources' widths) -> (batch, *shape)."""
        parts = torch.split(x, [self._widths[source] for source in self.sources], dim=1)
        if self.bias is None:
            return torch.stack(parts).mean(0).view(-1, *self._shape)
        y: Tensor = self.bias
        for source, part in zip(self.sources, parts, strict=True):
            y = y + functional.linear(part, self.columns(source))
        y = y.relu() if self._activation else y
        return y.view(-1, *self._shape)


def _columns(source: str) -> str:
    """Node names may be anything, even 'bias'."""
    return f"from_{source}"


class Merged(nn.Module):
    """The whole model in one piece: for its size, its state and its test.

    Args:
        branches: the layers before the merge of every source that may ever come.
        trunk: the merge and the layers behind it.
    """

    def __init__(self, branches: Mapping[str, LayerList], trunk: LayerList) -> None:
        super().__init__()
        self._sources = tuple(branches)
        for source, layers in branches.items():
            self.add_module(f"branch_{source}", layers)
        self.trunk = trunk

    @property
    def junction(self) -> Junction | None:
        """The junction layer; None where the model merges without one."""
        first = self.trunk[0]
        return first if isinstance(first, Junction) else None

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that take part now."""
        return self._sources if self.junction is None else self.junction.sources

    def branch(self, source: str) -> LayerList:
        """The layers of one source."""
        layers = self.get_submodule(f"branch_{source}")
        assert isinstance(layers, LayerList)
        return layers

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """{source: its input (batch, ...)} of at least the sources that take part -> logits."""
        x = [self.branch(source)(inputs[source]).flatten(1) for source in self.sources]
        return self.trunk(torch.cat(x, dim=1))  # type: ignore[no-any-return]


def with_junction(
    model: LayerList,
    before: str,
    shapes: Mapping[str, Shape],
    *,
    image: Shape,
    generator: torch.Generator,
    activation: bool = True,
    learned: bool = True,
) -> Merged:
    """`model` with a copy of the layers in front of layer `before` for each source, and a junction.

    Args:
        model: one source's model; the layers from `before` on become the trunk's.
        before: the layer that J is put in front of: `J->F1` in the paper's words.
        shapes: {source: shape of its input} of all that may ever come.
        image: shape of the model's own input, (channels, height, width).
        generator: what the junction is drawn from.
        activation: ReLU behind the junction.
        learned: False: a mean instead of a junction, with nothing to learn.

    Raises:
        InputError: there is no such layer, or a source has another kind of input.
    """
    at = _index(model, before)
    branches = branches_of(model, at, shapes, image, generator)
    junction = Junction(
        widths_of(branches, shapes), input_shape_of(model, at, image), activation=activation,
        learned=learned,
    )  # fmt: skip
    junction.draw(tuple(shapes), generator)
    trunk = OrderedDict([("J", junction), *list(model.named_children())[at:]])
    return Merged(branches, LayerList(trunk))


def widened(
    model: LayerList,
    before: str,
    shapes: Mapping[str, Shape],
    *,
    image: Shape,
    generator: torch.Generator,
) -> Merged:
    """`model` with a copy of the layers in front of `before` for each source, and that layer made
    wide enough for all their outputs side by side. The arguments are those of `with_junction`.

    Raises:
        InputError: there is no such layer, or it is not fully connected.
    """
    at = _index(model, before)
    branches = branches_of(model, at, shapes, image, generator)
    layers = OrderedDict(list(model.named_children())[at:])
    linear = getattr(layers[before], "linear", None)
    if not isinstance(linear, nn.Linear):
        raise InputError(
            f"layer {before} is not fully connected; outputs side by side need one that is"
        )
    inputs = sum(widths_of(branches, shapes).values())
    wide = Linear(inputs, linear.out_features)
    layers[before].linear = wide
    initialise(LayerList(OrderedDict(wide=wide)), generator)
    return Merged(branches, LayerList(layers))


def _index(model: LayerList, before: str) -> int:
    names = model.layer_names
    if before not in names:
        raise InputError(f"the model has no layer {before!r}; layers are {', '.join(names)}")
    return names.index(before)


def branches_of(
    model: LayerList, at: int, shapes: Mapping[str, Shape], image: Shape, draw: torch.Generator
) -> dict[str, LayerList]:
    """Each source's own copy of the layers in front of number `at`; of a source whose input is a
    vector, its one fully connected layer. Raises InputError for any other input."""
    branches = {}
    for source, shape in shapes.items():
        if shape == image:
            layers = copy.deepcopy(list(model.named_children())[:at])
        elif len(shape) == 1:
            linear = Linear(shape[0], _SENSOR_WIDTH)
            initialise(LayerList(OrderedDict(linear=linear)), draw)
            layers = [("S1", nn.Sequential(OrderedDict(linear=linear, relu=nn.ReLU())))]
        else:
            raise InputError(f"source {source} has inputs of shape {shape}; the model's: {image}")
        branches[source] = LayerList(OrderedDict(layers))
    return branches


def widths_of(branches: Mapping[str, LayerList], shapes: Mapping[str, Shape]) -> dict[str, int]:
    """How many numbers of a sample each branch puts out."""
    return {
        source: math.prod(_output_shape(layers, shapes[source]))
        for source, layers in branches.items()
    }


def input_shape_of(model: LayerList, at: int, image: Shape) -> Shape:
    """What a junction in front of layer number `at` puts out: the shape of a sample at the layer's
    input, flat where it flattens by itself. `image` is the shape of the model's own input."""
    shape = _output_shape(LayerList(OrderedDict(list(model.named_children())[:at])), image)
    first = next(iter(list(model.children())[at].children()))
    return (math.prod(shape),) if isinstance(first, nn.Flatten) else shape


def _output_shape(layers: LayerList, shape: Shape) -> Shape:
    rows = table(layers, shape)
    return rows[-1].output_shape if rows else shape
