"""What a run has made in the kernel, written down before it is made.

One file of JSON lines per run, in a folder that does not outlive the kernel it speaks of. A
launcher that was killed leaves its file, and `clean` removes what it names: nothing is ever found
by guessing.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgenet.shaping import calls, cgroups

FOLDER = Path("/run/edgenet/networks")
"""Where the records of this host lie."""

_END_S = 1.0  # for a process that was told to end
_BLANK_S = 60.0  # a file without its first line is that of a launcher killed in that moment


class Record:
    """The record of one network that this process is about to make.

    Args:
        folder: where the records lie; made when missing.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.tag = secrets.token_hex(3)
        self._path = folder / f"{self.tag}.jsonl"
        self._path.touch(exist_ok=False)
        self._write(owner=_identity(os.getpid()))

    def namespaces(self, names: Iterable[str]) -> None:
        """These are about to be made."""
        self._write(namespaces=list(names))

    def groups(self, folders: Iterable[str]) -> None:
        """These folders of control groups are about to be made."""
        self._write(groups=list(folders))

    def process(self, pid: int) -> None:
        """This one was started. (It ends with its parent by itself; the record is for the case
        that it does not.)"""
        self._write(process=_identity(pid))

    def forget(self) -> None:
        """All of it is gone."""
        self._path.unlink(missing_ok=True)

    def _write(self, **fields: Any) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(fields) + "\n")


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """What `clean` found of one run."""

    tag: str
    """The run's tag."""
    in_use_by: int | None
    """Process id of its launcher, which is alive: nothing was touched. None: it is gone."""
    removed: tuple[str, ...]
    """What was removed, in words."""


def clean(folder: Path = FOLDER) -> Iterator[Cleaned]:
    """Remove what killed launchers have left, and their records.

    Raises:
        OSError: no right to.
    """
    for path in sorted(folder.glob("*.jsonl")):
        lines = list(_lines(path))
        owner = next((line["owner"] for line in lines if "owner" in line), None)
        if owner is None and time.time() - path.stat().st_mtime < _BLANK_S:
            continue
        if owner is not None and _alive(owner):
            yield Cleaned(tag=path.stem, in_use_by=owner["pid"], removed=())
            continue
        yield Cleaned(tag=path.stem, in_use_by=None, removed=tuple(_remove(lines)))
        path.unlink(missing_ok=True)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines; of one that was cut off, nothing had been made yet."""
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


def _remove(lines: list[dict[str, Any]]) -> Iterator[str]:
    for line in lines:
        if "process" in line and _end(line["process"]):
            yield f"process {line['process']['pid']}"
        for name in line.get("namespaces", ()):
            if calls.remove(name):
                yield f"namespace {name}"
        for folder in line.get("groups", ()):
            if cgroups.remove(Path(folder)):
                yield f"control group {folder}"


def _identity(pid: int) -> dict[str, Any]:
    """A process id alone may come again; with its start time it is unique since the boot."""
    return {"pid": pid, "started": _started(pid), "boot": _boot()}


def _alive(identity: dict[str, Any]) -> bool:
    started = identity["started"]
    if started is None or identity["boot"] != _boot():
        return False
    return bool(started == _started(identity["pid"]))


def _end(identity: dict[str, Any]) -> bool:
    """Kill a process that is still the one that was recorded; False if it is gone."""
    if not _alive(identity):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(identity["pid"], signal.SIGKILL)
    deadline = time.monotonic() + _END_S
    while _alive(identity) and time.monotonic() < deadline:
        time.sleep(0.01)
    return True


def _started(pid: int) -> int | None:
    """Start time in ticks since boot; None if there is no such process, or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])  # proc(5): state, starttime


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
