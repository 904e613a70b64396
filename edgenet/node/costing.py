"""What the parts of a run cost on this host: the stages, and what happens between their verbs.

Everything is measured once for all candidates that contain it.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from edgenet.links import codec
from edgenet.links.memory import link_pair
from edgenet.links.protocol import Item, Kind
from edgenet.links.shared import Shared
from edgenet.links.slabs import Slabs
from edgenet.models.local import LocalStage
from edgenet.models.stage import cross_entropy
from edgenet.models.timing import StageCost, call_s, stage_cost
from edgenet.schemes.federated import weighted_mean
from edgenet.shaping.paced import Pacer
from edgenet.topology.spec import Channel, Optimizer

_MOST_NUMBERS = 8_000_000
"""A fully connected layer of more weights is measured with fewer outputs, and multiplied."""
_PINGS = 41


class Costs:
    """Measures, and remembers.

    Args:
        host_flops: this host's calibrated speed (edgenet.models.calibrate).
        budget_s: seconds to measure one stage.
        base_bytes: resident memory of a node of a run here that holds next to nothing.
        alone_bytes: likewise of a board's, which shares no pages with others.
    """

    def __init__(
        self, host_flops: float, budget_s: float = 0.4, base_bytes: int = 0, alone_bytes: int = 0
    ) -> None:
        self.host_flops, self._budget_s = host_flops, budget_s
        self.base_bytes, self.alone_bytes = base_bytes, alone_bytes
        self._stages: dict[Hashable, tuple[StageCost, Tensor]] = {}
        self._calls: dict[Hashable, float] = {}

    def stage(
        self, key: Hashable, layers: nn.Module, x: Tensor, optimizer: Optimizer, *, first: bool
    ) -> tuple[StageCost, Tensor]:
        """The cost of a stage on the batch `x`, and its output; `key` tells stages apart."""
        return self._stage(key, lambda: layers, x, optimizer, first=first)

    def _stage(
        self,
        key: Hashable,
        make: Callable[[], nn.Module],
        x: Tensor,
        optimizer: Optimizer,
        *,
        first: bool,
    ) -> tuple[StageCost, Tensor]:
        known = (key, tuple(x.shape), optimizer, first)
        if known not in self._stages:
            self._stages[known] = stage_cost(
                make(), x, optimizer=optimizer, first=first, budget_s=self._budget_s
            )
        return self._stages[known]

    def wide(
        self,
        make: Callable[[int], nn.Module],
        inputs: int,
        outputs: int,
        rows: int,
        optimizer: Optimizer,
    ) -> StageCost:
        """The cost of a fully connected layer; `make` makes it with so many outputs.

        A junction of all of a CNN's first activations has hundreds of millions of weights; the
        planner must not need the memory that it warns of.
        """
        thin = max(1, min(outputs, _MOST_NUMBERS // inputs))
        x = torch.rand(rows, inputs)
        key = ("wide", inputs, thin)
        cost, _ = self._stage(key, lambda: make(thin), x, optimizer, first=False)
        return cost.times(outputs / thin)

    def call(self, key: Hashable, act: Callable[[], object]) -> float:
        """CPU seconds of `act`, whose `key` tells it apart."""
        if key not in self._calls:
            self._calls[key] = call_s(act)
        return self._calls[key]

    def loss(self, rows: int, classes: int) -> float:
        """CPU seconds of the cross-entropy of so many samples, with its gradient."""
        logits, labels = torch.zeros(rows, classes), torch.zeros(rows, dtype=torch.int64)
        return self.call(("loss", rows, classes), lambda: cross_entropy(logits, labels))

    def joined(self, rows: int, widths: Sequence[int]) -> float:
        """CPU seconds of putting the outputs of sources side by side."""
        parts = [torch.zeros(rows, width) for width in widths]
        return self.call(("joined", rows, tuple(widths)), lambda: torch.cat(parts, dim=1))

    def mean(self, state: Sequence[Tensor], members: int) -> float:
        """CPU seconds of the weighted mean of so many states."""
        numbers = sum(t.numel() for t in state)
        return self.call(
            ("mean", numbers, members), lambda: weighted_mean([state] * members, [1] * members)
        )

    def copy(self, state: Sequence[Tensor]) -> float:
        """CPU seconds of copying a state."""
        numbers = sum(t.numel() for t in state)
        return self.call(("copy", numbers), lambda: [t.clone() for t in state])

    def pull(self, layers: nn.Module, optimizer: Optimizer) -> float:
        """CPU seconds of FedProx's proximal term, in every step."""
        stage = LocalStage(layers, optimizer, 0.0)
        anchor = [t.clone() for t in stage.state()]
        numbers = sum(t.numel() for t in anchor)
        return self.call(("pull", numbers), lambda: stage.pull(anchor, 1e-9))

    @cached_property
    def message_s(self) -> float:
        """Seconds that a short message takes over a paced link of unlimited rate: threads that
        wake each other, the codec, queues."""
        ends = link_pair(
            ("a", "b"), (Shared(), Shared()), paces=(Pacer(Channel()), Pacer(Channel()))
        )
        here, there = ends

        def echo() -> None:
            for _ in range(_PINGS):
                there.send(there.recv())

        thread = threading.Thread(target=echo, daemon=True)
        thread.start()
        laps = []
        for _ in range(_PINGS):
            start = time.perf_counter()
            here.send(torch.zeros(1))
            here.recv(timeout_s=60.0)
            laps.append(time.perf_counter() - start)
        thread.join()
        for end in ends:
            end.start_close()
        for end in ends:
            end.close()
        return statistics.median(laps) / 2


def message_bytes(items: Sequence[Item], kind: Kind) -> int:
    """Bytes of a message on a link: header, descriptors, padding and data. A list is one item.

    Args:
        items: what is sent; their sizes count, not their contents.
        kind: of the message.
    """
    return codec.encode(items, kind, round_=0, sequence=0, slabs=Slabs()).header.total_bytes
