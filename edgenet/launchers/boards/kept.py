"""On a board: the folders of runs, and what stays in them of a run that can go on.

A run's folder is named by its deployment. It goes when the deployment has everything that it wants;
until then, and if that never happens, what the nodes have saved stays there, for a deployment that
resumes the run.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from edgenet.meters.checkpoints import Shelf

FOLDER = Path.home() / ".edgenet" / "runs"
"""A folder for each run."""
KEPT = 4
"""So many runs that can go on stay on a board."""
_NAME = re.compile(r"[0-9a-f]{16}")
_PATIENCE_S = 10.0
"""For the nodes of a deployment that was killed: they are given 2 s to end."""
_POLL_S = 0.1


def folder_of(name: str) -> Path:
    """Where a run has its files. Raises ValueError for what no deployment calls a run."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"'{name[:40]}' is no run's name")
    return FOLDER / f"run-{name}"


@contextlib.contextmanager
def place(name: str, *, again: bool) -> Iterator[Path]:
    """The folder of a run, held while the body runs, and then removed unless it can go on.

    Args:
        name: the run's.
        again: it was here before.

    Raises:
        ValueError: it was not; or it still runs.
    """
    folder = folder_of(name)
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    if again and not folder.is_dir():
        raise ValueError(f"{folder} is not here (any more)")
    with _one_at_a_time(), ExitStack() as stack:
        folder.mkdir(exist_ok=again)
        lock = stack.enter_context((folder / "lock").open("w"))
        _hold(lock, folder)
        _sweep()
        stack.pop_all()
    with lock:
        try:
            yield folder
        finally:
            if not saved(folder):
                shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Nobody else begins a run here meanwhile, and takes one that just begins for an old one."""
    with FOLDER.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def out(folder: Path) -> Path | None:
    """What its nodes have written; None if there is nothing."""
    made = sorted(folder.glob("out/*"), key=lambda path: path.stat().st_mtime)
    return made[-1] if made else None  # after a restart by torchrun there are several


def saved(folder: Path) -> bool:
    """Whether there is a checkpoint of any node."""
    return any(folder.glob("out/*/nodes/*/checkpoints/*.ckpt"))


def shelves(name: str, nodes: Sequence[str]) -> dict[str, Any]:
    """Node -> what is saved of it (`Shelf.told`), of a run that goes on nowhere.

    Raises:
        ValueError: it is not here, or goes on.
    """
    with place(name, again=True) as folder:
        run = out(folder)
        return {node: Shelf(run, node).told() for node in nodes} if run else {}


def _sweep() -> None:
    """Remove what runs have left that nobody goes on with."""
    unheld = []
    for old in FOLDER.glob("run-*"):
        with contextlib.suppress(OSError), (old / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unheld.append(old)
    useful = sorted(filter(saved, unheld), key=lambda path: path.stat().st_mtime)[-KEPT:]
    for old in unheld:
        if old not in useful:
            shutil.rmtree(old, ignore_errors=True)


def _hold(lock: IO[str], folder: Path) -> None:
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise ValueError(f"the run in {folder} still goes on here") from None
        time.sleep(_POLL_S)
