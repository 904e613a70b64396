"""What a stage holds in memory, counted to the byte; and what is said when there is no more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from edgenet.errors import NodeError


@dataclass(frozen=True)
class Memory:
    """Bytes that a stage holds, or held at most, by what they are for."""

    versions: int = 0
    """Materialised versions of the weights, and buffers."""
    scratch: int = 0
    """The block in which newer versions are computed."""
    stash: int = 0
    """Pairs (error, activation) that stand for versions, and gathered gradients."""
    saved: int = 0
    """What open forwards keep for their backwards."""
    optimiser: int = 0
    """Velocities."""
    live: int = 0
    """Not bytes: versions that the stage needs, the newest and those of open forwards."""
    open: int = 0
    """Not bytes: open forwards."""

    @property
    def total(self) -> int:
        """All bytes."""
        return self.versions + self.scratch + self.stash + self.saved + self.optimiser

    def sentence(self) -> str:
        """What is held, for people."""
        versions = "1 weight version" if self.live == 1 else f"{self.live} weight versions"
        return (
            f"{versions} (materialised: {self.versions / 1e6:.1f} MB), "
            f"{self.optimiser / 1e6:.1f} MB of velocities, {self.stash / 1e6:.1f} MB of pairs, "
            f"{self.saved / 1e6:.1f} MB for {self.open} open forwards"
        )

    def __or__(self, other: Memory) -> Memory:
        """The larger of each."""
        mine, its = asdict(self), asdict(other)
        return Memory(**{key: max(mine[key], its[key]) for key in mine})


class Kept:
    """Counts the bytes that a forward keeps, each memory once, weights not."""

    def __init__(self, state: Sequence[Tensor]) -> None:
        self._weights = {t.untyped_storage().data_ptr() for t in state}
        self._kept: dict[int, int] = {}

    def note(self, *tensors: Tensor) -> None:
        """These are kept."""
        for t in tensors:
            memory = t.untyped_storage().data_ptr()
            if memory not in self._weights:
                self._kept[memory] = max(self._kept.get(memory, 0), t.nbytes)

    def pack(self, t: Tensor) -> Any:
        """autograd keeps t."""
        self.note(t)
        return t.detach()

    @property
    def bytes(self) -> int:
        """So far."""
        return sum(self._kept.values())


class OutOfMemory(NodeError):
    """The system has no more memory for this process; the text says what it was about."""


@contextmanager
def allocating(doing: str) -> Iterator[None]:
    """Turn a failed allocation in the body into OutOfMemory; `doing` is what it was about."""
    try:
        yield
    except MemoryError:
        raise OutOfMemory(doing) from None
    except RuntimeError as error:  # torch's allocator has no exception of its own
        if "can't allocate memory" not in str(error):
            raise
        raise OutOfMemory(doing) from None
