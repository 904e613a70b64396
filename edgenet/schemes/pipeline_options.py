"""The settings that all pipeline schemes share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PipelineOptions:
    """Settings of every pipeline scheme."""

    window: int = 4
    """Mini-batches in flight (Example 2); under gpipe, 1f1b and pipedream-2bw the micro-batches
    that a mini-batch is cut into."""
    windows: tuple[int, ...] = ()
    """w_n of each worker, by hand; empty: the largest that cost no time, from `window` down."""
    split: tuple[int | str, ...] = ()
    """Layers of each worker: how many, or the name of the last one (the last worker's may be left
    out). Empty: balanced."""
    balance: str = "time"
    """What an empty `split` makes as even as can be: 'time' (operations over the device's speed),
    'measured' (what the layers take on this host, times the devices' slow-down) or 'memory'
    (weights over the device's RAM). A measured split, and the windows that go with it, are written
    into the run's topology."""
    span: int = 0
    """Mini-batches that make up a round, behind which the pipeline runs empty and its workers can
    be saved; 0: an epoch."""
    master: str = "auto"
    """'works': the first worker owns the data; 'feeds': the first node owns it and holds no layer;
    'auto': it feeds if it is called master."""

    def __post_init__(self) -> None:
        if not 1 <= self.window <= 64:
            raise ValueError(f"window is {self.window}; it must be a whole number from 1 to 64")
        if any(not isinstance(w, int) or w < 1 for w in self.windows):
            raise ValueError(f"windows has {self.windows}; it must be whole numbers above 0")
        if not 0 <= self.span <= 1_000_000:
            raise ValueError(f"span is {self.span}; it must be a number of mini-batches, or 0")
        if self.balance not in ("time", "measured", "memory"):
            raise ValueError(f"balance is '{self.balance}'; it must be time, measured or memory")
        if self.master not in ("auto", "works", "feeds"):
            raise ValueError(f"master is '{self.master}'; it must be auto, works or feeds")
