"""Which strategy keeps which layer's weight versions: fixed by the scheme, or chosen by size.

`mcpipe-adaptive` compares, for each layer, what w - 1 versions behind (or ahead of) the one that is
there cost. Batch b; W numbers of weights; i and o numbers of a sample's input and output; an output
has c channels at each of L places (1 for a linear layer), made of k inputs:

| strategy | further numbers | further operations a mini-batch |
| --- | --- | --- |
| stored | (w - 1) W | W (a copy) |
| low-rank | (w - 1) b (i + o) | 2 (w - 1) (b L)^2 (k + c), with momentum + 2 b L W |
| recomputed | (w - 1) b (i + o), and a block | (w - 1) x the gradient's product |

and takes the fewest numbers, then the fewest operations. The block (of up to 4 MiB) in which a
newer version is computed is there once a stage, so a stage is planned with it and without. What is
saved may be spent: where a byte more saves many operations a mini-batch the versions are stored, or
the block is taken, as long as the stage needs no more than under PipeDream or under mcPipe,
whichever is less. In a round of fewer than 2 w - 2 mini-batches fewer versions than w - 1 are
needed at once, for the first w mini-batches share one, but pairs of as many updates. (In VGG16's C1
to C4 pairs are far larger than weights; in C5 to C7 a little smaller, but each forward would
compute the gradients of several mini-batches again.) Equations (3) divide by the momentum: rounding
errors grow by 1/mu an update, and where that would exceed a thousand `low-rank` is out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from edgenet.models.motion import Motion
from edgenet.models.pairs import LowRank, Recomputed
from edgenet.models.products import Product
from edgenet.models.sizes import LayerSize, Sizes, State, measure
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
    version_bytes: int = 0
    """Of each further version, where they are stored."""
    pair_bytes: int = 0
    """Of each update, where pairs stand for versions."""
    always_bytes: int = 0
    """Of what is there whatever the window: the second version and the gradient of `doubled`."""
    block_bytes: int = 0
    """Of the block that newer versions are computed in; a stage has one, for its largest."""


def plan_strategies(
    layers: nn.Module,
    x: Tensor,
    window: int,
    motion: Motion,
    strategy: str,
    states: Sequence[State] = (),
) -> list[Choice]:
    """A choice for every layer with weights, in order.

    Args:
        layers: a stage's.
        x: an input (batch, ...); its contents do not matter.
        window: the stage's w.
        motion: the optimizer's numbers.
        strategy: a key of STRATEGIES for all, or ADAPTIVE.
        states: what is under way as a round goes on; empty = the window slides all the time.
    """
    states = states or [State(open=window, older=window - 1, behind=window - 1)]
    return choose(measure(layers, x[:1]), x.shape[0], states, motion, strategy)


def choose(
    sizes: Sizes, batch: int, states: Sequence[State], motion: Motion, strategy: str
) -> list[Choice]:
    """As `plan_strategies`, by sizes alone; `batch` in samples."""
    older, behind = max(s.older for s in states), max(s.behind for s in states)
    costs = [_Cost(each, batch, older, behind, motion) for each in sizes.layers]
    if strategy != ADAPTIVE:
        return [each.choice(strategy) for each in costs]
    return _adapted(costs, sizes.open_bytes(batch), states)


def beyond(choices: Sequence[Choice], open_bytes: int, states: Sequence[State]) -> int:
    """Bytes that a stage holds at most beyond one version of its layers and its velocities. The
    block is needed once a forward follows an update while older forwards are open.

    Args:
        choices: of its layers.
        open_bytes: what an open forward keeps.
        states: what is under way as a round goes on.
    """
    again = max(s.open + s.behind for s in states) > max(s.open for s in states)
    block = max((each.block_bytes for each in choices), default=0) if again else 0
    always = sum(each.always_bytes for each in choices)
    version = sum(each.version_bytes for each in choices)
    pair = sum(each.pair_bytes for each in choices)
    return block + always + max(s.open * open_bytes + s.older * version + s.behind * pair
                                for s in states)  # fmt: skip


def _adapted(costs: Sequence[_Cost], open_bytes: int, states: Sequence[State]) -> list[Choice]:
    """A strategy for each layer of a stage: with the block that recomputing needs or without, the
    fewest bytes, then what they are worth; never more than PipeDream or mcPipe would need."""

    def need(choices: Sequence[Choice]) -> int:
        return beyond(choices, open_bytes, states)

    found = [[each.choice(way) for each in costs] for way in ("stored", "recomputed")]
    most = min(map(need, found))
    for ways in (_KEEPING, _KEEPING[:2]):
        kept = [each.choice(each.least(ways)) for each in costs]
        order = sorted(range(len(costs)), key=lambda i: -costs[i].gain(kept[i])[1])
        for i in order:
            more, saved = costs[i].gain(kept[i])
            trial = [*kept[:i], costs[i].choice("stored"), *kept[i + 1 :]]
            if more and saved >= _WORTH * more and need(trial) <= most:
                kept = trial
        found.append(kept)
    return min(
        (kept for kept in found if need(kept) <= most),
        key=lambda kept: need(kept) + sum(each.extra_flops for each in kept) / _WORTH,
    )


@dataclass(frozen=True)
class _Cost:
    """The table above for one layer, by the most versions and updates that are under way."""

    size: LayerSize
    batch: int
    older: int
    behind: int
    motion: Motion

    def choice(self, strategy: str) -> Choice:
        block = self.size.block if strategy == "recomputed" and self.behind else 0
        by_pairs = strategy in ("recomputed", "low-rank")
        extra_bytes, extra_flops = self.cost(strategy)
        return Choice(
            layer=self.size.layer,
            strategy=strategy,
            weight_bytes=4 * self.size.weights,
            extra_bytes=extra_bytes,
            extra_flops=extra_flops,
            version_bytes=4 * self.size.weights if strategy == "stored" else 0,
            pair_bytes=self._pair if by_pairs else 0,
            always_bytes=extra_bytes if strategy == "doubled" else 0,
            block_bytes=4 * block,
        )

    def least(self, ways: Iterable[str]) -> str:
        """The strategy of the fewest bytes, then operations."""
        return min(filter(self._fits, ways), key=self.cost)

    def gain(self, kept: Choice) -> tuple[int, int]:
        """(more bytes, fewer operations) of storing the versions instead."""
        more, fast = self.cost("stored")
        return more - kept.extra_bytes, kept.extra_flops - fast

    def cost(self, strategy: str) -> tuple[int, int]:
        """(bytes, operations), without the block."""
        size, behind = self.size, self.behind
        if strategy == "doubled":
            return 8 * size.weights, size.weights
        if strategy == "newest" or not behind:
            return 0, 0
        if strategy == "stored":
            return 4 * self.older * size.weights, size.weights
        if strategy == "recomputed":
            return behind * self._pair, behind * self._gradient
        velocity = self._gradient if self.motion.momentum else 0
        return behind * self._pair, behind * self._through + velocity

    @property
    def _pair(self) -> int:
        """Bytes."""
        return self.size.pair_bytes(self.batch)

    @property
    def _gradient(self) -> int:
        """Operations of one product with a pair."""
        return 2 * self.batch * self.size.outputs * self.size.row

    @property
    def _through(self) -> int:
        """Operations of one low-rank product with a pair."""
        places = self.batch * self.size.outputs // self.size.rows
        return int(2 * places**2 * (self.size.rows + self.size.row))

    def _fits(self, strategy: str) -> bool:
        if strategy != "low-rank":
            return True
        mu = self.motion.momentum
        return self.size.low_rank and (not mu or (1 / mu) ** self.behind <= _MOST_GROWTH)


def versions_of(product: Product, strategy: str, motion: Motion, scratch: list[Tensor]) -> Versions:
    """The strategy's object for one layer; `scratch` is shared by a stage's."""
    made = STRATEGIES[strategy](product, motion)
    if isinstance(made, Recomputed):
        made.scratch = scratch
    assert isinstance(made, Layer)
    return made
