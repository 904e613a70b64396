"""The numbers that a layer with several weight versions is judged by, known before a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from edgenet.errors import InputError
from edgenet.models.memory import Kept
from edgenet.models.pairs import block_rows
from edgenet.models.products import LOW_RANK, NormalisationProduct, product_of


@dataclass(frozen=True, kw_only=True)
class LayerSize:
    """One layer with weights; counts of numbers, of one sample where nothing else is said."""

    layer: str
    """Name of the module, within the model."""
    weights: int
    """Of one version."""
    rows: int
    """Outputs of a linear layer, channels of a convolution or a normalisation."""
    row: int
    """The weights that one of them is made by, without its bias."""
    inputs: int
    """Of its input."""
    outputs: int
    """Of its output."""
    pairs_are_gradients: bool
    """A normalisation: its pair has the size of its weights, whatever the batch."""
    low_rank: bool
    """An error can be passed through its pairs."""
    block: int
    """Of the block that a newer version is computed in."""

    def pair_bytes(self, batch: int) -> int:
        """Of the pair that `batch` samples leave."""
        both = batch * (self.inputs + self.outputs)
        return 4 * (self.weights if self.pairs_are_gradients else both)


def leaves(layers: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The modules that are carried out one after the other: sequences are taken apart.

    Raises:
        InputError: a module with weights that is neither a sequence nor a known kind of layer.
    """
    if isinstance(layers, nn.Sequential):
        for key, module in layers.named_children():
            yield from leaves(module, f"{name}.{key}" if name else key)
        return
    if any(True for _ in layers.parameters()) and product_of(layers) is None:
        raise InputError(
            f"layer {name} ({type(layers).__name__}) is not a plain chain of linear, convolution "
            "and normalisation layers, so its weights cannot be kept in several versions; use "
            "model-parallel, gpipe or 1f1b"
        )
    yield name, layers


class State(NamedTuple):
    """What a stage has under way at one moment."""

    open: int
    """Forwards that wait for their backwards."""
    older: int
    """Versions that they need, beside the newest."""
    behind: int
    """Updates between the oldest of these and the newest."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Of a chain of layers."""

    layers: tuple[LayerSize, ...]
    """Those with weights, in order."""
    sample_bytes: int
    """What an open forward keeps of each sample."""
    batch_bytes: int
    """What it keeps once: a normalisation's means and deviations."""
    end_bytes: int
    """What it keeps of a sample's output, which the layers behind keep as their input, too."""

    def open_bytes(self, batch: int) -> int:
        """What a forward of `batch` samples keeps until it is answered."""
        return batch * self.sample_bytes + self.batch_bytes


def joined(parts: Sequence[Sizes]) -> Sizes:
    """Of one chain after the other."""
    twice = sum(each.end_bytes for each in parts[:-1])
    return Sizes(
        layers=tuple(layer for each in parts for layer in each.layers),
        sample_bytes=sum(each.sample_bytes for each in parts) - twice,
        batch_bytes=sum(each.batch_bytes for each in parts),
        end_bytes=parts[-1].end_bytes,
    )


def measure(layers: nn.Module, x: Tensor, name: str = "") -> Sizes:
    """Pass one sample through.

    Args:
        layers: a chain.
        x: an input of one sample (1, ...); its contents do not matter.
        name: of the chain, within the model.
    """
    kept, found, alive, once, end = Kept(()), list[LayerSize](), [x], 0, 0
    for leaf_name, module in leaves(layers, name):
        kept.note(x)
        if product_of(module) is None:
            leaf = x.detach().requires_grad_()
            with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda t: t):
                y = module.eval()(leaf).detach()
            kept.note(y)
            end = y.nbytes
        else:
            with torch.no_grad():
                y = module.eval()(x)
            end = 0
            found.append(_size(leaf_name, module, x, y))
            once += 8 * found[-1].rows if found[-1].pairs_are_gradients else 0
        module.train()
        x = y
        alive.append(x)  # memory that is freed would be counted as what comes to lie there
    return Sizes(layers=tuple(found), sample_bytes=kept.bytes, batch_bytes=once, end_bytes=end)


def _size(name: str, module: nn.Module, x: Tensor, y: Tensor) -> LayerSize:
    product = product_of(module)
    assert product is not None
    weight, weights = product.weights[0], sum(t.numel() for t in product.weights)
    return LayerSize(
        layer=name,
        weights=weights,
        rows=len(weight),
        row=weight[0].numel(),
        inputs=x.numel(),
        outputs=y.numel(),
        pairs_are_gradients=isinstance(product, NormalisationProduct),
        low_rank=isinstance(product, LOW_RANK),
        block=block_rows(weight) * (weights // len(weight)),
    )
