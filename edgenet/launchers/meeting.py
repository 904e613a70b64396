"""What the ranks of one torchrun agree on through its store."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from edgenet.errors import InputError
from edgenet.launchers.torchrun import Place
from edgenet.results.rundir import RunDir, new_run_dir

_TOGETHER = timedelta(seconds=60)  # for ranks that were started together but import slowly
_POLL_S = 0.05


class Store(Protocol):
    """The part of torch's key-value store that is used here."""

    def set(self, key: str, value: str) -> None:
        """Publish."""

    def get(self, key: str) -> bytes:
        """Wait for a key and take its value."""

    def wait(self, keys: list[str], timeout: timedelta) -> None:
        """Wait for keys."""

    def check(self, keys: list[str]) -> bool:
        """Whether all keys are there."""


class Meeting:
    """One rank among the others.

    Args:
        store: shared by all ranks of this run, and only by them.
        place: this rank's.
    """

    def __init__(self, store: Store, place: Place) -> None:
        self._store, self._place = store, place

    def run_dir(self, base: Path, name: str) -> RunDir:
        """The run's folder: rank 0 makes it and names it to all; another host makes its own of
        the same name.

        Raises:
            InputError: rank 0 cannot make it.
        """
        if self._place.rank == 0:
            try:
                run = new_run_dir(base, name)
            except InputError:
                self._store.set("run", "")
                raise
            self._store.set("run", run.path.name)
            return run
        folder = self._store.get("run").decode()
        if not folder:
            raise InputError(f"rank 0 cannot make a folder in {base}")
        path = base / folder
        path.mkdir(parents=True, exist_ok=True)
        return RunDir(path)

    def rendezvous(self, served: tuple[str, int] | None) -> tuple[str, int]:
        """Host and port of the table where nodes find each other; rank 0 serves it and says so."""
        if served is not None:
            self._store.set("rendezvous", f"{served[0]} {served[1]}")
            return served
        host, port = self._store.get("rendezvous").decode().split(" ")
        return host, int(port)

    def names(self, mine: str) -> Sequence[str]:
        """Which node each rank plays, by rank."""
        return self._gather("name", mine)

    def addresses(self, mine: str) -> Sequence[str]:
        """Under which address each rank is reached, by rank."""
        return self._gather("address", mine)

    def _gather(self, what: str, mine: str) -> Sequence[str]:
        self._store.set(f"{what}/{self._place.rank}", mine)
        return [self._store.get(f"{what}/{rank}").decode() for rank in range(self._place.size)]

    def calibrate(self, measure: Callable[[], float | None]) -> float | None:
        """The host's FLOP/s: its first rank measures while the others keep still."""
        place, host = self._place, f"host{self._place.host}"
        self._store.set(f"still/{place.rank}", "")
        if place.local_rank != 0:
            self._store.wait([host], _TOGETHER)
            value = self._store.get(host).decode()
            return float(value) if value else None
        here = range(place.rank, place.rank + place.local_size)
        self._store.wait([f"still/{rank}" for rank in here], _TOGETHER)
        flops = measure()
        self._store.set(host, "" if flops is None else repr(flops))
        return flops

    def leave(self, code: int) -> None:
        """Tell the others how this rank's node ended."""
        self._store.set(f"end/{self._place.rank}", str(code))

    def ends(self, timeout_s: float) -> Sequence[int | None]:
        """Exit codes by rank, as far as they come within the timeout; None for the others."""
        keys = [f"end/{rank}" for rank in range(self._place.size)]
        deadline = time.monotonic() + timeout_s
        while not self._store.check(keys) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return [int(self._store.get(key)) if self._store.check([key]) else None for key in keys]
