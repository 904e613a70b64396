"""Which strategy keeps which layer's weight versions: fixed by the scheme, or chosen by size.

`mcpipe-adaptive` compares, for each layer, what w - 1 versions behind (or ahead of) the one that is
there cost. Batch b; W numbers of weights; i and o numbers of a sample's input and output; an output
has c channels at each of L places (1 for a linear layer), made of k inputs:

| strategy | further numbers | further operations a mini-batch |
| --- | --- | --- |
| stored | (w - 1) W | W (a copy) |
| low-rank | (w - 1) b (i + o) | 2 (w - 1) (b L)^2 (k + c), with momentum + 2 b L W |
| recomputed | (w - 1) b (i + o) | (w - 1) x the gradient's product |

and takes the fewest numbers, then the fewest operations. What a stage saves that way it may spend:
where a byte more saves many operations a mini-batch the versions are stored, as long as the stage
needs no more than under PipeDream or under mcPipe, whichever is less. (In VGG16's C1 to C4 pairs
are far larger than weights; in C5 to C7 a little smaller, but each forward would compute the
gradients of several mini-batches again.) Equations (3) divide by the momentum: rounding errors
grow by 1/mu an update, and where that would exceed a thousand `low-rank` is out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgenet.errors import InputError
from edgenet.models.motion import Motion
from edgenet.models.pairs import LowRank, Recomputed
from edgenet.models.products import LOW_RANK, NormalisationProduct, Product, product_of
from edgenet.models.versions import Doubled, Layer, Newest, Stored

Versions = Newest | Stored | Doubled | Recomputed | LowRank
"""One layer's strategy."""

STRATEGIES: dict[str, type[Versions]] = {
    "newest": Newest,
    "stored": Stored,
    "doubled": Doubled,
    "recomputed": Recomputed,
    "low-rank": LowRank,
}
"""By the names in plans and events."""
_KEEPING = ("stored", "low-rank", "recomputed")
"""Those that are exact and need but one update per mini-batch."""
ADAPTIVE = "adaptive"
"""Instead of a strategy's name: chosen for each layer."""
_MOST_GROWTH = 1e3
_WORTH = 100
"""Operations a mini-batch that a byte more has to save."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One layer's strategy, and the sizes that it was chosen by."""

    layer: str
    """Name of the module, within the model."""
    strategy: str
    """A key of STRATEGIES."""
    weight_bytes: int
    """Of one version."""
    extra_bytes: int
    """Beyond one version, at the stage's window."""
    extra_flops: int
    """Beyond one forward and backward, a mini-batch."""


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


def plan_strategies(
    layers: nn.Module, x: Tensor, window: int, motion: Motion, strategy: str
) -> list[Choice]:
    """A choice for every layer with weights, in order.

    Args:
        layers: a stage's.
        x: an input of one sample (1, ...); its contents do not matter.
        window: the stage's w.
        motion: the optimizer's numbers.
        strategy: a key of STRATEGIES for all, or ADAPTIVE.
    """
    batch, sample = x.shape[0], x[:1]
    sizes = dict[str, _Sizes]()
    with torch.no_grad():
        for name, module in leaves(layers):
            product = product_of(module)
            y = module.eval()(sample)
            module.train()
            if product is not None:
                sizes[name] = _Sizes(product, batch, sample.numel(), y.numel(), window - 1, motion)
            sample = y
    kept = _adapted(sizes) if strategy == ADAPTIVE else dict.fromkeys(sizes, strategy)
    return [sizes[name].choice(name, kept[name]) for name in sizes]


def _adapted(sizes: Mapping[str, _Sizes]) -> dict[str, str]:
    """A strategy for each layer of a stage."""
    kept = {name: each.least() for name, each in sizes.items()}
    needs = {
        way: sum(each.cost(way)[0] for each in sizes.values()) for way in ("stored", "recomputed")
    }
    left = min(needs.values()) - sum(each.cost(kept[name])[0] for name, each in sizes.items())
    gains = {name: each.gain(kept[name]) for name, each in sizes.items()}
    for name, (more, saved) in sorted(gains.items(), key=lambda item: -item[1][1]):
        if more and saved >= _WORTH * more and more <= left:
            kept[name] = "stored"
            left -= more
    return kept


@dataclass(frozen=True)
class _Sizes:
    """The table above for one layer."""

    product: Product
    batch: int
    inputs: int
    outputs: int
    more: int
    motion: Motion

    def choice(self, name: str, strategy: str) -> Choice:
        extra_bytes, extra_flops = self.cost(strategy) if strategy in _KEEPING else (0, 0)
        return Choice(
            layer=name,
            strategy=strategy,
            weight_bytes=4 * self._weights,
            extra_bytes=extra_bytes,
            extra_flops=extra_flops,
        )

    def least(self) -> str:
        """The strategy of the fewest bytes, then operations."""
        return min(filter(self._fits, _KEEPING), key=self.cost)

    def gain(self, strategy: str) -> tuple[int, int]:
        """(more bytes, fewer operations) of storing the versions instead."""
        (less, slow), (more, fast) = self.cost(strategy), self.cost("stored")
        return more - less, slow - fast

    def cost(self, strategy: str) -> tuple[int, int]:
        """(bytes, operations)."""
        if not self.more:
            return 0, 0
        pair = self._weights
        if not isinstance(self.product, NormalisationProduct):
            pair = self.batch * (self.inputs + self.outputs)
        if strategy == "stored":
            return 4 * self.more * self._weights, self._weights
        if strategy == "recomputed":
            return 4 * self.more * pair, self.more * self._gradient
        velocity = self._gradient if self.motion.momentum else 0
        return 4 * self.more * pair, self.more * self._through + velocity

    @property
    def _weights(self) -> int:
        return sum(t.numel() for t in self.product.weights)

    @property
    def _gradient(self) -> int:
        """Operations of one product with a pair."""
        weight = self.product.weights[0]
        return 2 * self.batch * self.outputs * (weight[0].numel() if weight.dim() > 1 else 1)

    @property
    def _through(self) -> int:
        """Operations of one low-rank product with a pair."""
        weight = self.product.weights[0]
        places = self.batch * self.outputs // weight.shape[0]
        return 2 * places**2 * (weight.shape[0] + weight[0].numel())

    def _fits(self, strategy: str) -> bool:
        if strategy != "low-rank":
            return True
        if not isinstance(self.product, LOW_RANK):
            return False
        mu = self.motion.momentum
        return not mu or (1 / mu) ** self.more <= _MOST_GROWTH


def versions_of(product: Product, strategy: str, motion: Motion, scratch: list[Tensor]) -> Versions:
    """The strategy's object for one layer; `scratch` is shared by a stage's."""
    made = STRATEGIES[strategy](product, motion)
    if isinstance(made, Recomputed):
        made.scratch = scratch
    assert isinstance(made, Layer)
    return made
