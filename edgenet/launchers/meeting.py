"""What the ranks of one torchrun agree on through its store.

torch's store knows no key: whoever reaches its port may write into it. So what a rank puts there
carries an HMAC with the run's join key, over the run and the name it stands under, and what was not
written that way is not believed. A stranger can still delete, overwrite or flood: that ends a start
with a sentence, and costs a finished run at most the exit codes of the other ranks.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from edgenet.errors import DONE, InputError, NodeError
from edgenet.launchers.torchrun import Place
from edgenet.meters.checkpoints import Shelf
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
        key: the run's join key.

    Whatever waits for another rank's word raises NodeError when that was written without the key.
    """

    def __init__(self, store: Store, place: Place, key: bytes) -> None:
        self._store, self._place, self._key = store, place, key

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
                self._put("run", "")
                raise
            self._put("run", run.path.name)
            return run
        folder = self._take("run")
        if not folder:
            raise InputError(f"rank 0 cannot make a folder in {base}")
        path = base / folder
        path.mkdir(parents=True, exist_ok=True)
        return RunDir(path)

    def resumed(self, run: RunDir, node: str, digest: str) -> int:
        """The newest round that all ranks can go on after, of a run in this folder; every host has
        one, with the checkpoints of its own nodes.

        Args:
            run: the folder.
            node: this rank's.
            digest: of the plan.

        Raises:
            InputError: there is none, or it is not this run.
        """
        shelf, about = Shelf(run.path, node), run.run()
        if self._place.rank == 0:
            open_ = about.get("digest") == digest and about.get("exit_code") != DONE
            self._put("rounds", " ".join(map(str, shelf.rounds())) if open_ else "")
        rounds = self._take("rounds").split()
        mine = [number for number in rounds if shelf.fits(int(number))]
        self._put(f"fits/{self._place.rank}", " ".join(mine))
        theirs = [self._take(f"fits/{rank}").split() for rank in range(self._place.size)]
        common = [int(number) for number in rounds if all(number in each for each in theirs)]
        if not common:
            raise InputError(
                f"{run.path}: is complete, or of another topology, or has no round of which every "
                "node has a sound checkpoint (hosts without a common folder need faults.checkpoint)"
            )
        return max(common)

    def rendezvous(self, served: tuple[str, int] | None) -> tuple[str, int]:
        """Host and port of the table where nodes find each other; rank 0 serves it and says so."""
        if served is not None:
            self._put("rendezvous", f"{served[0]} {served[1]}")
            return served
        host, port = self._take("rendezvous").split(" ")
        return host, int(port)

    def names(self, mine: str) -> Sequence[str]:
        """Which node each rank plays, by rank."""
        return self._gather("name", mine)

    def addresses(self, mine: str) -> Sequence[str]:
        """Under which address each rank is reached, by rank."""
        return self._gather("address", mine)

    def _gather(self, what: str, mine: str) -> Sequence[str]:
        self._put(f"{what}/{self._place.rank}", mine)
        return [self._take(f"{what}/{rank}") for rank in range(self._place.size)]

    def calibrate(self, measure: Callable[[], float | None]) -> float | None:
        """The host's FLOP/s: its first rank measures while the others keep still."""
        place, host = self._place, f"host{self._place.host}"
        self._put(f"still/{place.rank}", "")
        if place.local_rank != 0:
            self._store.wait([host], _TOGETHER)
            value = self._take(host)
            return float(value) if value else None
        here = range(place.rank, place.rank + place.local_size)
        still = [f"still/{rank}" for rank in here]
        self._store.wait(still, _TOGETHER)
        for name in still:
            self._take(name)
        flops = measure()
        self._put(host, "" if flops is None else repr(flops))
        return flops

    def leave(self, code: int) -> None:
        """Tell the others how this rank's node ended."""
        self._put(f"end/{self._place.rank}", str(code))

    def ends(self, timeout_s: float) -> Sequence[int | None]:
        """Exit codes by rank, as far as they come within the timeout; None for the others."""
        keys = [f"end/{rank}" for rank in range(self._place.size)]
        deadline = time.monotonic() + timeout_s
        while not self._store.check(keys) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return [self._end(key) for key in keys]

    def _end(self, name: str) -> int | None:
        """An exit code; None if it is not there, or a stranger has written over it."""
        with suppress(NodeError):
            return int(self._take(name)) if self._store.check([name]) else None
        return None

    def _put(self, name: str, text: str) -> None:
        self._store.set(name, f"{text} {self._mac(name, text)}")

    def _take(self, name: str) -> str:
        text, _, mac = self._store.get(name).decode(errors="replace").rpartition(" ")
        if not hmac.compare_digest(mac.encode(), self._mac(name, text).encode()):
            host, port = self._place.master
            raise NodeError(
                f"what the store at {host}:{port} holds as '{name}' was not written with this "
                "run's join key: give every rank the same EDGENET_KEY, and see that nobody else "
                "can reach that port"
            )
        return text

    def _mac(self, name: str, text: str) -> str:
        words = "\0".join(("edgenet store", self._place.prefix, name, text))
        return hmac.new(self._key, words.encode(), "sha256").hexdigest()
